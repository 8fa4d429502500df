import type { Incoming } from 'filtered-websocket/kit'

/** Sends messages in order, each at least once. */
export interface Delivery {
  /** Number of messages that the server has not acknowledged. */
  readonly pending: number
  /** Accepts a message. A promise: the caller waits for it before the next message. */
  write(message: Incoming): Promise<void> | undefined
  /** Resolves when the server has acknowledged all messages, and the connection is closed. */
  finish(): Promise<void>
}
