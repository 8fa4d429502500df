// A raw WebSocket client with minimal cost: one read buffer for all connections, parsed headers, unread payloads, prepared frames.
import { connect, type Socket } from 'node:net'
import { clientFrame, DIGITS, type Dialect, numberIn, TEXT, type Template } from './template.ts'

const CLOSE = 8
const PING = 9
const PONG = 10
/** The first packets of Socket.IO, which are not parsed if they are compressed. */
const OPENING = ['0{', '40{']
/** The first commands of a Centrifugal client. */
const SUBSCRIBE = '{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"all"}}'
const NOTHING = Buffer.alloc(0)

export interface Shape {
  readonly dialect: Dialect
  /** The messages of the server. */
  readonly template: Template
  readonly deflate: boolean
  /** The buffer of one read. */
  readonly readBuffer: Buffer
}

/** Callbacks for received messages. */
export interface Listener {
  /** Called with the number of each message and its time; `undefined` skips parsing numbers. */
  numbered: ((number: number, now: number) => void) | undefined
  /** Called with the number of messages of one read. */
  arrived(count: number): void
}

export class Connection {
  readonly socket: Socket
  bytes = 0
  listener: Listener | undefined
  readonly opened: Promise<void>
  readonly #shape: Shape
  readonly #least: number
  #open: (() => void) | undefined
  #fail!: (error: Error) => void
  #head: string | undefined = ''
  /** Compressed packets before the opening. */
  #packets = 0
  /** The received part of an incomplete frame. */
  #rest = NOTHING
  /** Missing bytes of a message whose header has been parsed. */
  #left = 0

  constructor(url: string, room: string | undefined, shape: Shape) {
    this.#shape = shape
    this.#least = shape.template.length
    const { host, port } = new URL(url)
    const onread = { buffer: shape.readBuffer, callback: (length: number) => this.#read(length) }
    this.socket = connect({ port: Number(port), host: '127.0.0.1', noDelay: true, onread })
    this.socket.write(handshake(host, room, shape))
    this.opened = new Promise((resolve, reject) => {
      this.#open = resolve
      this.#fail = reject
    })
    const lost = (error: unknown) => {
      if (this.#open !== undefined) this.#fail(new Error(`not opened: ${error}`))
      else throw new Error(`the server ended a connection: ${error}`)
    }
    this.socket.on('error', lost).on('close', () => lost('closed'))
  }

  /** Resets the connection, which leaves no port in TIME_WAIT. */
  destroy(): void {
    this.socket.removeAllListeners().on('error', () => {})
    this.socket.resetAndDestroy()
  }

  #read(length: number): boolean {
    const { readBuffer } = this.#shape
    if (this.#head !== undefined) this.#handshake(readBuffer.subarray(0, length))
    else if (this.#rest.length === 0) this.#parse(readBuffer, length)
    else this.#parseRest(Buffer.concat([this.#rest, readBuffer.subarray(0, length)]))
    return true
  }

  #handshake(chunk: Buffer): void {
    this.#head += chunk.toString('latin1')
    const end = this.#head!.indexOf('\r\n\r\n')
    if (end === -1) return
    const head = this.#head!.slice(0, end)
    const rest = Buffer.from(this.#head!.slice(end + 4), 'latin1')
    this.#head = undefined
    if (!head.startsWith('HTTP/1.1 101')) this.#fail(new Error(head))
    else if (this.#shape.deflate && !/permessage-deflate/i.test(head)) this.#fail(new Error('deflate was refused'))
    else if (this.#shape.dialect === 'plain') this.#ready()
    else if (this.#shape.dialect === 'centrifuge') this.socket.write(clientFrame(TEXT, SUBSCRIBE))
    if (rest.length > 0) this.#parse(rest, rest.length)
  }

  #ready(): void {
    this.#open?.()
    this.#open = undefined
  }

  #parseRest(bytes: Buffer): void {
    this.bytes -= this.#rest.length
    this.#rest = NOTHING
    this.#parse(bytes, bytes.length)
  }

  /** Parses the first `length` bytes, without a subarray, since it runs for every read. */
  #parse(bytes: Buffer, length: number): void {
    this.bytes += length
    const numberEnd = this.#shape.template.numberAt + DIGITS
    const numbered = this.listener?.numbered
    const now = numbered === undefined ? 0 : performance.now()
    const isOpen = this.#open === undefined
    let messages = 0
    if (this.#left > 0 && this.#left <= length) messages++
    let at = this.#left
    while (length - at >= 2) {
      const short = bytes[at + 1]!
      if (short === 126 && length - at < 4) break
      const start = at + (short === 126 ? 4 : 2)
      const size = short === 126 ? (bytes[at + 2]! << 8) | bytes[at + 3]! : short
      const end = start + size
      // Compressed or long enough is a message: other text packets of an open Socket.IO connection are shorter.
      if ((bytes[at]! & 15) === TEXT && isOpen && (size >= this.#least || (bytes[at]! & 0x40) !== 0)) {
        if (numbered !== undefined) {
          if (start + numberEnd > length) break
          numbered(numberIn(bytes, start + numberEnd - DIGITS), now)
        }
        if (end <= length) messages++
      } else {
        if (end > length) break
        const isCompressed = (bytes[at]! & 0x40) !== 0
        this.#handleOther(
          bytes[at]! & 15,
          isCompressed ? OPENING[this.#packets++]! : bytes.toString('latin1', start, end),
        )
      }
      at = end
    }
    if (at < length) this.#rest = Buffer.from(bytes.subarray(at, length))
    this.#left = Math.max(0, at - length)
    if (messages > 0) this.listener?.arrived(messages)
  }

  #handleOther(opcode: number, text: string): void {
    if (opcode === PING) this.socket.write(clientFrame(PONG, text))
    else if (opcode === CLOSE) throw new Error(`the server closed the connection: ${text}`)
    else if (text === '2') this.socket.write(clientFrame(TEXT, '3'))
    else if (text.startsWith('0{')) this.socket.write(clientFrame(TEXT, '40'))
    else if (text.startsWith('40{')) this.#ready()
    else if (text === '{}') this.socket.write(clientFrame(TEXT, '{}'))
    else if (text.includes('{"id":2,"subscribe":')) this.#ready()
    // Replies to connect and publish.
    else if (text.startsWith('{"id":') && !text.includes('"error":')) return
    else throw new Error(`unexpected frame: opcode ${opcode}, ${text}`)
  }
}

const PATHS: Readonly<Record<Dialect, string>> = {
  plain: '/?',
  'socket.io': '/socket.io/?EIO=4&transport=websocket&',
  centrifuge: '/connection/websocket?',
}

function handshake(host: string, room: string | undefined, { dialect, deflate }: Shape): string {
  const path = PATHS[dialect]
  const lines = [
    `GET ${path}${room === undefined ? '' : `room=${room}`} HTTP/1.1`,
    `Host: ${host}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    // The offer of browsers.
    ...(deflate ? ['Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits'] : []),
  ]
  return `${lines.join('\r\n')}\r\n\r\n`
}
