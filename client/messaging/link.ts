import type { Connection, ConnectionState } from '../connection.ts'
import type { Listeners } from '../listeners.ts'
import type { Sendable } from '../queue.ts'
import { MessagingError } from './error.ts'
import type { MessagingEvents } from './events.ts'
import { decode, encode, type Message, messageOf } from './frame.ts'
import { readJson } from './json.ts'
import { type Entry, gone, type Outbox, outboxOf } from './outbox.ts'

/** The subprotocol of those who speak frames. */
export const FRAMES = 'messaging-frames'
const RESUME = 'fws.resume'
/** Milliseconds for its answer: the original has none. */
const PATIENCE = 2000
/** Bytes that files have under way. */
const FILES = 1024 * 1024
/** Of all that waits. */
const MAX_BYTES = 16 * FILES

/** Whom one talks to: a server without the filter; one that answers nothing but requests, as the original; one of ours. */
type Peer = 'plain' | 'original' | 'ours'

export interface LinkOptions {
  readonly id: string | undefined
  readonly maxQueued: number | undefined
  readonly maxQueuedBytes: number | undefined
}

/** A connection in frames that is replaced when it breaks, on which nothing is lost that waits for its answer. */
export interface Link {
  readonly outbox: Outbox
  readonly id: string
  readonly state: ConnectionState
  /** Something more may be said that nobody answers. */
  readonly isFree: boolean
  /** Now or never: a frame, or bytes as they are to a server without the filter. */
  sendNow(data: Sendable, isRaw: boolean): boolean
  /** Connects anew, to another server or as another client; what waits for its answer goes there. */
  reload(settings?: { readonly url?: string; readonly id?: string }): void
  close(code?: number, reason?: string): void
}

/**
 * @param take - hears what the server wants.
 * @param ended - nothing will come any more.
 */
export function linkTo(
  url: string,
  { id: name, maxQueued = 1000, maxQueuedBytes = FILES }: LinkOptions,
  listeners: Listeners<MessagingEvents>,
  connect: (url: string) => Connection,
  take: (message: Message) => void,
  ended: () => void,
): Link {
  const epoch = `${Math.random()}`.slice(2)
  const outbox = outboxOf(maxQueued, Math.min(maxQueuedBytes, MAX_BYTES), epoch, send)
  let id = name ?? epoch
  let connection: Connection
  /** `undefined`: nobody yet. */
  let peer: Peer | undefined
  let timer: ReturnType<typeof setTimeout>
  let stops: readonly (() => void)[]
  /** Hears who the server is. */
  let greeted: (answer: Peer, window?: number) => void

  /** Says who it is, first of all, and goes on when the server knows. */
  function greet(event: MessagingEvents['open']): void {
    greeted = (answer, window) => {
      clearTimeout(timer)
      const isFirst = !peer
      peer = answer
      outbox.flush(window)
      if (isFirst) listeners.tell('open', event)
    }
    if (event.protocol !== FRAMES) greeted('plain')
    else {
      // Who has taken the subprotocol is one of ours, however slow.
      timer = setTimeout(() => greeted(url.startsWith('ws') ? 'ours' : 'original'), PATIENCE)
      const content = { requested_value: RESUME, request_id: RESUME, args: [], kwargs: { id, epoch } }
      connection.sendNow(encode('request', {}, JSON.stringify(content)))
    }
  }

  function send({ plain, isAction, frame, resolve, reject }: Entry): boolean {
    if (!peer) return false
    if (peer === 'plain') {
      reject?.(new MessagingError('none', 'the server has no filter messaging'))
      return !plain || connection.sendNow(plain)
    }
    const isSent = connection.sendNow(frame())
    if (isSent && isAction && peer === 'original') resolve?.({} as Message)
    return isSent
  }

  function receive(data: string | ArrayBuffer): void {
    const isPlain = peer === 'plain' || typeof data === 'string'
    try {
      const message = isPlain ? actionIn(data) : decode(data)
      if (!message) {
        if (isPlain) listeners.tell('message', data)
      } else if (message.type !== 'response') take(message)
      else if (message.name === RESUME) {
        const { window } = Object(message.value)
        const { code, message: why } = Object(message.header.error)
        if (code && !/^(off|unknown)$/.test(code))
          listeners.tell('failed', { name: RESUME, error: new MessagingError(code, why) })
        greeted(code === 'unknown' ? 'original' : 'ours', window > 0 ? window : undefined)
      } else outbox.settle(message)
    } catch (error) {
      listeners.tell('unreadable', { reason: (error as Error).message, data })
    }
  }

  function lost(): void {
    clearTimeout(timer)
    peer = undefined
    outbox.lose()
  }

  function end(): void {
    lost()
    outbox.end()
    ended()
  }

  function open(): void {
    connection = connect(url)
    stops = [
      connection.on('open', greet),
      connection.on('message', receive),
      connection.on('close', event => {
        if (event.retryIn === undefined) end()
        else lost()
        listeners.tell('close', event)
      }),
    ]
    // By a signal that was aborted before.
    if (connection.state === 'closed') end()
  }

  open()
  return {
    outbox,
    get id() {
      return id
    },
    get state() {
      return connection.state
    },
    get isFree() {
      return connection.bufferedAmount <= maxQueuedBytes + FILES
    },
    sendNow: (data, isRaw) => isRaw === (peer === 'plain') && connection.sendNow(data),
    reload(settings) {
      if (connection.state === 'closed') throw gone()
      const before = connection
      for (const stop of stops) stop()
      ;({ url = url, id = id } = settings ?? {})
      lost()
      open()
      before.close()
      listeners.tell('close', { code: 1000, reason: 'reload', retryIn: 0 })
    },
    close(code, reason) {
      connection.close(code, reason)
      end()
    },
  }
}

/** A plain text that is an action, in the form for browsers. */
function actionIn(data: string | ArrayBuffer): Message | undefined {
  try {
    const { id, ...fields } = readJson(data as string)
    return messageOf('message', { ...fields, request_id: id }, fields)
  } catch {
    return undefined
  }
}
