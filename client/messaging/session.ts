import type { Kwargs } from '../../protocols/clever-show/message.ts'
import { textOf, type Written } from '../../protocols/clever-show/text.ts'
import { type Sendable, sizeOf } from '../queue.ts'
import {
  type ConnectionState,
  type ReconnectingSocket,
  reconnectingSocket,
  type SocketClass,
  type SocketOptions,
} from '../reconnecting-socket.ts'
import { errorIn, goneError, MessagingError } from './error.ts'
import type { MessagingEvents } from './events.ts'
import { contentOf, type Outgoing, PLAIN, type Response, type Unread } from './format.ts'
import { type Entry, outboxOf } from './outbox.ts'
import type { Accept } from './task-queue.ts'

/** Subprotocols: the second one is for JSON strings, and frames for files. */
const OFFERED = [PLAIN, 'messaging-json']
/** Of sockets that write and read messages themselves, as TCP. */
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
const MIN_BANDWIDTH = 16
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
   * response the client reconnects; unsent data extends this time, at 16 kB per second. Default: 30,000.
   */
  readonly heartbeat?: number
}

/** File transfers, which browsers load on demand. Rejects with the error of the platform. */
export const loadFiles = () => import('./files.ts')

/**
 * A registration at the server that survives reconnects. Messages that need a response are not lost.
 *
 * @param classFor - socket class for a URL.
 * @param onClose - called once, when the session is closed.
 */
export function openSession(
  url: string,
  options: SessionOptions,
  classFor: (url: string) => SocketClass | undefined,
  emit: <E extends keyof MessagingEvents>(type: E, event: MessagingEvents[E]) => void,
  accept: Accept,
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
  /** Of the connection. */
  let protocol: string
  let files: Awaited<ReturnType<typeof loadFiles>> | undefined

  const load = async () => (files = await loadFiles())

  /** Registers the client before anything else is sent. */
  function register(event: MessagingEvents['open']): void {
    opened = event
    protocol = event.protocol
    if (!protocol || protocol === PLAIN) begin('plain')
    else {
      timer = isKnown ? setTimeout(reconnect, 2 * heartbeat, SILENT) : setTimeout(begin, RESUME_TIMEOUT, 'messaging')
      request(RESUME, RESUME, { id, epoch })
    }
  }

  /** Bypasses the outbox. */
  function request(name: string, id: string, kwargs?: Kwargs): void {
    write({ type: 'request', name, id, content: contentOf([], kwargs) })
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

  function send(entry: Entry): boolean {
    if (!server) return false
    const { plain, isSent, fields, id } = entry
    if (server === 'messaging') return write(isSent ? { ...entry, fields: { ...fields, resend: true } } : entry)
    if (id !== undefined) throw new MessagingError('none', 'the server has no filter messaging')
    return socket.send(plain ?? textOf(entry as Written))
  }

  function write(message: Outgoing): boolean {
    const { content } = message
    sentBytes += sizeOf(content)
    if (protocol === FRAMES) return socket.send(message as never)
    // Only the module of files makes bytes.
    return socket.send(typeof content === 'string' ? textOf(message as Written) : files!.fileFrame(message))
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

  function receive(data: string | ArrayBuffer | Unread): void {
    const size = sizeOf((data as Unread).content ?? data)
    const onUnreadable = (error: unknown) => {
      const received = (data as Unread).content?.slice().buffer ?? (data as string | ArrayBuffer)
      emit('unreadable', { reason: (error as Error).message, data: received })
    }
    beats = sentBytes = 0
    try {
      if (server === 'plain') {
        const plain = data as string | ArrayBuffer
        accept(({ actionIn }) => actionIn(plain) ?? void emit('message', plain), size, onUnreadable)
      } else if (typeof data === 'string') {
        const json = JSON.parse(data)
        if (json.response) settle(json.response, json)
        else accept(({ messageOf }) => messageOf(json), size, onUnreadable)
      } else if (data instanceof ArrayBuffer && !files) load().then(() => receive(data), onUnreadable)
      else {
        const message = data instanceof ArrayBuffer ? files!.readFileFrame(data) : data.read()
        if (message?.type === 'response') settle(message.name, message)
        else if (message) accept(() => message, size, onUnreadable)
      }
    } catch (error) {
      onUnreadable(error)
    }
  }

  function settle(name: string, response: Response): void {
    if (name === RESUME) {
      const error = errorIn(response)
      if (error && error.code !== 'off') emit('failed', { name, error })
      isKnown = true
      begin('messaging', (response.value as { window?: number } | null)?.window)
    } else outbox.settle(name, response)
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
    const settings = { ...options, protocols: OFFERED, WebSocket: classFor(url) }
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
    loadFiles: load,
    /** Sends a response; the server may ask before it has answered the registration. */
    respond: (response: Outgoing) => server !== 'plain' && write(response),
    /** Sends bytes to a server without the filter. @returns `false`: it cannot be sent. */
    sendPlain: (data: Sendable) => server === 'plain' && socket.send(data),
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

/** Cannot be guessed. */
function randomId(): string {
  return crypto.getRandomValues(new Uint32Array(3)).join('')
}
