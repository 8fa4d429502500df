import { setTimeout as sleep } from 'node:timers/promises'
import type { Client, Host, Payload } from 'filtered-websocket'
import { fingerprint } from './fingerprint.ts'

/** Delays each message, then logs it. */
export const setup = ({ log }: Host) => ({
  async message(payload: Payload, { handshake }: Client) {
    await sleep(1)
    log.info({ case: handshake?.headers['x-case'], message: fingerprint(payload) })
  },
})
