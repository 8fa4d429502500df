import type { ConnectionEvents } from '../connection.ts'

export interface MessagingEvents {
  /**
   * Connected and registered, and the queue is sent. With a server without the filter `messaging`, `protocol` is empty or
   * `messaging`.
   */
  open: ConnectionEvents['open']
  /** Disconnected, or an attempt failed. `retryIn`: milliseconds until the next attempt; `undefined`: closed. */
  close: ConnectionEvents['close']
  /** A plain message: a string, or bytes of a server without the filter `messaging`. */
  message: string | ArrayBuffer
  /** A message that cannot be parsed. */
  unreadable: { readonly reason: string; readonly data: string | ArrayBuffer }
  /** A message that a handler failed to process, or for which there is no handler; `name` is that of the action or request. */
  failed: { readonly name: string; readonly error: unknown }
}
