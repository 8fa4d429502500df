import type { Args, Kwargs } from '../../protocols/clever-show/message.ts'
import { sizeOf } from '../queue.ts'
import { errorIn, MessagingError } from './error.ts'
import { encode, type Response } from './format.ts'

/** Milliseconds that a timer can hold. */
const MAX_TIMEOUT = 2_147_483_647
/** Answers that the server remembers, if it does not say how many. */
const WINDOW = 1000

export interface CallOptions {
  /** Milliseconds, over all connections; default 10,000, of `deliver` 60,000. */
  readonly timeout?: number
  /** Gives up when it is aborted, with its reason. */
  readonly signal?: AbortSignal
}

export interface AskOptions extends CallOptions {
  /** `false`: is not sent again when the connection breaks, but rejects with `gone`. */
  readonly isKept?: boolean
  /** Further fields of the header. */
  readonly fields?: Kwargs
  /** Content in the place of args and kwargs; whoever sends it waits for answers, as no bound in bytes holds for it here. */
  readonly bytes?: Uint8Array
}

/** What is to go out, or waits for its answer. */
export interface Entry {
  readonly name: string
  /** Unlike all others. */
  readonly id: string
  /** Counts what is kept, from 1; 0: it is not. */
  readonly n: number
  /** The same for a server without the filter. */
  readonly plain?: string
  /** Bytes that count. */
  readonly size: number
  /** Of those who want an answer: here it is, or why there is none. */
  readonly end?: (error: unknown, answer?: Response) => void
  /** `again`: it has gone out, on a connection that broke. */
  state?: 'sent' | 'again'
  frame(): Uint8Array<ArrayBuffer>
}

/** What waits to go out, in order, and what waits for its answer: that goes out again on the next connection, under the same id. */
export interface Outbox {
  /** Messages that wait for a connection. */
  waiting(): number
  /**
   * Settles with the answer; an action is answered when it is done. Rejects with a `MessagingError`, or the reason of the
   * signal.
   */
  ask(type: 'message' | 'request', name: string, args?: Args, kwargs?: Kwargs, options?: AskOptions): Promise<Response>
  /** An action that nobody answers; `false`: too much waits. */
  tell(name: string, args?: Args, kwargs?: Kwargs, plain?: string): boolean
  /** The answer to something; what nobody waits for came too late. */
  settle(answer: Response): void
  /**
   * Sends what may go, in order.
   *
   * @param window - what the server remembers the answers of: so far apart may be the first and the last that are unanswered.
   */
  flush(window?: number): void
  /** The connection is gone: what was under way goes out again, before all that is new. */
  lose(): void
  /** For good. */
  end(): void
}

/**
 * @param epoch - names this run of the client: with it begin the ids.
 * @param send - `false`: there is no connection that takes it.
 */
export function outboxOf(
  maxMessages: number,
  maxBytes: number,
  epoch: string,
  send: (entry: Entry) => boolean,
): Outbox {
  /** In the order in which they were first said, by id. */
  const entries = new Map<string, Entry>()
  /** Of these what is to go out. */
  let unsent = new Set<Entry>()
  let sum = 0
  let kept = 0
  let others = 0
  let span = WINDOW
  let isOver = false

  function add(entry: Entry): boolean {
    if (isOver || entries.size >= maxMessages || sum + entry.size > maxBytes) return false
    sum += entry.size
    entries.set(entry.id, entry)
    unsent.add(entry)
    return true
  }

  function remove(entry: Entry): void {
    unsent.delete(entry)
    if (entries.delete(entry.id)) sum -= entry.size
  }

  /** Number of the first that is kept. */
  function first(): number {
    for (const { n } of entries.values()) if (n) return n
    return 0
  }

  function flush(window = span): void {
    span = window
    for (const entry of unsent) {
      if (entry.n - first() >= span) return
      try {
        if (!send(entry)) return
        entry.state = 'sent'
        unsent.delete(entry)
        if (!entry.end) remove(entry)
      } catch (error) {
        // No frame can say it.
        remove(entry)
        entry.end?.(error)
      }
    }
  }

  function ask(
    type: 'message' | 'request',
    name: string,
    args?: Args,
    kwargs?: Kwargs,
    { timeout = 10_000, signal, isKept = true, fields, bytes: content }: AskOptions = {},
  ): Promise<Response> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted()
      const n = isKept ? kept + 1 : 0
      const id = epoch + (isKept ? `.${n}` : `-${++others}`)
      const said = content ?? contentOf(args, kwargs)
      const entry: Entry = {
        name,
        id,
        n,
        size: content ? 0 : sizeOf(said),
        frame: () => encode(type, name, id, { ...fields, resend: entry.state && true }, said),
        end(error, answer) {
          clearTimeout(timer)
          signal?.removeEventListener('abort', abort)
          remove(entry)
          if (error || !answer) reject(error)
          else resolve(answer)
        },
      }
      if (!add(entry)) throw isOver ? gone() : new MessagingError('full', 'too much waits for the server')
      kept = n || kept
      // What is behind it may have waited for it.
      const giveUp = (why: unknown) => {
        entry.end!(why)
        flush()
      }
      const abort = () => giveUp(signal!.reason)
      const late = () => giveUp(new MessagingError('timeout', `no answer to "${name}" within ${timeout} ms`))
      const timer = setTimeout(late, Math.min(timeout, MAX_TIMEOUT))
      signal?.addEventListener('abort', abort)
      flush()
    })
  }

  return {
    waiting: () => unsent.size,
    ask,
    flush,

    tell(name, args, kwargs, raw) {
      const content = contentOf(args, kwargs)
      const isAdded = add({
        name,
        id: `-${++others}`,
        n: 0,
        size: sizeOf(content),
        plain: raw ?? `{"action":${JSON.stringify(name)},${content.slice(1)}`,
        frame: () => encode('message', name, undefined, {}, content),
      })
      flush()
      return isAdded
    },

    settle(answer) {
      const entry = entries.get(`${answer.id}`)
      if (entry?.name !== answer.name) return
      entry.end?.(errorIn(answer), answer)
      flush()
    },

    lose() {
      for (const entry of entries.values()) {
        if (!entry.state) continue
        entry.state = 'again'
        if (!entry.n) entry.end!(gone())
      }
      unsent = new Set(entries.values())
    },

    end() {
      isOver = true
      for (const entry of entries.values()) entry.end?.(gone())
      entries.clear()
      unsent.clear()
    },
  }
}

export function gone(): MessagingError {
  return new MessagingError('gone', 'the connection is gone')
}

/** What actions and requests say. */
export function contentOf(args: Args = [], kwargs: Kwargs = {}): string {
  return JSON.stringify({ args: [...args], kwargs: { ...kwargs } })
}
