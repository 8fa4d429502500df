import { connect as connectTcp, isIP, type Socket as NetSocket } from 'node:net'
import { type ConnectionOptions, connect as connectTls } from 'node:tls'
import { readJson } from 'filtered-websocket/kit'
import { Malformed } from '../../protocols/clever-show/malformed.ts'
import { Parser } from '../../protocols/clever-show/parser.ts'
import type { Socket, SocketClass } from '../connection.ts'
import type { Sendable } from '../queue.ts'
import { type Frame, MAX_CONTENT } from './format.ts'
import { FRAMES } from './link.ts'
import { type Known, OriginalServer } from './original-server.ts'

/** Of headers; contents are read later. */
const LIMITS = { maxContent: MAX_CONTENT, parse: (text: string) => readJson(text, { allowNaN: true }) }
/** Bytes of what is said in one turn that go out at once. */
const PIECE = 4096
/** Bytes that are copied into one piece. */
const MAX_COPIED = 65_536
/** Milliseconds for a header that has begun. */
const HEADER_TIMEOUT = 10_000
/** Milliseconds that the server has to end its side, after ours. */
const GOODBYE = 2000
/** As the original asks (clever-show-messaging, section 4), as far as Node lets one choose. */
const SHARED = { noDelay: true, keepAlive: true, keepAliveInitialDelay: 1000 }
const [CONNECTING, OPEN, CLOSING, CLOSED] = [0, 1, 2, 3]
const LOST = 1006

/** What TLS is to know beside the address: an authority (`ca`), a certificate of one's own. */
export type TlsOptions = Pick<ConnectionOptions, 'ca' | 'cert' | 'key' | 'servername' | 'rejectUnauthorized'>

/** A TCP connection that looks like a WebSocket whose messages are frames, for the URLs `tcp://HOST:PORT` and `tls://HOST:PORT`. */
export function tcpSocket(tls: TlsOptions = {}, known: Known = { isOurs: false, isOriginal: false }): SocketClass {
  let latest = ''
  return class extends TcpSocket {
    constructor(url: string) {
      if (latest !== url) known.isOurs = false
      latest = url
      super(url, tls, known)
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
  /** Peers on TCP speak nothing else. */
  readonly protocol = FRAMES
  readonly #socket: NetSocket
  readonly #parser = new Parser<Buffer<ArrayBuffer>>(Buffer, LIMITS)
  #ending = { code: LOST, reason: 'the server has gone' }
  #deadline: NodeJS.Timeout | undefined
  readonly #original: OriginalServer
  /** Of this turn. */
  #waiting: Uint8Array[] = []
  #waitingBytes = 0

  constructor(url: string, tls: TlsOptions, known: Known) {
    this.#original = new OriginalServer(frame => this.#hear(frame), known)
    const { protocol, hostname, port } = new URL(url)
    const address = { ...SHARED, host: hostname.replace(/^\[|\]$/g, ''), port: Number(port) }
    const isTls = protocol === 'tls:'
    if (!isTls && protocol !== 'tcp:') throw new TypeError(`${url} begins with neither tcp:// nor tls://`)
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
    return this.#waitingBytes + this.#socket.writableLength
  }

  /** What is said in one turn goes out in pieces, on which the server works while the next is made. */
  send(data: Sendable): void {
    const frame = this.#original.said(data as Uint8Array<ArrayBuffer>)
    if (frame === undefined) return
    if (this.#waiting.length === 0) queueMicrotask(() => this.#flush())
    this.#waiting.push(frame)
    this.#waitingBytes += frame.length
    if (this.#waitingBytes >= PIECE) this.#flush()
  }

  close(code = 1000, reason = ''): void {
    if (this.readyState >= CLOSING) return
    const isOpen = this.readyState === OPEN
    this.readyState = CLOSING
    this.#ending = { code: isOpen ? code : LOST, reason }
    clearTimeout(this.#deadline)
    if (!isOpen) {
      this.#socket.destroy()
      return
    }
    this.#flush()
    this.#socket.end()
    this.#deadline = setTimeout(() => this.#socket.destroy(), GOODBYE)
  }

  /** One piece costs the system less than many; large ones are not worth the copy. */
  #flush(): void {
    const pieces = this.#waiting
    if (pieces.length === 0) return
    const isSmall = this.#waitingBytes <= MAX_COPIED
    this.#waiting = []
    this.#waitingBytes = 0
    if (isSmall) {
      this.#socket.write(pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces))
      return
    }
    this.#socket.cork()
    for (const piece of pieces) this.#socket.write(piece)
    this.#socket.uncork()
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
        this.#stopClock()
        const heard = this.#original.heard(frame)
        if (heard !== undefined) this.#hear(heard)
      }
      if (this.#parser.isInHeader) this.#startClock()
      else this.#stopClock()
    } catch (error) {
      if (!(error instanceof Malformed)) throw error
      this.#refuse(error.message)
    }
  }

  #hear(data: ArrayBuffer | Frame): void {
    if (this.readyState === OPEN) this.onmessage?.({ data })
  }

  #startClock(): void {
    const why = `a header was not whole within ${HEADER_TIMEOUT / 1000} seconds`
    this.#deadline ??= setTimeout(() => this.#refuse(why), HEADER_TIMEOUT)
  }

  #stopClock(): void {
    clearTimeout(this.#deadline)
    this.#deadline = undefined
  }

  #refuse(reason: string): void {
    this.#ending = { code: LOST, reason }
    this.readyState = CLOSING
    this.#socket.destroy()
  }

  #closed(): void {
    clearTimeout(this.#deadline)
    this.readyState = CLOSED
    this.#original.stop()
    this.onclose?.(this.#ending)
  }
}
