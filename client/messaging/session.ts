import { readFrame } from '../../protocols/clever-show/frame.ts'
import { readObject } from '../../protocols/clever-show/json.ts'
import { actionOf, type Kwargs, messageOf, type Request } from '../../protocols/clever-show/message.ts'
import { type Sendable, sizeOf } from '../queue.ts'
import {
  type ConnectionState,
  type ReconnectingSocket,
  reconnectingSocket,
  type SocketClass,
  type SocketOptions,
} from '../reconnecting-socket.ts'
import { errorIn, MessagingError } from './error.ts'
import type { MessagingEvents } from './events.ts'
import { type Action, encode, type Frame, LIMITS } from './format.ts'
import { contentOf, type Entry, goneError, outboxOf } from './outbox.ts'

/** Subprotocol for frames. */
export const FRAMES = 'messaging-frames'
/** Name and id of the request that registers a client. */
export const RESUME = 'fws.resume'
/** Id of the requests that check whether the server responds. */
export const PULSE = 'fws.pulse'
/** Milliseconds for the response to `fws.resume`, which another filter of the server may drop. */
const RESUME_TIMEOUT = 5000
/** Default of `heartbeat`, in milliseconds. */
const HEARTBEAT = 30_000
/** Assumed minimum bandwidth in bytes per millisecond: the response to much data may take so long. */
const MIN_BANDWIDTH = 5
const SILENT = { code: 1006, reason: 'the server does not respond' }
const MIB = 1024 * 1024
/** Upper bound of `maxQueuedBytes`. */
const MAX_QUEUED_BYTES = 16 * MIB

export interface SessionOptions extends Omit<SocketOptions, 'protocols'> {
  /** Id of this client, 1 to 128 characters; the server stores missed messages under it. Default: random. */
  readonly id?: string
  /** Messages that may be unsent or unanswered; further calls reject with `full`. Default: 1,000. */
  readonly maxQueued?: number
  /** Bytes of these messages, at most 16 MiB. Default: 1 MiB. */
  readonly maxQueuedBytes?: number
  /**
   * Milliseconds without a message of the server until a request checks the connection. After as many more without a
   * response the client reconnects; unsent data extends this time, at 5 kB per second. Default: 30,000.
   */
  readonly heartbeat?: number
}

/**
 * A registration at the server that survives reconnects. Messages that need a response are not lost.
 *
 * @param classFor - socket class for a URL.
 * @param accept - called with actions and requests of the server.
 * @param onClose - called once, when the session is closed.
 */
export function openSession(
  url: string,
  options: SessionOptions,
  classFor: (url: string) => SocketClass | undefined,
  emit: <E extends keyof MessagingEvents>(type: E, event: MessagingEvents[E]) => void,
  accept: (message: Action | Request, size: number) => void,
  onClose: () => void,
) {
  const epoch = randomId()
  const { maxQueued = 1000, maxQueuedBytes = MIB, heartbeat = HEARTBEAT } = options
  const outbox = outboxOf(maxQueued, Math.min(maxQueuedBytes, MAX_QUEUED_BYTES), epoch, send)
  // Not the epoch: other peers see the id, and with both they could get stored responses.
  let { id = randomId() } = options
  let socket: ReconnectingSocket
  /** `undefined`: not connected or not registered. */
  let server: 'plain' | 'messaging' | undefined
  /** The server responded to `fws.resume` before, so it will again. */
  let isKnown = false
  let timer: ReturnType<typeof setTimeout>
  let pulse: ReturnType<typeof setInterval>
  /** Heartbeats, and bytes sent, since the last message of the server. */
  let beats = 0
  let sentBytes = 0
  /** The `open` event, until the client is registered. */
  let opened: MessagingEvents['open'] | undefined

  /** Registers the client before anything else is sent. */
  function register(event: MessagingEvents['open']): void {
    opened = event
    if (event.protocol !== FRAMES) begin('plain')
    else {
      timer = isKnown ? setTimeout(reconnect, 2 * heartbeat, SILENT) : setTimeout(begin, RESUME_TIMEOUT, 'messaging')
      request(RESUME, RESUME, { id, epoch })
    }
  }

  /** Bypasses the outbox. */
  function request(name: string, id: string, kwargs?: Kwargs): void {
    socket.send(encode('request', name, id, {}, contentOf([], kwargs)))
  }

  function begin(kind: 'plain' | 'messaging', window?: number): void {
    clearTimeout(timer)
    server = kind
    outbox.flush(window)
    if (!opened) return
    if (kind === 'messaging') watch()
    emit('open', opened)
    opened = undefined
  }

  function send({ plain, frame, end }: Entry): boolean {
    if (server !== 'plain') return !!server && sendNow(frame())
    end?.(new MessagingError('none', 'the server has no filter messaging'))
    return !plain || socket.send(plain)
  }

  function sendNow(data: Sendable): boolean {
    sentBytes += sizeOf(data)
    return socket.send(data)
  }

  function watch(): void {
    beats = sentBytes = 0
    pulse = setInterval(() => {
      if (beats >= 2 + sentBytes / (heartbeat * MIN_BANDWIDTH)) reconnect(SILENT)
      else if (beats++) request('fws.clock', PULSE)
    }, heartbeat)
  }

  /** Replaces the socket, whatever its state. */
  function reconnect(reason: { readonly code: number; readonly reason: string }): void {
    const previous = socket
    disconnected()
    open()
    previous.close()
    emit('close', { ...reason, retryIn: 0 })
  }

  function receive(data: string | ArrayBuffer | Frame): void {
    const isPlain = server === 'plain' || typeof data === 'string'
    beats = sentBytes = 0
    try {
      const message = isPlain ? actionIn(data as string) : messageOf(frameIn(data), LIMITS)
      if (!message) {
        if (isPlain) emit('message', data as string)
      } else if (message.type !== 'response') accept(message, sizeOf((data as Frame).content ?? data))
      else if (message.name === RESUME) {
        const { window } = Object(message.value)
        const error = errorIn(message)
        if (error && error.code !== 'off') emit('failed', { name: RESUME, error })
        isKnown = true
        begin('messaging', window > 0 ? window : undefined)
      } else outbox.settle(message)
    } catch (error) {
      const bytes = (data as Frame).content?.slice().buffer
      emit('unreadable', { reason: (error as Error).message, data: bytes ?? (data as string | ArrayBuffer) })
    }
  }

  function disconnected(): void {
    clearTimeout(timer)
    clearInterval(pulse)
    server = undefined
    outbox.disconnected()
  }

  function end(): void {
    disconnected()
    outbox.close()
    onClose()
  }

  function open(): void {
    // A server without the filter accepts the first subprotocol.
    const settings = { ...options, protocols: ['messaging', FRAMES], WebSocket: classFor(url) }
    const own = reconnectingSocket(url, settings, (type, event) => {
      if (own !== socket) return
      if (type === 'open') return register(event as MessagingEvents['open'])
      if (type === 'message') return receive(event as string)
      if (own.state === 'closed') end()
      else disconnected()
      emit('close', event as MessagingEvents['close'])
    })
    socket = own
    // The signal was aborted before.
    if (own.state === 'closed') end()
  }

  open()
  return {
    outbox,
    get id(): string {
      return id
    },
    get state(): ConnectionState {
      return socket.state
    },
    get queued(): number {
      return outbox.unsent()
    },
    /** Whether the platform's buffer has room for messages without a response. */
    hasRoom: () => socket.bufferedAmount <= maxQueuedBytes + MIB,
    /** Sends now: a frame, or plain bytes to a server without the filter. @returns `false`: it cannot be sent. */
    sendNow: (data: Sendable, isPlain: boolean) => isPlain === (server === 'plain') && sendNow(data),
    reload(settings?: { readonly url?: string; readonly id?: string }): void {
      if (socket.state === 'closed') throw goneError()
      ;({ url = url, id = id } = settings ?? {})
      isKnown &&= !settings?.url
      reconnect({ code: 1000, reason: 'reload' })
    },
    close(code?: number, reason?: string): void {
      socket.close(code, reason)
      end()
    },
  }
}

function frameIn(data: ArrayBuffer | Frame): Frame {
  return data instanceof ArrayBuffer ? readFrame(new Uint8Array(data), LIMITS) : data
}

/** Cannot be guessed. */
function randomId(): string {
  return crypto.getRandomValues(new Uint32Array(3)).join('')
}

/** A string that is an action in the form for browsers, without an id as it cannot be answered. */
function actionIn(data: string): Action | undefined {
  try {
    const json = readObject(data, LIMITS.parse, '')
    return actionOf(json, 'action', json, undefined)
  } catch {
    return undefined
  }
}
