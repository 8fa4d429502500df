import { isCount } from '../../protocols/clever-show/frame.ts'
import type { Kwargs } from '../../protocols/clever-show/message.ts'
import type { ConnectionState } from '../reconnecting-socket.ts'
import { MessagingError } from './error.ts'
import type { Response } from './format.ts'
import type { Outbox, SendOptions } from './outbox.ts'
import type { Hash } from './sha256.ts'

/** Parts of a file in flight. */
const IN_FLIGHT = 4
/** Milliseconds. */
const TIMEOUT = 120_000
/** Milliseconds before a retry after an error of the server. */
const RETRY_DELAY = 250

export interface TransferOptions {
  /** Called with the number of transferred bytes, and of all bytes. */
  readonly onProgress?: (progress: { readonly bytes: number; readonly size: number }) => void
  /** Cancels the transfer. Transferred parts are kept for a while, so that a later transfer resumes. */
  readonly signal?: AbortSignal
  /** Milliseconds without progress until the transfer fails, reconnects included. Default: 120,000. */
  readonly timeout?: number
}

export type Call = (
  type: 'message' | 'request',
  name: string,
  kwargs: Kwargs,
  options?: SendOptions,
) => Promise<Response>

/** What transfers use of a connection. */
export interface TransferContext {
  readonly state: ConnectionState
  readonly outbox: Pick<Outbox, 'call'>
  /** Makes a SHA-256. Default: an implementation in JavaScript. */
  readonly hash?: (() => Hash) | undefined
}

/**
 * Runs a transfer, and again when the connection breaks or the server is busy, while there is progress.
 *
 * @param isRetryable - further error codes that allow a retry.
 */
export async function withRetries<T>(
  context: TransferContext,
  { signal, timeout = TIMEOUT }: TransferOptions,
  isRetryable: (code: string) => boolean,
  run: (call: Call) => Promise<T>,
): Promise<T> {
  let deadline = Date.now() + timeout
  const call: Call = async (type, name, kwargs, options) => {
    const settings = { ...options, ...(signal && { signal }), timeout: deadline - Date.now(), resends: false }
    const response = await context.outbox.call(type, name, [], kwargs, settings)
    // Requests without a file are no progress, as a server that fails at each part answers them too.
    if (type === 'message' || response.content) deadline = Date.now() + timeout
    return response
  }
  for (;;) {
    try {
      return await run(call)
    } catch (error) {
      const { code } = error as MessagingError
      const mayRetry = /^(gone|busy)$/.test(code) || isRetryable(code)
      if (!mayRetry || context.state === 'closed' || Date.now() + RETRY_DELAY > deadline) throw error
      if (code !== 'gone') await new Promise(resolve => setTimeout(resolve, RETRY_DELAY))
    }
  }
}

/** Runs calls, a few at a time, and handles their results in order. Settles when no call is pending. */
export async function pipeline<T>(
  calls: AsyncIterable<() => Promise<T>>,
  handle: (result: T) => unknown,
): Promise<void> {
  const pending: Promise<T>[] = []
  try {
    for await (const call of calls) {
      const result = call()
      // After an earlier error this rejection is not awaited.
      result.catch(() => {})
      pending.push(result)
      if (pending.length === IN_FLIGHT) await handle(await pending.shift()!)
    }
    for (const result of pending) await handle(await result)
  } finally {
    await Promise.allSettled(pending)
  }
}

/** A number of bytes from the server. @throws MessagingError `failed` */
export function byteCount(value: unknown, max = Number.MAX_SAFE_INTEGER): number {
  if (isCount(value) && value <= max) return value
  throw new MessagingError('failed', `expected a number of bytes up to ${max}, received ${value}`)
}
