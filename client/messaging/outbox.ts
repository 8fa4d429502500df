import { MessagingError } from './error.ts'
import type { Args, Kwargs, Message } from './frame.ts'

/** Milliseconds that a timer can hold. */
const MAX_TIMEOUT = 2_147_483_647
/** Characters of a name. */
const MAX_NAME = 1024

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
  /** Content in the place of args and kwargs; whoever sends it waits for answers, as no bound holds for it here. */
  readonly bytes?: Uint8Array
}

/** What is to go out, and its answer that somebody waits for. */
export interface Entry {
  readonly type: 'message' | 'request'
  readonly name: string
  readonly id?: string
  /** Counts what is kept, from 1; 0: it is not. */
  readonly n: number
  readonly fields: Kwargs
  /** JSON, or bytes. */
  readonly content: string | Uint8Array
  /** The same for a server without the filter. */
  readonly plain?: string | ArrayBuffer
  /** Bytes that count. */
  readonly size: number
  /** On a connection before this one. */
  wasSent?: boolean
  readonly resolve?: (answer: Message) => void
  readonly reject?: (error: unknown) => void
}

export interface OutboxOptions {
  readonly maxMessages: number
  readonly maxBytes: number
  /** Names this run of the client: with it begin the ids. */
  readonly epoch: string
  /** `false`: there is no connection that takes it. `done`: there will be no answer to it. */
  readonly send: (entry: Entry) => boolean | 'done'
}

/** What waits to go out, in order, and what waits for its answer: that goes out again on the next connection, under the same id. */
export class Outbox {
  readonly #options: OutboxOptions
  readonly #all = new Set<Entry>()
  /** Those of them that have an id. */
  readonly #asked = new Map<string, Entry>()
  #unsent = new Set<Entry>()
  #bytes = 0
  #kept = 0
  #others = 0
  /** What the server remembers the answers of: so far apart may be the first and the last that are unanswered. */
  window = 1000

  constructor(options: OutboxOptions) {
    this.#options = options
  }

  /** Messages that wait for a connection. */
  get length(): number {
    return this.#unsent.size
  }

  /** Settles with the answer; an action is answered when it is done. Rejects with a `MessagingError`, or the reason of the signal. */
  ask(
    type: 'message' | 'request',
    name: string,
    args: Args = [],
    kwargs: Kwargs = {},
    { timeout = 10_000, signal, isKept = true, fields, bytes }: AskOptions = {},
  ): Promise<Message> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted()
      const n = isKept ? this.#kept + 1 : 0
      const { epoch } = this.#options
      const id = isKept ? `${epoch}.${n}` : `${epoch}-${++this.#others}`
      const isAction = type === 'message'
      const content = bytes ?? contentOf(args, kwargs, isAction ? undefined : { requested_value: name, request_id: id })
      const stop = () => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', abort)
        this.#forget(entry)
      }
      const entry: Entry = {
        type,
        name: named(name),
        id,
        n,
        fields: { ...(isAction && { action: name, request_id: id }), ...fields },
        content,
        size: bytes ? 0 : sizeOf(content as string),
        resolve: answer => {
          stop()
          resolve(answer)
        },
        reject: error => {
          stop()
          reject(error)
        },
      }
      this.#add(entry)
      this.#kept = n || this.#kept
      const abort = () => entry.reject!(signal!.reason)
      const timer = setTimeout(
        () => entry.reject!(new MessagingError('timeout', `no answer to "${name}" within ${timeout} ms`)),
        Math.min(timeout, MAX_TIMEOUT),
      )
      signal?.addEventListener('abort', abort)
      this.#asked.set(id, entry)
      this.flush()
    })
  }

  /** An action that nobody answers; `false`: too much waits. */
  tell(name: string, args: Args = [], kwargs: Kwargs = {}, raw?: string | ArrayBuffer): boolean {
    const content = contentOf(args, kwargs)
    const plain = raw ?? `{"action":${JSON.stringify(named(name))},${content.slice(1)}`
    const entry: Entry = {
      type: 'message',
      name,
      n: 0,
      fields: { action: name },
      content,
      plain,
      size: typeof plain === 'string' ? sizeOf(plain) : plain.byteLength,
    }
    try {
      this.#add(entry)
    } catch {
      return false
    }
    this.flush()
    return true
  }

  /** The answer to something; what nobody waits for came too late. */
  settle(answer: Message): void {
    const entry = this.#asked.get(String(answer.id))
    if (entry?.name !== answer.name) return
    const { error } = answer.header as { error?: { code?: unknown; message?: unknown } }
    if (error) entry.reject!(new MessagingError(String(error.code), String(error.message)))
    else entry.resolve!(answer)
    this.flush()
  }

  /** Sends what may go, in order. */
  flush(): void {
    const first = this.#firstKept()
    for (const entry of this.#unsent) {
      if (entry.n - first >= this.window) return
      const sent = this.#options.send(entry)
      if (sent === false) return
      entry.wasSent = true
      this.#unsent.delete(entry)
      if (entry.id === undefined) this.#forget(entry)
      else if (sent === 'done') entry.resolve!({} as Message)
    }
  }

  /** The connection is gone: what was under way goes out again, before all that is new. */
  lose(): void {
    const sent = [...this.#asked.values()].filter(entry => entry.wasSent)
    this.#unsent = new Set([...sent.filter(({ n }) => n > 0), ...this.#unsent])
    for (const entry of sent) if (entry.n === 0) entry.reject!(gone())
  }

  /** For good. */
  end(error = gone()): void {
    for (const entry of this.#all) {
      entry.reject?.(error)
      this.#forget(entry)
    }
  }

  /** Those that are answered leave first, those that were asked first stand first. */
  #firstKept(): number {
    for (const { n } of this.#asked.values()) if (n > 0) return n
    return 0
  }

  #add(entry: Entry): void {
    const { maxMessages, maxBytes } = this.#options
    const { size } = this.#all
    if (size >= maxMessages || this.#bytes + entry.size > maxBytes)
      throw new MessagingError('full', `${size} messages of ${this.#bytes} bytes wait`)
    this.#bytes += entry.size
    this.#all.add(entry)
    this.#unsent.add(entry)
  }

  #forget(entry: Entry): void {
    if (!this.#all.delete(entry)) return
    this.#bytes -= entry.size
    this.#asked.delete(entry.id!)
    this.#unsent.delete(entry)
  }
}

export function gone(): MessagingError {
  return new MessagingError('gone', 'the connection is gone')
}

/** What the server would close the connection for is said here. */
function named(name: string): string {
  if (typeof name === 'string' && name !== '' && name.length <= MAX_NAME) return name
  throw new TypeError(`a name is a text of at most ${MAX_NAME} characters`)
}

function contentOf(args: Args, kwargs: Kwargs, more?: Kwargs): string {
  return JSON.stringify({ args: [...args], kwargs: { ...kwargs }, ...more })
}

/** Bytes, at most three for each of its UTF-16 units. */
function sizeOf({ length }: string): number {
  return length * 3
}
