import type { Connection, ConnectionState } from '../connection.ts'
import type { Listeners } from '../listeners.ts'
import type { Sendable } from '../queue.ts'
import { MessagingError } from './error.ts'
import type { MessagingEvents } from './events.ts'
import { decode, encode, type Message, messageOf } from './frame.ts'
import { isObject, readObject } from './json.ts'
import { type Entry, gone, Outbox } from './outbox.ts'

/** The subprotocol of those who speak frames. */
export const FRAMES = 'messaging-frames'
/** A server without the filter takes the first. */
export const PROTOCOLS: readonly string[] = ['messaging', FRAMES]
const RESUME = 'fws.resume'
/** Milliseconds for its answer: the original has none. */
const PATIENCE = 2000
/** Bytes that may wait to go out beside what files have under way, before actions that nobody answers are refused. */
const FILES = 1024 * 1024

/** Whom one talks to: a server without the filter, one that answers nothing but requests as the original, or one of ours. */
type Peer = 'plain' | 'original' | 'ours'

export interface LinkOptions {
  readonly url: string
  /** 1 to 128 characters. */
  readonly id: string | undefined
  readonly maxQueued: number | undefined
  readonly maxQueuedBytes: number | undefined
  readonly connect: (url: string) => Connection
  readonly listeners: Listeners<MessagingEvents>
  /** Hears what the server wants. */
  readonly take: (message: Message) => void
  /** Nothing will come any more. */
  readonly ended: () => void
}

/** A connection in frames that is replaced when it breaks, on which nothing is lost that waits for its answer. */
export class Link {
  readonly outbox: Outbox
  readonly #options: LinkOptions
  readonly #epoch = crypto.getRandomValues(new Uint32Array(3)).join('')
  readonly #maxBuffered: number
  #connection!: Connection
  #url: string
  #id: string
  /** `undefined`: nobody yet. */
  #peer: Peer | undefined
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(options: LinkOptions) {
    const { url, id, maxQueued = 1000, maxQueuedBytes = 1_048_576 } = options
    this.#options = options
    this.#url = url
    this.#id = id ?? this.#epoch
    this.#maxBuffered = maxQueuedBytes + FILES
    this.outbox = new Outbox({
      maxMessages: maxQueued,
      maxBytes: Math.min(maxQueuedBytes, 16 * FILES),
      epoch: this.#epoch,
      send: entry => this.#send(entry),
    })
    this.#open()
  }

  get id(): string {
    return this.#id
  }

  get state(): ConnectionState {
    return this.#connection.state
  }

  get bufferedAmount(): number {
    return this.#connection.bufferedAmount
  }

  /** So much waits to go out that what nobody answers is better not said. */
  get isBehind(): boolean {
    return this.bufferedAmount > this.#maxBuffered
  }

  /** The server has the filter `messaging`, or may have it. */
  get isPlain(): boolean {
    return this.#peer === 'plain'
  }

  /** Now or never. */
  sendNow(data: Sendable): boolean {
    return this.#connection.sendNow(data)
  }

  /** Connects anew, to another server or as another client; what waits for its answer goes there. */
  reload({ url = this.#url, id = this.#id }: { readonly url?: string; readonly id?: string }): void {
    if (this.state === 'closed') throw gone()
    const before = this.#connection
    this.#url = url
    this.#id = id
    this.#lost()
    this.#open()
    before.close()
    this.#options.listeners.tell('close', { code: 1000, reason: 'reload', retryIn: 0 })
  }

  close(code?: number, reason?: string): void {
    this.#connection.close(code, reason)
    this.#end()
  }

  #open(): void {
    const connection = this.#options.connect(this.#url)
    const { listeners } = this.#options
    this.#connection = connection
    const isOurs = () => connection === this.#connection
    connection.on('open', event => {
      if (isOurs()) this.#greet(event)
    })
    connection.on('message', data => {
      if (isOurs()) this.#receive(data)
    })
    connection.on('close', event => {
      if (!isOurs()) return
      this.#lost()
      if (event.retryIn === undefined) this.#end()
      listeners.tell('close', event)
    })
  }

  /** Says who it is, first of all, and goes on when the server knows. */
  #greet(event: MessagingEvents['open']): void {
    const ready = (peer: Peer) => {
      this.#peer = peer
      this.outbox.flush()
      this.#options.listeners.tell('open', event)
    }
    if (event.protocol !== FRAMES) {
      ready('plain')
      return
    }
    const kwargs = { id: this.#id, epoch: this.#epoch }
    this.sendNow(
      encode('request', {}, JSON.stringify({ requested_value: RESUME, request_id: RESUME, args: [], kwargs })),
    )
    // Who has taken the subprotocol is one of ours, however slow.
    this.#timer = setTimeout(() => ready(this.#url.startsWith('ws') ? 'ours' : 'original'), PATIENCE)
    this.#resumed = ({ value, header }) => {
      clearTimeout(this.#timer)
      const { window } = Object(value)
      if (Number.isSafeInteger(window) && window > 0) this.outbox.window = window
      const peer = Object(header.error).code === 'unknown' ? 'original' : 'ours'
      if (this.#peer === undefined) ready(peer)
      else this.#peer = peer
    }
  }
  #resumed = (_answer: Message) => {}

  #receive(data: string | ArrayBuffer): void {
    const { listeners, take } = this.#options
    let message: Message | undefined
    try {
      message = typeof data === 'string' || this.isPlain ? actionIn(data) : decode(data)
    } catch (error) {
      listeners.tell('unreadable', { reason: (error as Error).message, data })
      return
    }
    if (message === undefined) {
      if (typeof data === 'string' || this.isPlain) listeners.tell('message', data)
    } else if (message.type !== 'response') take(message)
    else if (message.name === RESUME) this.#resumed(message)
    else this.outbox.settle(message)
  }

  #send({ type, id, fields, content, plain, wasSent, reject }: Entry): boolean | 'done' {
    if (this.#peer === undefined) return false
    if (this.#peer === 'plain') {
      if (id === undefined) return this.sendNow(plain!)
      reject!(new MessagingError('none', 'the server has no filter messaging'))
      return true
    }
    // Bytes as they are would be taken for a frame.
    if (plain instanceof ArrayBuffer) return true
    const sent = this.sendNow(encode(type, { ...fields, resend: wasSent }, content))
    return sent && type === 'message' && this.#peer === 'original' ? 'done' : sent
  }

  #lost(): void {
    clearTimeout(this.#timer)
    this.#peer = undefined
    this.outbox.lose()
  }

  #end(): void {
    clearTimeout(this.#timer)
    this.outbox.end()
    this.#options.ended()
  }
}

/** Among plain texts, one in the form for browsers that is an action. */
function actionIn(data: string | ArrayBuffer): Message | undefined {
  if (typeof data !== 'string' || !/^\s*\{\s*"action"/.test(data)) return undefined
  try {
    const { id, ...fields } = readObject(data)
    return isObject(fields) ? messageOf('message', { ...fields, request_id: id }, fields) : undefined
  } catch {
    return undefined
  }
}
