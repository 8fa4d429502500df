import { MessagingError } from './error.ts'

/** Messages of the server, and bytes of them. */
const MAX_WORK = 1000
const MAX_BYTES = 16 * 1024 * 1024

/** Whether so many messages of the server are more than are worked on, or wait for their instants. */
export function isTooMuch(count: number, bytes: number): boolean {
  return count > MAX_WORK || bytes > MAX_BYTES
}

/** Why something is not done. */
export function busy(): MessagingError {
  return new MessagingError('busy', 'too much is to be done')
}
