import { WebSocket } from 'ws'
import { isCloseCode } from '../contract/close.ts'
import type { Payload } from '../contract/payload.ts'
import { payloadField } from '../kit/json-payload.ts'
import type { RecordedEvent } from '../kit/recorded-event.ts'

/** Milliseconds for the handshake. */
const HANDSHAKE_TIMEOUT = 10_000
/** Bytes of a message of the server. */
const MAX_PAYLOAD = 268_435_456
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
  /** What is done when the connection is open. */
  #queue: (() => void)[] = []
  #isOpen = false
  /** How this side has ended it; the server answers with the same code. */
  #closing: number | undefined
  #refused: number | undefined
  #expectsOpen = false

  constructor(name: string, { url, protocols = [], headers }: RecordedEvent, host: ReplayedClientHost) {
    this.#name = name
    this.#host = host
    const { token } = host
    const target = url === undefined ? host.to : new URL(this.#withToken(url, IN_QUERY, encodeURIComponent), host.to)
    this.#socket = new WebSocket(target, offered(protocols, token), {
      headers: {
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
        ...(headers?.['user-agent'] !== undefined && { 'user-agent': headers['user-agent'] }),
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
    const bytes = Buffer.byteLength(sent)
    this.#do(() => this.#socket.send(sent, () => this.#host.onSent(bytes)))
    return bytes
  }

  close(code: number, reason: string): void {
    this.#do(() => {
      this.#closing = isCloseCode(code) || code === 1005 ? code : 1006
      if (code === 1005) this.#socket.close()
      else if (isCloseCode(code)) this.#socket.close(code, reason)
      else this.#socket.terminate()
    })
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
    const { emit, onFail, onEnd } = this.#host
    const client = this.#name
    const run = () => {
      for (const action of this.#queue.splice(0)) action()
    }
    this.#socket
      .on('open', () => {
        this.#isOpen = true
        run()
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
