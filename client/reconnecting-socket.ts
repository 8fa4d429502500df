import { delayBefore } from './backoff.ts'
import type { Sendable } from './queue.ts'

/** Milliseconds after which an open connection counts as stable: the next delay is short again. */
const STABLE = 5000
/** Close codes after which a reconnect is useless: a normal end, errors of this client, and refusals. */
const FINAL: readonly number[] = [1000, 1002, 1003, 1007, 1008, 1009, 1010, 4403]
/** Close code of a refused or expired token: only a new one helps. */
export const UNAUTHENTICATED = 4401
/** Subprotocols of this client, and of connections that are refused by a close code: browsers hide the status of a handshake. */
const OWN = 'fws'
const REFUSED = 'fws.refused'
/** Close code without a Close frame: the connection broke, or was not made. */
export const LOST = 1006
/** `WebSocket.OPEN`. */
const OPEN = 1

type Awaitable<T> = T | PromiseLike<T>

// biome-ignore lint/suspicious/noExplicitAny: the event types differ between implementations
type Listener = ((event: any) => void) | null

/** The used part of the WebSocket interface (WHATWG), as in browsers, Node 22 and `ws`. */
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
  /** Subprotocols to offer, or a function that is called before each attempt. */
  readonly protocols?: readonly string[] | (() => Awaitable<readonly string[]>)
  /** Token for the filter `jwt`, sent as a subprotocol after `bearer`, or a function that is called before each attempt. */
  readonly token?: string | (() => Awaitable<string>)
  /**
   * Whether to offer the subprotocols `fws` and `fws.refused`, with which the server closes a refused client with 4401 or 4403.
   * Other servers may select no subprotocol, which fails the handshake: the attempt after a failed one does not offer them.
   * `false` for such servers saves that attempt. Default: true.
   */
  readonly refusals?: boolean
  /** Closes the connection when it is aborted. */
  readonly signal?: AbortSignal
  /** Upper bound of the first delay before a reconnect, in milliseconds; doubled with each attempt. Default: 500. */
  readonly firstDelay?: number
  /** Upper bound of all delays, in milliseconds. Default: 30,000. */
  readonly maxDelay?: number
  /** Attempts in a row that may fail before the connection is closed. Default: no limit. */
  readonly attempts?: number
  /** Milliseconds for an attempt. Default: 10,000. */
  readonly timeout?: number
  /** Default: the WebSocket of the platform. */
  readonly WebSocket?: SocketClass | undefined
}

export interface SocketEvents {
  /** Connected. `attempt` counts failed attempts in a row, from 0; `protocol` is the accepted subprotocol. */
  open: { readonly attempt: number; readonly protocol: string }
  message: string | ArrayBuffer
  /** Disconnected, or an attempt failed. `retryIn`: milliseconds until the next attempt; `undefined`: closed. */
  close: { readonly code: number; readonly reason: string; readonly retryIn: number | undefined }
}

export type ConnectionState = 'connecting' | 'open' | 'waiting' | 'closed'

export type ReconnectingSocket = ReturnType<typeof reconnectingSocket>

/**
 * A WebSocket that is replaced when it breaks.
 *
 * @param notify - called for each event, not before this function has returned; MUST NOT throw.
 * @param codeOf - converts a close code of another protocol to the one of `fws-server` with the same meaning.
 */
export function reconnectingSocket(
  url: string,
  {
    protocols = [],
    token,
    refusals = true,
    signal,
    firstDelay = 500,
    maxDelay = 30_000,
    attempts = Infinity,
    timeout = 10_000,
    WebSocket = (globalThis as { WebSocket?: SocketClass }).WebSocket,
  }: SocketOptions,
  notify: <E extends keyof SocketEvents>(type: E, event: SocketEvents[E]) => void,
  codeOf = (code: number) => code,
) {
  let state = 'connecting' as ConnectionState
  let socket: Socket | undefined
  /** Failed attempts in a row. */
  let attempt = 0
  let openedAt = 0
  /** Whether the next attempt offers the own subprotocols. */
  let offers = refusals
  /** Whether the connection before was closed because of its token. */
  let wasRefused = false
  /** Timeout of the current attempt, which it identifies, or delay until the next one. */
  let timer: ReturnType<typeof setTimeout> | undefined

  async function connect(): Promise<void> {
    state = 'connecting'
    const deadline = setTimeout(() => {
      if (socket) socket.close()
      else lost(LOST, 'protocols or token too late')
    }, timeout)
    timer = deadline
    try {
      const offered = [...(typeof protocols === 'function' ? await protocols() : protocols)]
      if (token !== undefined) offered.push('bearer', typeof token === 'function' ? await token() : token)
      if (offers) offered.push(OWN, REFUSED)
      // The caller does not have the connection yet.
      await undefined
      if (timer !== deadline) return
      if (!WebSocket) throw Error('pass a WebSocket as an option')
      listen(new WebSocket(url, offered))
    } catch (error) {
      if (timer === deadline) lost(LOST, `${(error as Error)?.message ?? error}`)
    }
  }

  function listen(opening: Socket): void {
    socket = opening
    socket.binaryType = 'arraybuffer'
    let wasOpen = false
    socket.onopen = () => {
      wasOpen = true
      const { protocol = '' } = opening
      // A close with the reason follows.
      if (protocol === REFUSED) return
      clearTimeout(timer)
      state = 'open'
      openedAt = Date.now()
      notify('open', { attempt, protocol: protocol === OWN ? '' : protocol })
    }
    socket.onmessage = ({ data }: { data: string | ArrayBuffer }) => notify('message', data)
    const handleEnd = (event: { readonly code: number; readonly reason: string }) => {
      if (socket !== opening) return
      // The server may be down, or select no subprotocol: the next attempt tries the other offer.
      if (state === 'connecting' && event.code !== UNAUTHENTICATED) offers = refusals && !offers
      lost(event.code, event.reason)
    }
    // A `close` event follows, with the code and the reason; in Node 22 not after a failed handshake.
    socket.onerror = () => {
      if (!wasOpen) handleEnd({ code: LOST, reason: '' })
    }
    socket.onclose = handleEnd
  }

  function lost(code: number, reason: string): void {
    clearTimeout(timer)
    socket = undefined
    if (state === 'open' && Date.now() - openedAt >= STABLE) {
      attempt = 0
      wasRefused = false
    }
    let retryIn: number | undefined
    const meaning = codeOf(code)
    const isRefused = meaning === UNAUTHENTICATED
    // A function may give a better token, once.
    const isFinal = isRefused && (wasRefused || ![token, protocols].some(given => typeof given === 'function'))
    wasRefused = isRefused
    if (state === 'closed' || isFinal || FINAL.includes(meaning) || attempt + 1 >= attempts) end()
    else {
      retryIn = delayBefore(attempt++, firstDelay, maxDelay)
      state = 'waiting'
      timer = setTimeout(connect, retryIn)
    }
    notify('close', { code, reason, retryIn })
  }

  function end(): void {
    state = 'closed'
    clearTimeout(timer)
    timer = undefined
    signal?.removeEventListener('abort', abort)
  }

  /** Does not reconnect. @throws as `WebSocket.close` for an invalid code or reason; the connection then stays open. */
  function close(code = 1000, reason = ''): void {
    if (state === 'closed') return
    socket?.close(code, reason)
    end()
    if (!socket) notify('close', { code, reason, retryIn: undefined })
  }

  /** Replaces the open socket, as if the server had closed it. */
  function drop(code: number, reason: string): void {
    if (!socket) return
    // A dead server does not answer the Close frame.
    socket.onmessage = null
    socket.close()
    lost(code, reason)
  }

  const abort = () => close()
  if (signal?.aborted) state = 'closed'
  else {
    signal?.addEventListener('abort', abort)
    void connect()
  }
  return {
    get state(): ConnectionState {
      return state
    },
    /** Bytes that the platform has not sent yet. */
    get bufferedAmount(): number {
      return socket?.bufferedAmount ?? 0
    },
    /** @returns `false`: there is no open connection. */
    send(data: Sendable): boolean {
      // A closing WebSocket discards messages without an error.
      if (socket?.readyState !== OPEN) return false
      socket.send(data)
      return true
    },
    close,
    drop,
  }
}
