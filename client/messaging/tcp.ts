import { connect as connectTcp, isIP, type Socket as NetSocket } from 'node:net'
import { type ConnectionOptions, connect as connectTls } from 'node:tls'
import { readJson, Watchdog } from 'filtered-websocket/kit'
import { frameString, writeFrame } from '../../protocols/clever-show/frame.ts'
import { Malformed } from '../../protocols/clever-show/malformed.ts'
import { Parser } from '../../protocols/clever-show/parser.ts'
import type { Sendable } from '../queue.ts'
import type { Socket, SocketClass } from '../reconnecting-socket.ts'
import { CleverShowServer, type ServerState } from './clever-show-server.ts'
import { MAX_CONTENT, type Outgoing, type Unread } from './format.ts'
import { FRAMES } from './session.ts'

/** Limits of headers; contents are parsed later. */
const LIMITS = { maxContent: MAX_CONTENT, parse: (text: string) => readJson(text, { allowNaN: true }) }
/** Bytes from which on a batch is written without waiting for the end of the turn. */
const BATCH = 4096
/** Milliseconds from the first byte of a header to its last. */
const HEADER_TIMEOUT = 10_000
/** Milliseconds for the server to close its side. */
const CLOSE_TIMEOUT = 2000
/** As clever-show (clever-show-messaging, section 4), as far as Node has options for it. */
const SOCKET_OPTIONS = { noDelay: true, keepAlive: true, keepAliveInitialDelay: 1000 }
const [CONNECTING, OPEN, CLOSING, CLOSED] = [0, 1, 2, 3]
const LOST = 1006
const NO_CONTENT = new Uint8Array()

/** An authority (`ca`), a client certificate, the expected name. */
export type TlsOptions = Pick<ConnectionOptions, 'ca' | 'cert' | 'key' | 'servername' | 'rejectUnauthorized'>

/**
 * A TCP connection with the interface of a WebSocket, for `tcp://HOST:PORT` and `tls://HOST:PORT`. It writes and reads the frames
 * of messages itself.
 *
 * @param server - shared by all connections.
 */
export function tcpSocket(tls: TlsOptions | undefined, server: ServerState): SocketClass {
  let latest = ''
  return class extends TcpSocket {
    constructor(url: string) {
      if (latest !== url) server.isKnown = false
      latest = url
      super(url, tls, server)
    }
  }
}

class TcpSocket implements Socket {
  binaryType = 'arraybuffer'
  readyState = CONNECTING
  onopen: Socket['onopen'] = null
  onmessage: Socket['onmessage'] = null
  onclose: Socket['onclose'] = null
  onerror: Socket['onerror'] = null
  /** TCP has no other format. */
  readonly protocol = FRAMES
  readonly #socket: NetSocket
  readonly #parser = new Parser<Buffer<ArrayBuffer>>(Buffer, LIMITS)
  #ending = { code: LOST, reason: 'the server closed the connection' }
  readonly #watchdog = new Watchdog(Infinity, () =>
    this.#refuse(`a header was incomplete after ${HEADER_TIMEOUT / 1000} seconds`),
  )
  readonly #server: CleverShowServer
  /** Frames of this turn, with a character for each byte. */
  #batch = ''

  constructor(url: string, tls: TlsOptions | undefined, server: ServerState) {
    this.#server = new CleverShowServer(response => this.#emit(NO_CONTENT, () => response), server)
    const { protocol, hostname, port } = new URL(url)
    const address = { ...SOCKET_OPTIONS, host: hostname.replace(/^\[|\]$/g, ''), port: Number(port) }
    const isTls = protocol === 'tls:'
    if (!isTls && protocol !== 'tcp:') throw new TypeError(`${url} is neither tcp:// nor tls://`)
    if (address.port === 0) throw new TypeError(`${url} has no port`)
    this.#socket = isTls
      ? connectTls({ ...(!isIP(address.host) && { servername: address.host }), ...tls, ...address })
      : connectTcp(address)
    this.#socket
      .once(isTls ? 'secureConnect' : 'connect', () => this.#opened())
      .on('data', chunk => this.#read(chunk))
      .on('error', ({ message }) => {
        if (this.readyState < CLOSING) this.#ending = { code: LOST, reason: message }
      })
      .once('close', () => this.#closed())
  }

  get bufferedAmount(): number {
    return this.#batch.length + this.#socket.writableLength
  }

  /** Frames of one turn are written in batches: the server works on one while the next is made. */
  send(data: Sendable | Outgoing): void {
    const message = this.#server.outgoing(data as Outgoing)
    if (message === undefined) return
    const { type, name, id, fields = {}, content } = message
    const frame = frameString(Buffer, type, name, id, fields, content, MAX_CONTENT)
    if (frame === undefined) {
      this.#flush()
      this.#socket.write(writeFrame(Buffer, type, name, id, fields, content, MAX_CONTENT))
      return
    }
    if (this.#batch === '') queueMicrotask(() => this.#flush())
    this.#batch += frame
    if (this.#batch.length >= BATCH) this.#flush()
  }

  close(code = 1000, reason = ''): void {
    if (this.readyState >= CLOSING) return
    const isOpen = this.readyState === OPEN
    this.readyState = CLOSING
    this.#ending = { code: isOpen ? code : LOST, reason }
    this.#watchdog.stop()
    if (!isOpen) {
      this.#socket.destroy()
      return
    }
    this.#flush()
    this.#socket.end()
    const deadline = setTimeout(() => this.#socket.destroy(), CLOSE_TIMEOUT)
    this.#socket.once('close', () => clearTimeout(deadline))
  }

  #flush(): void {
    if (this.#batch === '') return
    this.#socket.write(this.#batch, 'latin1')
    this.#batch = ''
  }

  #opened(): void {
    this.readyState = OPEN
    this.onopen?.({})
  }

  #read(chunk: Buffer<ArrayBuffer>): void {
    if (this.readyState !== OPEN) return
    try {
      this.#parser.push(chunk)
      for (let frame = this.#parser.next(); frame !== undefined; frame = this.#parser.next()) {
        const complete = frame
        this.#watchdog.stop()
        this.#emit(complete.content, () => this.#server.incoming(complete))
      }
      if (!this.#parser.isInHeader) this.#watchdog.stop()
      else if (!this.#watchdog.isRunning) this.#watchdog.start(HEADER_TIMEOUT)
    } catch (error) {
      if (!(error instanceof Malformed)) throw error
      this.#refuse(error.message)
    }
  }

  #emit(content: Unread['content'], read: Unread['read']): void {
    if (this.readyState === OPEN) this.onmessage?.({ data: { content, read } satisfies Unread })
  }

  #refuse(reason: string): void {
    this.#ending = { code: LOST, reason }
    this.readyState = CLOSING
    this.#socket.destroy()
  }

  #closed(): void {
    this.#watchdog.stop()
    this.readyState = CLOSED
    this.#server.stop()
    this.onclose?.(this.#ending)
  }
}
