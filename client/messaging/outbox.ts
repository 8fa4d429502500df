import type { Args, Kwargs } from '../../protocols/clever-show/message.ts'
import { sizeOf } from '../queue.ts'
import { errorIn, MessagingError } from './error.ts'
import { encode, type Response } from './format.ts'

/** Longest timer, in milliseconds. */
const MAX_TIMEOUT = 2_147_483_647
/** Responses that a server stores for resends, unless it states another number. */
const WINDOW = 1000

export interface CallOptions {
  /** Milliseconds until the call fails, reconnects included. Default: 10,000; for `deliver` 60,000. */
  readonly timeout?: number
  /** Cancels the call, which rejects with the reason of the signal. */
  readonly signal?: AbortSignal
}

export interface SendOptions extends CallOptions {
  /** Whether the message is sent again when the connection breaks. Otherwise it rejects with `gone`. Default: true. */
  readonly resends?: boolean
  /** Further fields of the header. */
  readonly fields?: Kwargs
  /** Content instead of args and kwargs. Not counted: the caller MUST bound it by waiting for responses. */
  readonly bytes?: Uint8Array
}

/** A message that is unsent, or waits for its response. */
export interface Entry {
  readonly name: string
  /** Unique. */
  readonly id: string
  /** Number among the messages that are sent again, from 1; 0 for others. */
  readonly seq: number
  /** Form for a server without the filter. */
  readonly plain?: string
  /** Bytes that count. */
  readonly size: number
  /** Settles the call; missing for messages without a response. */
  readonly end?: (error: unknown, response?: Response) => void
  /** On this connection or an earlier one. */
  isSent?: true
  frame(): Uint8Array<ArrayBuffer>
}

export type Outbox = ReturnType<typeof outboxOf>

/**
 * Unsent messages, and messages without a response yet, which are sent again on the next connection under the same id.
 *
 * @param epoch - identifies this incarnation of the client; prefix of the ids.
 * @param send - returns `false` while messages cannot be sent.
 */
export function outboxOf(maxMessages: number, maxBytes: number, epoch: string, send: (entry: Entry) => boolean) {
  /** By id, in the order of the calls. */
  const entries = new Map<string, Entry>()
  let unsent = new Set<Entry>()
  let bytes = 0
  let lastSeq = 0
  let otherCount = 0
  let window = WINDOW
  let isClosed = false

  function add(entry: Entry): boolean {
    if (isClosed || entries.size >= maxMessages || bytes + entry.size > maxBytes) return false
    bytes += entry.size
    entries.set(entry.id, entry)
    unsent.add(entry)
    return true
  }

  function remove(entry: Entry): void {
    unsent.delete(entry)
    if (entries.delete(entry.id)) bytes -= entry.size
  }

  function firstSeq(): number {
    for (const { seq } of entries.values()) if (seq) return seq
    return 0
  }

  /**
   * Sends in order as much as possible.
   *
   * @param newWindow - responses that the server stores; the first and the last pending message are at most so far apart.
   */
  function flush(newWindow = window): void {
    window = newWindow
    for (const entry of unsent) {
      if (entry.seq - firstSeq() >= window) return
      try {
        if (!send(entry)) return
        entry.isSent = true
        unsent.delete(entry)
        if (!entry.end) remove(entry)
      } catch (error) {
        // It does not fit into a frame.
        remove(entry)
        entry.end?.(error)
      }
    }
  }

  /**
   * Sends an action or a request. Settles with its response; an action is answered when it is done.
   *
   * @throws (rejects) MessagingError; the signal's reason.
   */
  function call(
    type: 'message' | 'request',
    name: string,
    args?: Args,
    kwargs?: Kwargs,
    { timeout = 10_000, signal, resends = true, fields, bytes: file }: SendOptions = {},
  ): Promise<Response> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted()
      const seq = resends ? lastSeq + 1 : 0
      const id = epoch + (resends ? `.${seq}` : `-${++otherCount}`)
      const content = file ?? contentOf(args, kwargs)
      const entry: Entry = {
        name,
        id,
        seq,
        size: file ? 0 : sizeOf(content),
        frame: () => encode(type, name, id, { ...fields, resend: entry.isSent }, content),
        end(error, response) {
          clearTimeout(timer)
          signal?.removeEventListener('abort', abort)
          remove(entry)
          if (error || !response) reject(error)
          else resolve(response)
        },
      }
      if (!add(entry)) throw isClosed ? goneError() : new MessagingError('full', 'the queue is full')
      lastSeq = seq || lastSeq
      const cancel = (reason: unknown) => {
        entry.end!(reason)
        // The window may have held back later messages.
        flush()
      }
      const abort = () => cancel(signal!.reason)
      const expire = () => cancel(new MessagingError('timeout', `no response to "${name}" within ${timeout} ms`))
      const timer = setTimeout(expire, Math.min(timeout, MAX_TIMEOUT))
      signal?.addEventListener('abort', abort)
      flush()
    })
  }

  return {
    /** Number of unsent messages. */
    unsent: () => unsent.size,
    call,
    flush,

    /** Sends an action without a response. @returns `false`: the queue is full, or closed. */
    emit(name: string, args?: Args, kwargs?: Kwargs, plain?: string): boolean {
      const content = contentOf(args, kwargs)
      const isAdded = add({
        name,
        id: `-${++otherCount}`,
        seq: 0,
        size: sizeOf(content),
        plain: plain ?? `{"action":${JSON.stringify(name)},${content.slice(1)}`,
        frame: () => encode('message', name, undefined, {}, content),
      })
      flush()
      return isAdded
    },

    /** Settles the call of a response; late responses are ignored. */
    settle(response: Response): void {
      const entry = entries.get(`${response.id}`)
      if (entry?.name !== response.name) return
      entry.end?.(errorIn(response), response)
      flush()
    },

    /** The connection broke. Messages in flight are sent again before new ones, or reject. */
    disconnected(): void {
      for (const entry of entries.values()) if (entry.isSent && !entry.seq) entry.end!(goneError())
      unsent = new Set(entries.values())
    },

    /** Rejects all calls, also later ones. */
    close(): void {
      isClosed = true
      for (const entry of entries.values()) entry.end?.(goneError())
      entries.clear()
      unsent.clear()
    },
  }
}

export function goneError(): MessagingError {
  return new MessagingError('gone', 'the connection is closed')
}

/** JSON content of actions and requests. */
export function contentOf(args: Args = [], kwargs: Kwargs = {}): string {
  return JSON.stringify({ args: [...args], kwargs: { ...kwargs } })
}
