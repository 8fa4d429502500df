import { MessagingError } from './error.ts'

/** Messages of the server that are pending at a time, and their bytes. */
const MAX_MESSAGES = 1000
const MAX_BYTES = 16 * 1024 * 1024

/** The error when so many messages of the server are pending that one must be refused. */
export function overload(messages: number, bytes: number): MessagingError | undefined {
  if (messages > MAX_MESSAGES || bytes > MAX_BYTES) return new MessagingError('busy', 'too many messages')
}
