import { setTimeout as sleep } from 'node:timers/promises'
import type { Client, Host, Payload } from 'filtered-websocket'
import { fingerprint } from './fingerprint.ts'

/** Has each message wait, then tells the log of it. */
export const setup = ({ log }: Host) => ({
  async message(payload: Payload, { handshake }: Client) {
    await sleep(1)
    log.info({ case: handshake?.headers['x-case'], message: fingerprint(payload) })
  },
})
