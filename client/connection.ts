import { delayBefore } from './backoff.ts'
import { Listeners } from './listeners.ts'
import { Queue, type Sendable } from './queue.ts'

/** Milliseconds that a connection must have lasted for the next wait to be a short one again. */
const STABLE = 5000
/** Close codes after which coming back is of no use: the peer objects to what we do or who we are, or says that it is over. */
const FINAL: readonly number[] = [1000, 1002, 1003, 1007, 1008, 1009, 1010, 4403]

/** `WebSocket.OPEN`. */
const OPEN = 1

type Awaitable<T> = T | PromiseLike<T>

/** The part of the WebSocket interface (WHATWG) that is used; browsers, Node 22 and `ws` have it. */
export interface Socket {
  binaryType: string
  readonly readyState: number
  readonly bufferedAmount: number
  send(data: Sendable): void
  close(code?: number, reason?: string): void
  // biome-ignore lint/suspicious/noExplicitAny: each implementation has event types of its own
  addEventListener(type: 'open' | 'message' | 'close' | 'error', listener: (event: any) => void): void
}
export type SocketClass = new (url: string, protocols?: string[]) => Socket

export interface ConnectOptions {
  /** Subprotocols to offer; a function is asked before each attempt. */
  readonly protocols?: readonly string[] | (() => Awaitable<readonly string[]>)
  /** For the filter `jwt`: offered as the subprotocol `bearer`; a function is asked before each attempt. */
  readonly token?: string | (() => Awaitable<string>)
  /** Closes for good. */
  readonly signal?: AbortSignal
  /** Milliseconds of the first wait and of the longest; default 500 and 30,000. */
  readonly firstDelay?: number
  readonly maxDelay?: number
  /** Attempts in a row that may fail; default: any number. */
  readonly attempts?: number
  /** Milliseconds that an attempt may take; default 10,000. */
  readonly timeout?: number
  /** What may wait while there is no connection; default 1,000 messages and 1 MiB. */
  readonly maxQueued?: number
  readonly maxQueuedBytes?: number
  /**
   * Asked at each opening for what every message passes right before it goes out, those that waited too: for protocols
   * that number the messages of a connection.
   */
  readonly outgoing?: () => (data: Sendable) => Sendable
  /** Default: the one of the platform. */
  readonly WebSocket?: SocketClass
}

export interface ConnectionEvents {
  /** Connected; `attempt` counts those in a row, from 0. */
  open: { readonly attempt: number; readonly protocol: string }
  message: string | ArrayBuffer
  /** Not, or no longer, connected; `retryIn`: milliseconds until the next attempt, `undefined`: there is none. */
  close: { readonly code: number; readonly reason: string; readonly retryIn: number | undefined }
}

export type ConnectionState = 'connecting' | 'open' | 'waiting' | 'closed'

/**
 * A WebSocket connection that comes back by itself: messages sent meanwhile wait, within bounds, and go out in order.
 * What was under way when a connection broke may be lost; nothing is sent twice.
 */
export class Connection {
  readonly url: string
  readonly #options: ConnectOptions
  readonly #queue: Queue
  readonly #listeners = new Listeners<ConnectionEvents>()
  #state: ConnectionState = 'connecting'
  #socket: Socket | undefined
  #outgoing = asItIs
  /** Failed ones in a row. */
  #attempt = 0
  #openedAt = 0
  /** The attempt that is under way. */
  #current: object | undefined
  #timer: ReturnType<typeof setTimeout> | undefined

  /** @param url - `ws:` or `wss:`. Use `connect`. */
  constructor(url: string, options: ConnectOptions = {}) {
    this.url = url
    this.#options = options
    this.#queue = new Queue(options.maxQueued ?? 1000, options.maxQueuedBytes ?? 1_048_576)
    const { signal } = options
    if (signal?.aborted) {
      this.#state = 'closed'
      return
    }
    signal?.addEventListener('abort', this.#abort)
    void this.#connect()
  }

  get state(): ConnectionState {
    return this.#state
  }

  /** Messages that wait for a connection. */
  get queued(): number {
    return this.#queue.length
  }

  /** Bytes handed to the connection that it has not sent. */
  get bufferedAmount(): number {
    return this.#socket?.bufferedAmount ?? 0
  }

  /** Answers how to stop listening. */
  on<E extends keyof ConnectionEvents>(type: E, listener: (event: ConnectionEvents[E]) => void): () => void {
    return this.#listeners.add(type, listener)
  }

  /** Sends, now or when there is a connection. `false`: closed, or too much waits already, and it is not sent. */
  send(data: Sendable): boolean {
    return this.sendNow(data) || (this.#state !== 'closed' && this.#queue.add(data))
  }

  /** Sends, or answers `false` where there is no connection: what would be worth nothing later does not wait. */
  sendNow(data: Sendable): boolean {
    if (!isSendable(data)) throw new TypeError('send() takes a string, an ArrayBuffer or a view of one')
    // One that is closing takes what it is given, and sends none of it.
    if (this.#socket?.readyState !== OPEN || this.#state !== 'open') return false
    this.#socket.send(this.#outgoing(data))
    return true
  }

  /** For good. */
  close(code = 1000, reason = ''): void {
    if (this.#state === 'closed') return
    // It throws for what cannot be said; then nothing has happened.
    this.#socket?.close(code, reason)
    this.#end()
    if (this.#socket === undefined) this.#listeners.tell('close', { code, reason, retryIn: undefined })
  }

  async #connect(): Promise<void> {
    this.#state = 'connecting'
    const attempt = {}
    this.#current = attempt
    this.#timer = setTimeout(() => {
      if (this.#socket !== undefined) this.#socket.close()
      else this.#lost({ code: 1006, reason: 'no answer to what to offer' })
    }, this.#options.timeout ?? 10_000)
    let socket: Socket
    try {
      const protocols = await this.#protocols()
      if (this.#isOver() || this.#current !== attempt) return
      const { WebSocket = (globalThis as { WebSocket?: SocketClass }).WebSocket } = this.#options
      if (WebSocket === undefined) throw new Error('this platform has no WebSocket; give one as an option')
      socket = new WebSocket(this.url, protocols)
    } catch (error) {
      if (this.#current === attempt)
        this.#lost({ code: 1006, reason: error instanceof Error ? error.message : String(error) })
      return
    }
    this.#socket = socket
    socket.binaryType = 'arraybuffer'
    socket.addEventListener('open', () => this.#opened(socket))
    socket.addEventListener('message', ({ data }: { data: string | ArrayBuffer }) =>
      this.#listeners.tell('message', data),
    )
    // `close` follows, and says more.
    socket.addEventListener('error', () => {})
    socket.addEventListener('close', ({ code, reason }: { code: number; reason: string }) => {
      this.#lost({ code, reason })
    })
  }

  async #protocols(): Promise<string[]> {
    const { protocols = [], token } = this.#options
    const offered = [...(typeof protocols === 'function' ? await protocols() : protocols)]
    if (token === undefined) return offered
    return [...offered, 'bearer', typeof token === 'function' ? await token() : token]
  }

  #opened(socket: Socket & { readonly protocol?: string }): void {
    clearTimeout(this.#timer)
    if (this.#isOver()) {
      socket.close(1000)
      return
    }
    this.#state = 'open'
    this.#openedAt = Date.now()
    this.#outgoing = this.#options.outgoing?.() ?? asItIs
    for (const data of this.#queue.take()) socket.send(this.#outgoing(data))
    this.#listeners.tell('open', { attempt: this.#attempt, protocol: socket.protocol ?? '' })
  }

  #lost({ code, reason }: { code: number; reason: string }): void {
    clearTimeout(this.#timer)
    this.#socket = undefined
    this.#current = undefined
    if (this.#state === 'open' && Date.now() - this.#openedAt >= STABLE) this.#attempt = 0
    const { firstDelay = 500, maxDelay = 30_000, attempts = Number.POSITIVE_INFINITY } = this.#options
    if (this.#isOver() || FINAL.includes(code) || this.#attempt + 1 >= attempts) {
      this.#end()
      this.#listeners.tell('close', { code, reason, retryIn: undefined })
      return
    }
    const retryIn = delayBefore(this.#attempt++, firstDelay, maxDelay)
    this.#state = 'waiting'
    this.#timer = setTimeout(() => void this.#connect(), retryIn)
    this.#listeners.tell('close', { code, reason, retryIn })
  }

  #end(): void {
    this.#state = 'closed'
    clearTimeout(this.#timer)
    this.#queue.take()
    this.#options.signal?.removeEventListener('abort', this.#abort)
  }

  /** A getter would let the compiler believe that it cannot change during an `await`. */
  #isOver(): boolean {
    return this.#state === 'closed'
  }

  readonly #abort = () => this.close()
}

const asItIs = (data: Sendable): Sendable => data

function isSendable(data: unknown): boolean {
  return typeof data === 'string' || data instanceof ArrayBuffer || ArrayBuffer.isView(data)
}
