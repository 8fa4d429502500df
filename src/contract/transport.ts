import type { Duplex } from 'node:stream'
import type { Payload } from './payload.ts'

/** A connection that can carry messages: what a filter hands to `server.attach`. One that throws loses its client (1006), and is reported. */
export interface Transport {
  /** Shown as `client.transport`. */
  readonly name: string
  readonly remote: string
  /** Where frames are written; its `error` event must be listened to. */
  readonly socket: Duplex
  /** One message as bytes on the wire. The same function for all connections of a kind, so that they share frames. */
  readonly frame: (payload: Payload) => Buffer
  /** Stop and restart reading; called when the client's mailbox is full and when it has room again. */
  pause(): void
  resume(): void
  /** Say goodbye and end; every frame has been written. MUST lead to `closed`, soon. Never called before `attach` returns. */
  close(code: number, reason: string): void
  /** End at once. MUST lead to `closed`. */
  destroy(): void
}
