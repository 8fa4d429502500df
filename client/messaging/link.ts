import { readFrame } from '../../protocols/clever-show/frame.ts'
import { readObject } from '../../protocols/clever-show/json.ts'
import { actionOf, type Kwargs, messageOf, type Request } from '../../protocols/clever-show/message.ts'
import {
  type ConnectionState,
  type LastingSocket,
  lastingSocket,
  type SocketClass,
  type SocketOptions,
} from '../lasting-socket.ts'
import { type Sendable, sizeOf } from '../queue.ts'
import { errorIn, MessagingError } from './error.ts'
import type { MessagingEvents } from './events.ts'
import { type Action, encode, type Frame, LIMITS } from './format.ts'
import { contentOf, type Entry, gone, type Outbox, outboxOf } from './outbox.ts'

/** The subprotocol of those who speak frames. */
export const FRAMES = 'messaging-frames'
/** By which a client says who it is. */
export const RESUME = 'fws.resume'
/** Milliseconds for its answer: a filter may keep it from the server. */
const PATIENCE = 5000
/** The id of the question whether the server is there. */
export const PULSE = 'fws.pulse'
/** Milliseconds of silence. */
const HEARTBEAT = 30_000
/** Bytes a millisecond that a line has at least: so long an answer to what was sent may take. */
const SLOWEST = 5
const SILENT = { code: 1006, reason: 'the server is silent' }
/** Bytes that files have under way. */
const FILES = 1024 * 1024
/** Of all that waits. */
const MAX_BYTES = 16 * FILES

export interface LinkOptions extends Omit<SocketOptions, 'protocols'> {
  /** Who it is, 1 to 128 characters: under it the server keeps what it missed. Default: a random one. */
  readonly id?: string
  /**
   * What may wait for the server or for its answer; default 1,000 messages and 1 MiB, at most 16 MiB. A call beyond that
   * rejects with `full`.
   */
  readonly maxQueued?: number
  readonly maxQueuedBytes?: number
  /**
   * Milliseconds of silence after which the server is asked whether it is there, on a connection that may be dead without
   * a word; after as many more it connects anew, or later by as long as a line of 5 kB a second takes for what was sent.
   * Default 30,000.
   */
  readonly heartbeat?: number
}

/** A connection in frames that is replaced when it breaks, on which nothing is lost that waits for its answer. */
export interface Link {
  readonly outbox: Outbox
  readonly id: string
  readonly state: ConnectionState
  /** Messages that wait for a connection. */
  readonly queued: number
  /** Something more may be said that nobody answers. */
  isFree(): boolean
  /** Now or never: a frame, or bytes as they are to a server without the filter. */
  sendNow(data: Sendable, isRaw: boolean): boolean
  /** Closes, and connects anew with other settings; handlers stay, and what waits goes there. */
  reload(settings?: { readonly url?: string; readonly id?: string }): void
  /** For good; what waits is given up. */
  close(code?: number, reason?: string): void
}

/**
 * @param classFor - what to connect with.
 * @param take - hears what the server wants.
 * @param ended - nothing will come any more.
 */
export function linkTo(
  url: string,
  options: LinkOptions,
  classFor: (url: string) => SocketClass | undefined,
  tell: <E extends keyof MessagingEvents>(type: E, event: MessagingEvents[E]) => void,
  take: (message: Action | Request, size: number) => void,
  ended: () => void,
): Link {
  const epoch = random()
  const { maxQueued = 1000, maxQueuedBytes = FILES, heartbeat = HEARTBEAT } = options
  const outbox = outboxOf(maxQueued, Math.min(maxQueuedBytes, MAX_BYTES), epoch, send)
  // Not the epoch: ids are known to others, and who knows both may have what was answered.
  let { id = random() } = options
  let socket: LastingSocket
  /** Whom one talks to: a server without the filter, or one of ours; `undefined`: nobody yet. */
  let peer: 'plain' | 'ours' | undefined
  /** It has said before that it is one of ours: it does, sooner or later. */
  let isKnown = false
  let timer: ReturnType<typeof setTimeout>
  let pulse: ReturnType<typeof setInterval>
  /** Beats, and bytes sent, since something came. */
  let beats = 0
  let sent = 0
  /** The connection of which nobody has been told. */
  let opened: MessagingEvents['open'] | undefined

  /** Says who it is, first of all, and goes on when the server knows. */
  function greet(event: MessagingEvents['open']): void {
    opened = event
    if (event.protocol !== FRAMES) meet('plain')
    else {
      timer = isKnown ? setTimeout(replace, 2 * heartbeat, SILENT) : setTimeout(meet, PATIENCE, 'ours')
      ask(RESUME, RESUME, { id, epoch })
    }
  }

  /** Of its own accord, at once. */
  function ask(name: string, id: string, kwargs?: Kwargs): void {
    socket.send(encode('request', name, id, {}, contentOf([], kwargs)))
  }

  function meet(whom: 'plain' | 'ours', window?: number): void {
    clearTimeout(timer)
    peer = whom
    outbox.flush(window)
    if (opened && whom === 'ours') watch()
    if (opened) tell('open', opened)
    opened = undefined
  }

  function send({ plain, frame, end }: Entry): boolean {
    if (peer !== 'plain') return !!peer && sendNow(frame())
    end?.(new MessagingError('none', 'the server has no filter messaging'))
    return !plain || socket.send(plain)
  }

  function sendNow(data: Sendable): boolean {
    sent += sizeOf(data)
    return socket.send(data)
  }

  function watch(): void {
    beats = sent = 0
    pulse = setInterval(() => {
      if (beats >= 2 + sent / (heartbeat * SLOWEST)) replace(SILENT)
      else if (beats++) ask('fws.clock', PULSE)
    }, heartbeat)
  }

  /** Connects anew, whatever becomes of the connection. */
  function replace(reason: { readonly code: number; readonly reason: string }): void {
    const before = socket
    lost()
    open()
    before.close()
    tell('close', { ...reason, retryIn: 0 })
  }

  function receive(data: string | ArrayBuffer | Frame): void {
    const isPlain = peer === 'plain' || typeof data === 'string'
    beats = sent = 0
    try {
      const message = isPlain ? actionIn(data as string) : messageOf(frameIn(data), LIMITS)
      if (!message) {
        if (isPlain) tell('message', data as string)
      } else if (message.type !== 'response') take(message, sizeOf((data as Frame).content ?? data))
      else if (message.name === RESUME) {
        const { window } = Object(message.value)
        const error = errorIn(message)
        if (error && error.code !== 'off') tell('failed', { name: RESUME, error })
        isKnown = true
        meet('ours', window > 0 ? window : undefined)
      } else outbox.settle(message)
    } catch (error) {
      tell('unreadable', { reason: (error as Error).message, data: bytesOf(data) })
    }
  }

  function lost(): void {
    clearTimeout(timer)
    clearInterval(pulse)
    peer = undefined
    outbox.lose()
  }

  function end(): void {
    lost()
    outbox.end()
    ended()
  }

  function open(): void {
    // A server without the filter takes the first subprotocol.
    const settings = { ...options, protocols: ['messaging', FRAMES], WebSocket: classFor(url) }
    const mine = lastingSocket(url, settings, (type, event) => {
      if (mine !== socket) return
      if (type === 'open') return greet(event as MessagingEvents['open'])
      if (type === 'message') return receive(event as string)
      if (mine.state === 'closed') end()
      else lost()
      tell('close', event as MessagingEvents['close'])
    })
    socket = mine
    // By a signal that was aborted before.
    if (mine.state === 'closed') end()
  }

  open()
  return {
    outbox,
    get id() {
      return id
    },
    get state() {
      return socket.state
    },
    get queued() {
      return outbox.waiting()
    },
    isFree: () => socket.bufferedAmount <= maxQueuedBytes + FILES,
    sendNow: (data, isRaw) => isRaw === (peer === 'plain') && sendNow(data),
    reload(settings) {
      if (socket.state === 'closed') throw gone()
      ;({ url = url, id = id } = settings ?? {})
      isKnown &&= !settings?.url
      replace({ code: 1000, reason: 'reload' })
    },
    close(code, reason) {
      socket.close(code, reason)
      end()
    },
  }
}

function frameIn(data: ArrayBuffer | Frame): Frame {
  return data instanceof ArrayBuffer ? readFrame(new Uint8Array(data), LIMITS) : data
}

function bytesOf(data: string | ArrayBuffer | Frame): string | ArrayBuffer {
  return (data as Frame).content?.slice().buffer ?? data
}

/** Nobody can guess it. */
function random(): string {
  return crypto.getRandomValues(new Uint32Array(3)).join('')
}

/** A plain text that is an action, in the form for browsers. Nobody waits for its answer. */
function actionIn(data: string): Action | undefined {
  try {
    const json = readObject(data, LIMITS.parse, '')
    return actionOf(json, 'action', json, undefined)
  } catch {
    return undefined
  }
}
