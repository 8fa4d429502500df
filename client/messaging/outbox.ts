import type { Args, Kwargs } from '../../protocols/clever-show/message.ts'
import { MAX_TIMEOUT, type PendingCall, PendingCalls } from '../../src/kit/pending-calls.ts'
import { sizeOf } from '../queue.ts'
import { errorIn, goneError, MessagingError } from './error.ts'
import { contentOf, type Outgoing, type Response } from './format.ts'

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
  /** Settles with the response. Default: with its value. */
  readonly isWhole?: boolean
}

/** A message that is unsent, or waits for its response. */
export interface Entry extends Outgoing, PendingCall {
  /** Unique; `undefined`: it has no response. */
  readonly id?: string
  /** Number among the messages that are sent again, from 1; 0 for others. */
  readonly seq: number
  /** Form for a server without the filter. Default: the action as JSON. */
  readonly plain?: string | undefined
  /** Bytes that count. */
  readonly size: number
  readonly isWhole?: boolean | undefined
  /** On this connection or an earlier one. */
  isSent?: true
}

export type Outbox = ReturnType<typeof outboxOf>

/**
 * Unsent messages, and messages without a response yet, which are sent again on the next connection under the same id.
 *
 * @param epoch - identifies this incarnation of the client; prefix of the ids.
 * @param send - returns `false` while messages cannot be sent.
 */
export function outboxOf(maxMessages: number, maxBytes: number, epoch: string, send: (entry: Entry) => boolean) {
  const calls = new PendingCalls<Entry>(Infinity, '', {
    Failed: MessagingError,
    onSettled(call) {
      remove(call)
      // The window may have held back later messages.
      if (unsent.size > 0) flush()
    },
  })
  /** In the order in which they are sent. */
  let unsent = new Set<Entry>()
  let [count, bytes] = [0, 0]
  let lastSeq = 0
  /** Lower bound of the numbers of the messages that wait. */
  let firstSeq = 1
  let otherCount = 0
  let window = WINDOW
  let [isFlushing, isClosed] = [false, false]

  /** @throws MessagingError; `remove` MUST follow. */
  function add(entry: Entry): void {
    count++
    bytes += entry.size
    if (isClosed) throw goneError()
    if (count > maxMessages || bytes > maxBytes) throw new MessagingError('full', 'the queue is full')
    lastSeq = entry.seq || lastSeq
    // The usual case, without the cost of the set.
    if (unsent.size === 0 && !isFlushing && isInWindow(entry.seq) && send(entry)) sent(entry)
    else {
      unsent.add(entry)
      flush()
    }
  }

  function sent(entry: Entry): void {
    entry.isSent = true
    unsent.delete(entry)
    if (entry.id === undefined) remove(entry)
  }

  function remove(entry: Entry): void {
    count--
    bytes -= entry.size
    unsent.delete(entry)
  }

  function isInWindow(seq: number): boolean {
    if (seq - firstSeq >= window) firstSeq = calls.all().find(call => call.seq > 0)?.seq ?? seq
    return seq - firstSeq < window
  }

  /**
   * Sends in order as much as possible.
   *
   * @param newWindow - responses that the server stores; the first and the last pending message are at most so far apart.
   */
  function flush(newWindow?: number): void {
    if (newWindow! > 0) window = newWindow!
    // The loop below goes on with what was added or became possible meanwhile.
    if (isFlushing) return
    isFlushing = true
    for (const entry of unsent) {
      try {
        if (!isInWindow(entry.seq) || !send(entry)) break
        sent(entry)
      } catch (error) {
        // It does not fit into a frame, or the server has no filter.
        if (entry.id === undefined) remove(entry)
        else calls.reject(entry.id, error)
      }
    }
    isFlushing = false
  }

  /**
   * Sends an action or a request. Settles with the value of its response; an action is answered when it is done.
   *
   * @throws (rejects) MessagingError; the signal's reason.
   */
  function call(
    type: 'message' | 'request',
    name: string,
    args?: Args,
    kwargs?: Kwargs,
    { timeout = 10_000, signal, resends = true, fields, bytes: file, isWhole }: SendOptions = {},
  ): Promise<unknown> {
    const seq = resends ? lastSeq + 1 : 0
    const id = epoch + (resends ? `.${seq}` : `-${++otherCount}`)
    let content: string | Uint8Array
    try {
      content = file ?? contentOf(args, kwargs)
    } catch (error) {
      return Promise.reject(error)
    }
    const size = file ? 0 : sizeOf(content)
    const entry: Entry = { callee: 'the server', type, name, id, fields, content, seq, size, isWhole }
    const options = { timeout: Math.min(timeout, MAX_TIMEOUT), signal }
    return calls.start(id, entry, () => add(entry), options)
  }

  return {
    /** Number of unsent messages. */
    unsent: () => unsent.size,
    call,
    flush,

    /** Sends an action without a response. @returns `false`: the queue is full, or closed. */
    emit(name: string, args?: Args, kwargs?: Kwargs, plain?: string): boolean {
      const content = contentOf(args, kwargs)
      const entry: Entry = {
        callee: '',
        type: 'message',
        name,
        content,
        seq: 0,
        size: sizeOf(content),
        plain,
      }
      try {
        add(entry)
        return true
      } catch {
        remove(entry)
        return false
      }
    },

    /** Settles the call of a response; late responses are ignored. */
    settle(name: string, response: Response): void {
      const id = `${response.id}`
      const call = calls.get(id)
      if (call?.name !== name) return
      const error = errorIn(response)
      if (error) calls.reject(id, error)
      else calls.resolve(id, call.isWhole ? response : response.value)
    },

    /** The connection broke. Messages in flight are sent again before new ones, or reject. */
    disconnected(): void {
      for (const { id, isSent, seq } of calls.all()) if (isSent && !seq) calls.reject(id!, goneError())
      unsent = new Set([...calls.all().filter(call => call.isSent), ...unsent])
    },

    /** Rejects all calls, also later ones. */
    close(): void {
      isClosed = true
      unsent.clear()
      calls.rejectAll(goneError)
    },
  }
}
