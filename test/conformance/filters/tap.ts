import type { Client, Host, Payload } from 'filtered-websocket'
import { fingerprint } from './fingerprint.ts'

/** Stands between the socket and the parsers, and tells the log what came out behind them. */
export const setup = ({ log }: Host) => ({
  data: () => {},
  message: (payload: Payload, { handshake }: Client) =>
    log.info({ case: handshake?.headers['x-case'], message: fingerprint(payload) }),
})
