import { delayBefore } from './backoff.ts'
import type { Sendable } from './queue.ts'

/** Milliseconds that a connection must have lasted for the next wait to be a short one again. */
const STABLE = 5000
/** Close codes after which coming back is of no use: the peer objects to what we do or who we are, or says that it is over. */
const FINAL: readonly number[] = [1000, 1002, 1003, 1007, 1008, 1009, 1010, 4403]
/** Nothing was said: the connection broke, or there was none. */
const LOST = 1006
/** `WebSocket.OPEN`. */
const OPEN = 1

type Awaitable<T> = T | PromiseLike<T>

// biome-ignore lint/suspicious/noExplicitAny: each implementation has event types of its own
type Listener = ((event: any) => void) | null

/** The part of the WebSocket interface (WHATWG) that is used; browsers, Node 22 and `ws` have it. */
export interface Socket {
  binaryType: string
  readonly readyState: number
  readonly bufferedAmount: number
  readonly protocol?: string
  send(data: Sendable): void
  close(code?: number, reason?: string): void
  onopen: Listener
  onmessage: Listener
  onclose: Listener
  onerror: Listener
}
export type SocketClass = new (url: string, protocols?: string[]) => Socket

export interface SocketOptions {
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
  /** Default: the one of the platform. */
  readonly WebSocket?: SocketClass | undefined
}

export interface SocketEvents {
  /** Connected; `attempt` counts those in a row, from 0. */
  open: { readonly attempt: number; readonly protocol: string }
  message: string | ArrayBuffer
  /** Not, or no longer, connected; `retryIn`: milliseconds until the next attempt, `undefined`: there is none. */
  close: { readonly code: number; readonly reason: string; readonly retryIn: number | undefined }
}

export type ConnectionState = 'connecting' | 'open' | 'waiting' | 'closed'

/** A WebSocket that is replaced when it breaks. */
export interface LastingSocket {
  readonly state: ConnectionState
  /** Bytes that it was given and has not sent. */
  readonly bufferedAmount: number
  /** Sends, or answers `false` where there is no connection. */
  send(data: Sendable): boolean
  /** For good. Throws what a WebSocket does for what cannot be said; then nothing has happened. */
  close(code?: number, reason?: string): void
}

/**
 * Connects, and again whenever there is no connection.
 *
 * @param tell - hears of everything, but not before this function has returned; it must not throw.
 */
export function lastingSocket(
  url: string,
  {
    protocols = [],
    token,
    signal,
    firstDelay = 500,
    maxDelay = 30_000,
    attempts = Infinity,
    timeout = 10_000,
    WebSocket = (globalThis as { WebSocket?: SocketClass }).WebSocket,
  }: SocketOptions,
  tell: <E extends keyof SocketEvents>(type: E, event: SocketEvents[E]) => void,
): LastingSocket {
  let state = 'connecting' as ConnectionState
  let socket: Socket | undefined
  /** Failed ones in a row. */
  let attempt = 0
  let openedAt = 0
  /** Of the attempt that is under way, by which that is known; or until the next one. */
  let timer: ReturnType<typeof setTimeout> | undefined

  async function connect(): Promise<void> {
    state = 'connecting'
    const mine = setTimeout(() => {
      if (socket) socket.close()
      else lost({ code: LOST, reason: 'no answer to what to offer' })
    }, timeout)
    timer = mine
    try {
      const offered = [...(typeof protocols === 'function' ? await protocols() : protocols)]
      if (token !== undefined) offered.push('bearer', typeof token === 'function' ? await token() : token)
      // Not before whoever asked for it holds it.
      await undefined
      if (timer !== mine) return
      if (!WebSocket) throw new Error('this platform has no WebSocket; give one as an option')
      listen(new WebSocket(url, offered))
    } catch (error) {
      if (timer === mine) lost({ code: LOST, reason: `${(error as Error)?.message ?? error}` })
    }
  }

  function listen(opening: Socket): void {
    socket = opening
    socket.binaryType = 'arraybuffer'
    socket.onopen = () => {
      clearTimeout(timer)
      state = 'open'
      openedAt = Date.now()
      tell('open', { attempt, protocol: opening.protocol ?? '' })
    }
    socket.onmessage = ({ data }: { data: string | ArrayBuffer }) => tell('message', data)
    // `close` follows, and says more.
    socket.onerror = () => {}
    socket.onclose = lost
  }

  function lost({ code, reason }: { readonly code: number; readonly reason: string }): void {
    clearTimeout(timer)
    socket = undefined
    if (state === 'open' && Date.now() - openedAt >= STABLE) attempt = 0
    let retryIn: number | undefined
    if (state === 'closed' || FINAL.includes(code) || attempt + 1 >= attempts) end()
    else {
      retryIn = delayBefore(attempt++, firstDelay, maxDelay)
      state = 'waiting'
      timer = setTimeout(connect, retryIn)
    }
    tell('close', { code, reason, retryIn })
  }

  function end(): void {
    state = 'closed'
    clearTimeout(timer)
    timer = undefined
    signal?.removeEventListener('abort', abort)
  }

  function close(code = 1000, reason = ''): void {
    if (state === 'closed') return
    socket?.close(code, reason)
    end()
    if (!socket) tell('close', { code, reason, retryIn: undefined })
  }

  const abort = () => close()
  if (signal?.aborted) state = 'closed'
  else {
    signal?.addEventListener('abort', abort)
    void connect()
  }
  return {
    get state() {
      return state
    },
    get bufferedAmount() {
      return socket?.bufferedAmount ?? 0
    },
    send(data) {
      // One that is closing takes what it is given, and sends none of it.
      if (socket?.readyState !== OPEN) return false
      socket.send(data)
      return true
    },
    close,
  }
}
