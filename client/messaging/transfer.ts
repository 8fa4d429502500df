import { FILE } from '../../protocols/clever-show/frame.ts'
import type { Kwargs } from '../../protocols/clever-show/message.ts'
import { pulledPartIn } from '../../protocols/clever-show/part.ts'
import type { TransferPeer, TransferProgress } from '../../protocols/clever-show/transfer.ts'
import type { ConnectionState } from '../reconnecting-socket.ts'
import { MessagingError } from './error.ts'
import type { Response } from './format.ts'
import type { Outbox, SendOptions } from './outbox.ts'
import type { Hash } from './sha256.ts'

/** Milliseconds. */
const TIMEOUT = 120_000
/** Milliseconds before a retry after an error of the server. */
const RETRY_DELAY = 250

export interface TransferOptions extends TransferProgress {
  /** Cancels the transfer. Transferred parts are kept for a while, so that a later transfer resumes. */
  readonly signal?: AbortSignal
  /** Milliseconds without progress until the transfer fails, reconnects included. Default: 120,000. */
  readonly timeout?: number
}

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
export async function withRetries(
  context: TransferContext,
  { signal, timeout = TIMEOUT }: TransferOptions,
  isRetryable: (code: string) => boolean,
  transferWith: (server: TransferPeer<Uint8Array<ArrayBuffer>>) => () => Promise<void>,
): Promise<void> {
  let deadline = Date.now() + timeout

  async function call(
    type: 'message' | 'request',
    name: string,
    kwargs: Kwargs,
    more?: SendOptions,
  ): Promise<Response> {
    const settings = {
      ...more,
      isWhole: true,
      ...(signal && { signal }),
      timeout: Math.max(1, deadline - Date.now()),
      resends: false,
    }
    const response = (await context.outbox.call(type, name, [], kwargs, settings)) as Response
    // Requests without a file are no progress, as a server that fails at each part answers them too.
    if (type === 'message' || response.content) deadline = Date.now() + timeout
    return response
  }

  const run = transferWith({
    Failed: MessagingError,
    call: async (name, kwargs) => (await call('request', name, kwargs)).value,
    push: (fields, bytes) => call('message', FILE, {}, { fields, bytes }),
    async pull(kwargs) {
      const { content, header = {} } = await call('request', FILE, kwargs)
      if (!content) throw new MessagingError('failed', `the response is not the file "${kwargs.filepath}"`)
      try {
        return { bytes: content, ...pulledPartIn(header) }
      } catch (error) {
        throw new MessagingError('failed', (error as Error).message)
      }
    },
  })
  for (;;) {
    try {
      return await run()
    } catch (error) {
      const { code } = error as MessagingError
      const mayRetry = /^(gone|busy)$/.test(code) || isRetryable(code)
      if (!mayRetry || context.state === 'closed' || Date.now() + RETRY_DELAY > deadline) throw error
      if (code !== 'gone') await new Promise(resolve => setTimeout(resolve, RETRY_DELAY))
    }
  }
}
