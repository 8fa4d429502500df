import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { until } from './peer.ts'

export const CONTINUATION = 0
export const TEXT = 1
export const BINARY = 2
export const CLOSE = 8
export const PING = 9
export const PONG = 10

export interface FrameShape {
  fin?: boolean
  /** The three reserved bits: 4, 2, 1. */
  rsv?: number
  masked?: boolean
  /** The length in the header. Default: the actual length. */
  declared?: number
}

/** A frame of a client, which may be invalid (RFC 6455, section 5.2). */
export function frame(opcode: number, payload: string | Buffer = '', shape: FrameShape = {}): Buffer {
  const data = Buffer.from(payload)
  const { fin = true, rsv = 0, masked = true, declared = data.length } = shape
  const first = (fin ? 0x80 : 0) | (rsv << 4) | opcode
  const maskBit = masked ? 0x80 : 0
  let header: Buffer
  if (declared < 126) {
    header = Buffer.from([first, maskBit | declared])
  } else if (declared < 65_536) {
    header = Buffer.from([first, maskBit | 126, 0, 0])
    header.writeUInt16BE(declared, 2)
  } else {
    header = Buffer.from([first, maskBit | 127, 0, 0, 0, 0, 0, 0, 0, 0])
    header.writeBigUInt64BE(BigInt(declared), 2)
  }
  if (!masked) return Buffer.concat([header, data])
  const mask = Buffer.from([0x12, 0x34, 0x56, 0x78])
  return Buffer.concat([header, mask, data.map((byte, i) => byte ^ mask[i % 4]!)])
}

export function closeFrame(code: number, reason: string | Buffer = ''): Buffer {
  const head = Buffer.alloc(2)
  head.writeUInt16BE(code)
  return frame(CLOSE, Buffer.concat([head, Buffer.from(reason)]))
}

type Headers = Readonly<Record<string, string | undefined>>

/** The bytes of a handshake. `undefined` removes a header. */
export function handshake(url: string, headers: Headers = {}, start = 'GET / HTTP/1.1'): string {
  const all = {
    Host: new URL(url).host,
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
    ...headers,
  }
  const lines = Object.entries(all).flatMap(([name, value]) => (value === undefined ? [] : `${name}: ${value}\r\n`))
  return `${start}\r\n${lines.join('')}\r\n`
}

export interface Answer {
  readonly status: number
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** Sends the bytes of an HTTP request, and returns the response when the server closes or switches protocols. */
export async function ask(url: string, bytes: string | Buffer): Promise<Answer> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  let text = ''
  let ended = false
  socket.on('error', () => {})
  socket.on('data', chunk => {
    text += chunk
  })
  socket.on('close', () => {
    ended = true
  })
  socket.write(bytes)
  await until(() => ended || /^HTTP\/1.1 101 .*\r\n\r\n/s.test(text), `an answer, got ${JSON.stringify(text)}`)
  socket.destroy()
  const [head, ...body] = text.split('\r\n\r\n')
  const [start, ...lines] = head!.split('\r\n')
  return {
    status: Number(start!.split(' ')[1]),
    headers: Object.fromEntries(lines.map(line => [line.split(':')[0]!.toLowerCase(), line.replace(/^[^:]*: */, '')])),
    body: body.join('\r\n\r\n'),
  }
}

export interface Frame {
  readonly fin: boolean
  readonly opcode: number
  readonly payload: Buffer
}

/** A WebSocket client that sends any bytes, and nothing by itself. */
export class RawPeer {
  readonly socket: Socket
  /** The status line and headers of the response. */
  head = ''
  /** The frames after it. */
  readonly frames: Frame[] = []
  isClosed = false
  #unread: Buffer = Buffer.alloc(0)

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('error', () => {})
    socket.on('data', chunk => this.#parse(chunk))
    socket.on('close', () => {
      this.isClosed = true
    })
  }

  /** @param extra - bytes in the same write as the handshake; with `isLast` the stream ends behind them. */
  static async open(
    url: string,
    headers: Headers = {},
    extra: Buffer = Buffer.alloc(0),
    how: { isLast?: boolean } = {},
  ): Promise<RawPeer> {
    const peer = await RawPeer.sendHandshake(url, headers, extra, how)
    await until(() => peer.head !== '' || peer.isClosed, 'an answer to the handshake')
    if (!peer.head.startsWith('HTTP/1.1 101 ')) throw new Error(`not opened: ${peer.head}`)
    return peer
  }

  /** Sends the handshake and does not wait for the answer. */
  static async sendHandshake(
    url: string,
    headers: Headers = {},
    extra: Buffer = Buffer.alloc(0),
    { isLast = false }: { isLast?: boolean } = {},
  ): Promise<RawPeer> {
    const { hostname: host, port, protocol } = new URL(url)
    const where = { host, port: Number(port), noDelay: true }
    const isTls = protocol === 'wss:'
    const socket = isTls ? connectTls({ ...where, rejectUnauthorized: false }) : connect(where)
    const peer = new RawPeer(socket)
    await once(socket, isTls ? 'secureConnect' : 'connect')
    const bytes = Buffer.concat([Buffer.from(handshake(url, headers)), extra])
    if (isLast) socket.end(bytes)
    else socket.write(bytes)
    return peer
  }

  /** The code of the received Close frame; 1005 if it has none, `undefined` without a Close frame. */
  get closeCode(): number | undefined {
    const close = this.frames.find(({ opcode }) => opcode === CLOSE)
    if (close === undefined) return undefined
    return close.payload.length === 0 ? 1005 : close.payload.readUInt16BE()
  }

  send(...frames: readonly Buffer[]): void {
    this.socket.write(Buffer.concat(frames))
  }

  /** Resets the connection without a Close frame, like a crash. */
  reset(): void {
    this.socket.resetAndDestroy()
  }

  /** Waits for the first `count` frames. */
  async get(count: number): Promise<readonly Frame[]> {
    await until(() => this.frames.length >= count, `${count} frames, got ${this.frames.length}`)
    return this.frames.slice(0, count)
  }

  /** Waits until the server has closed the connection; returns `closeCode`. */
  async end(): Promise<number | undefined> {
    await until(() => this.isClosed, 'the end of the connection')
    return this.closeCode
  }

  /** Waits for a Close frame and echoes it; returns `closeCode`. */
  async echoClose(): Promise<number | undefined> {
    await until(() => this.closeCode !== undefined || this.isClosed, 'a Close frame')
    this.send(frame(CLOSE, this.frames.at(-1)!.payload))
    return this.end()
  }

  /** Sends a ping and waits for its pong: the server has handled all earlier frames. */
  async roundTrip(): Promise<void> {
    const seen = this.frames.length
    this.send(frame(PING, 'there?'))
    await until(() => this.isClosed || this.frames.slice(seen).some(({ opcode }) => opcode === PONG), 'a pong')
    if (this.isClosed) throw new Error('the server ended the connection')
  }

  #parse(chunk: Buffer): void {
    this.#unread = this.#unread.length === 0 ? chunk : Buffer.concat([this.#unread, chunk])
    if (this.head === '') {
      const end = this.#unread.indexOf('\r\n\r\n')
      if (end === -1) return
      this.head = this.#unread.toString('latin1', 0, end)
      this.#unread = this.#unread.subarray(end + 4)
    }
    for (let next = this.#frame(); next !== undefined; next = this.#frame()) this.frames.push(next)
  }

  #frame(): Frame | undefined {
    const bytes = this.#unread
    if (bytes.length < 2) return undefined
    const short = bytes[1]! & 0x7f
    const start = short < 126 ? 2 : short === 126 ? 4 : 10
    if (bytes.length < start) return undefined
    const length = short < 126 ? short : short === 126 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2))
    if (bytes.length < start + length) return undefined
    this.#unread = bytes.subarray(start + length)
    return {
      fin: (bytes[0]! & 0x80) !== 0,
      opcode: bytes[0]! & 0x0f,
      payload: bytes.subarray(start, start + length),
    }
  }
}
