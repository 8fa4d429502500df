import type { Client, Host, Payload } from 'filtered-websocket'
import { fingerprint } from './fingerprint.ts'

/** A data filter: logs the messages that leave the parsers after it. */
export const setup = ({ log }: Host) => ({
  data: () => {},
  message: (payload: Payload, { handshake }: Client) =>
    log.info({ case: handshake?.headers['x-case'], message: fingerprint(payload) }),
})
