import { MessagingError } from './error.ts'

/** Messages of the server that are pending at a time, and their bytes. */
const MAX_MESSAGES = 1000
const MAX_BYTES = 16 * 1024 * 1024

/** The error for a message that exceeds the limits of pending messages, if it does. */
export function overload(messages: number, bytes: number): MessagingError | undefined {
  if (messages > MAX_MESSAGES || bytes > MAX_BYTES) return new MessagingError('busy', 'too many messages')
}
