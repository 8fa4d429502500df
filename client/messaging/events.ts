import type { ConnectionEvents } from '../connection.ts'

export interface MessagingEvents {
  /** Connected and known to the server: what waited has gone out. `protocol` is empty, or `messaging`, with a plain server. */
  open: ConnectionEvents['open']
  /** Not, or no longer, connected; `retryIn`: milliseconds until the next attempt, `undefined`: there is none. */
  close: ConnectionEvents['close']
  /** Plain: a text, or of a server without the filter `messaging` bytes. */
  message: string | ArrayBuffer
  /** What cannot be understood, and why. */
  unreadable: { readonly reason: string; readonly data: string | ArrayBuffer }
  /** What could not be done: a handler of an action or of a request threw it, or there is none. */
  failed: { readonly name: string; readonly error: unknown }
}
