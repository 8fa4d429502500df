import { isCount } from '../../protocols/clever-show/frame.ts'
import type { Kwargs } from '../../protocols/clever-show/message.ts'
import type { ConnectionState } from '../lasting-socket.ts'
import { MessagingError } from './error.ts'
import type { Response } from './format.ts'
import type { AskOptions, Outbox } from './outbox.ts'
import type { Hash } from './sha256.ts'

/** Of a file. */
const IN_FLIGHT = 4
const PATIENCE = 120_000
/** Milliseconds before a server that could not do it is asked again. */
const PAUSE = 250

export interface TransferOptions {
  /** Told how many bytes have arrived, of how many. */
  readonly onProgress?: (progress: { readonly bytes: number; readonly size: number }) => void
  /** Gives up; what has arrived stays there for a while, to go on with. */
  readonly signal?: AbortSignal
  /** Milliseconds in which at least one part has to arrive, waits for a connection included; default 120,000. */
  readonly timeout?: number
}

export type Ask = (type: 'message' | 'request', name: string, kwargs: Kwargs, more?: AskOptions) => Promise<Response>

/** What transfers need of a connection. */
export interface Line {
  readonly state: ConnectionState
  readonly outbox: Pick<Outbox, 'ask'>
  /** SHA-256; default: our own. */
  readonly hash?: (() => Hash) | undefined
}

/**
 * Runs something, and again from its beginning when the connection breaks or the server is busy, as long as it gets on.
 *
 * @param mayTry - whether another error is a reason as well.
 */
export async function steadily<T>(
  line: Line,
  { signal, timeout = PATIENCE }: TransferOptions,
  mayTry: (code: string) => boolean,
  run: (ask: Ask) => Promise<T>,
): Promise<T> {
  let end = Date.now() + timeout
  const ask: Ask = async (type, name, kwargs, more) => {
    const settings = { ...more, ...(signal && { signal }), timeout: end - Date.now(), isKept: false }
    const answer = await line.outbox.ask(type, name, [], kwargs, settings)
    // What is only asked is no progress: else a server that ends with each part would be tried for ever.
    if (type === 'message' || answer.content) end = Date.now() + timeout
    return answer
  }
  for (;;) {
    try {
      return await run(ask)
    } catch (error) {
      const { code } = error as MessagingError
      if (line.state === 'closed' || Date.now() + PAUSE > end || !(/^(gone|busy)$/.test(code) || mayTry(code)))
        throw error
      if (code !== 'gone') await new Promise(resolve => setTimeout(resolve, PAUSE))
    }
  }
}

/** Asks for one thing after the other, a few at a time, and takes the answers in order. Settles when nothing is under way. */
export async function inOrder<T>(asks: AsyncIterable<() => Promise<T>>, take: (answer: T) => unknown): Promise<void> {
  const flying: Promise<T>[] = []
  try {
    for await (const ask of asks) {
      const asked = ask()
      // Whoever awaits the one before it may never come to this one.
      asked.catch(() => {})
      flying.push(asked)
      if (flying.length === IN_FLIGHT) await take(await flying.shift()!)
    }
    for (const asked of flying) await take(await asked)
  } finally {
    await Promise.allSettled(flying)
  }
}

/** A number of bytes that the other side tells. */
export function countIn(told: unknown, most = Number.MAX_SAFE_INTEGER): number {
  if (isCount(told) && told <= most) return told
  throw new MessagingError('failed', `there is a number of bytes up to ${most}, received ${told}`)
}
