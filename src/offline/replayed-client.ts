import { validateHeaderValue } from 'node:http'
import { WebSocket } from 'ws'
import { cutReason, isCloseCode } from '../contract/close.ts'
import type { Payload } from '../contract/payload.ts'
import { payloadField } from '../kit/json-payload.ts'
import type { RecordedEvent } from '../kit/recorded-event.ts'

/** Milliseconds for the handshake. */
const HANDSHAKE_TIMEOUT = 10_000
/** Bytes of a message of the server. */
const MAX_PAYLOAD = 268_435_456
/** Bytes that a message that waits takes in addition to its own. */
const OVERHEAD = 256
/** A token that filter `record` has replaced, in JSON and in a query. */
const IN_JSON = /("(?:[\w-]*token|auth)"\s*:\s*")\[redacted\]"/gi
const IN_QUERY = /([?&](?:[\w-]*token|auth)=)\[redacted\]/gi
const REDACTED = '[redacted]'

export interface ReplayedClientHost {
  /** The server; the path is that of the recording, if it has one. */
  readonly to: URL
  readonly token: string | undefined
  emit(line: string): void
  /** Bytes of a payload have left, or are lost. */
  onSent(bytes: number): void
  /** It is open, and the recording has not closed it. */
  onOpen(): void
  onFail(problem: string): void
  onEnd(): void
}

/** A client of a recording, with its connection. */
export class ReplayedClient {
  /** Settles when the connection has ended, or has failed. */
  readonly ended: Promise<void>
  readonly #name: string
  readonly #host: ReplayedClientHost
  readonly #socket: WebSocket
  /** Actions for the open connection. */
  #queue: (() => void)[] = []
  #isOpen = false
  #isPaused = false
  /** How this side has ended it; the server answers with the same code. */
  #closing: number | undefined
  #refused: number | undefined
  #expectsOpen = false

  /** @throws SyntaxError: a value that a handshake cannot have. */
  constructor(name: string, { url, protocols = [], headers }: RecordedEvent, host: ReplayedClientHost) {
    this.#name = name
    this.#host = host
    const { token } = host
    const userAgent = headers?.['user-agent']
    if (userAgent !== undefined) checkUserAgent(userAgent)
    const path = url === undefined ? undefined : this.#withToken(url, IN_QUERY, encodeURIComponent)
    this.#socket = new WebSocket(targetOf(host.to, path), offered(protocols, token), {
      headers: {
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
        ...(userAgent !== undefined && { 'user-agent': userAgent }),
      },
      perMessageDeflate: false,
      handshakeTimeout: HANDSHAKE_TIMEOUT,
      maxPayload: MAX_PAYLOAD,
    })
    this.ended = new Promise(resolve => this.#watch(resolve))
  }

  /** In the recording it was open: a refusal is a failure. */
  expectOpen(): void {
    if (this.#expectsOpen) return
    this.#expectsOpen = true
    if (this.#refused !== undefined) this.#host.onFail(`refused with ${this.#refused}`)
  }

  /** Returns the bytes that wait, for `onSent`. */
  send(payload: Payload): number {
    const sent = typeof payload === 'string' ? this.#withToken(payload, IN_JSON, inJson) : payload
    const bytes = OVERHEAD + Buffer.byteLength(sent)
    this.#do(() => this.#socket.send(sent, () => this.#host.onSent(bytes)))
    return bytes
  }

  close(code: number, reason: string): void {
    this.#do(() => {
      this.#closing = isCloseCode(code) || code === 1005 ? code : 1006
      if (code === 1005) this.#socket.close()
      else if (isCloseCode(code)) this.#socket.close(code, cutReason(reason))
      else this.#socket.terminate()
    })
  }

  /** Stops reading until `resume`. */
  pause(): void {
    this.#isPaused = true
    this.#socket.pause()
  }

  resume(): void {
    this.#isPaused = false
    this.#socket.resume()
  }

  terminate(): void {
    this.#closing = 1006
    this.#socket.terminate()
  }

  #do(action: () => void): void {
    if (this.#socket.readyState === WebSocket.CONNECTING) this.#queue.push(action)
    else action()
  }

  #watch(resolve: () => void): void {
    const { emit, onOpen, onFail, onEnd } = this.#host
    const client = this.#name
    const run = () => {
      for (const action of this.#queue.splice(0)) action()
    }
    this.#socket
      .on('open', () => {
        this.#isOpen = true
        if (this.#isPaused) this.#socket.pause()
        run()
        if (this.#closing === undefined) onOpen()
      })
      .on('message', (data: Buffer, isBinary) =>
        emit(`${JSON.stringify({ client, ...payloadField(isBinary ? data : data.toString()) })}\n`),
      )
      .on('unexpected-response', (request, { statusCode = 0 }) => {
        this.#refused = statusCode
        emit(`${JSON.stringify({ client, refused: statusCode })}\n`)
        if (this.#expectsOpen) onFail(`refused with ${statusCode}`)
        // `ws` leaves the end of the connection to this listener.
        request.destroy()
        this.#socket.terminate()
      })
      .on('error', error => {
        if (this.#refused === undefined && this.#closing === undefined) onFail(error.message)
      })
      .on('close', (code, reason) => {
        if (this.#isOpen && code !== this.#closing)
          emit(`${JSON.stringify({ client, closed: code, ...(reason.length > 0 && { reason: reason.toString() }) })}\n`)
        run()
        onEnd()
        resolve()
      })
  }

  #withToken(text: string, place: RegExp, encode: (token: string) => string): string {
    const { token } = this.#host
    return token === undefined ? text : text.replace(place, (_, start: string) => start + encode(token))
  }
}

/** The server with a path of the recording, which cannot name another host. */
function targetOf(to: URL, path: string | undefined): URL {
  const { protocol, host, username, password } = to
  const target = path === undefined ? new URL(to) : new URL(`${protocol}//${host}${path}`)
  // `ws` refuses a fragment.
  return Object.assign(target, { username, password, hash: '' })
}

function checkUserAgent(value: string): void {
  try {
    validateHeaderValue('user-agent', value)
  } catch {
    throw new SyntaxError('"user-agent" has characters that a header cannot have')
  }
}

/** The end of a JSON string. */
function inJson(token: string): string {
  return JSON.stringify(token).slice(1)
}

/** The subprotocols; a token that was redacted is replaced, or left out with the `bearer` before it. */
function offered(protocols: readonly string[], token: string | undefined): string[] {
  const isToken = (i: number) => protocols[i]?.includes(REDACTED) === true
  return protocols.flatMap((name, i) => {
    if (isToken(i)) return token === undefined ? [] : [token]
    return isToken(i + 1) && token === undefined ? [] : [name]
  })
}
