import type { Incoming } from 'filtered-websocket/kit'

/** Sends messages in order, each at least once. */
export interface Delivery {
  /** Number of messages that the server has not acknowledged. */
  readonly pending: number
  /** Rejects when the connection does not come back, or the server refuses a message; never resolves. */
  readonly failed: Promise<never>
  /** Accepts a message. A promise: the caller waits for it before the next message. */
  write(message: Incoming): Promise<void> | undefined
  /** Resolves when the server has acknowledged all messages, and the connection is closed. */
  finish(): Promise<void>
  /** Closes the connection; messages that are not acknowledged may be lost. */
  close(): void
}
