import type { Duplex } from 'node:stream'
import type { Payload } from './payload.ts'

/** A connection that carries messages, for `server.attach`. If a method throws, the error is reported and the client closed (1006). */
export interface Transport {
  /** Shown as `client.transport`. */
  readonly name: string
  readonly remote: string
  /** Frames are written to it. The transport MUST listen to its `error` event. */
  readonly socket: Duplex
  /** Frames one message. MUST be the same function for all connections of a kind, so that they share frames. */
  readonly frame: (payload: Payload) => Buffer
  /** Stops reading; called when the client's mailbox is full. */
  pause(): void
  /** Reads again; called when the mailbox has room. */
  resume(): void
  /** Closes the connection; all frames have been written. MUST soon lead to `closed`. Not called before `attach` returns. */
  close(code: number, reason: string): void
  /** Ends the connection immediately. MUST lead to `closed`. */
  destroy(): void
}
