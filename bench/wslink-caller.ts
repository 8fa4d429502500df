// A client of wslink 2.x with minimal cost: it sends prepared frames, and parses only the headers of replies. `check` in wslink.ts
// verifies the replies once before.
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { encode } from '@msgpack/msgpack'
import { clientFrame } from './template.ts'

const BINARY = 0x82
const PING = 0x89
/** Bytes of a mask. */
const MASK = 4
/** Prepared frames of a call, each with its own mask. */
const PREPARED = 256
/** Bytes of a chunk header. */
const CHUNK_HEAD = 12
/** Bytes of the longest frame header. */
const FRAME_HEAD = 10
/** Placeholder of the call number in an id. */
const DIGITS = '00000000'
const READ_BUFFER = 1024 * 1024

export interface Rate {
  /** Per second. */
  readonly answers: number
  readonly megabytes: number
  /** All replies, with those of the warmup. */
  readonly total: number
}

export class Caller {
  readonly #socket: Socket
  readonly #buffer = Buffer.allocUnsafe(READ_BUFFER)
  #rest: Buffer = Buffer.alloc(0)
  /** Missing bytes of the frame, and whether its message ends with it. */
  #left = 0
  #isLast = false
  #isOpen = false
  #count = 0
  #bytes = 0
  /** Called with the number of replies of one read. */
  #onAnswers: (count: number) => void = () => {}

  private constructor(url: URL) {
    const onread = { buffer: this.#buffer, callback: (length: number) => this.#read(length) }
    this.#socket = connect({ port: Number(url.port), host: url.hostname, noDelay: true, onread })
    this.#socket.on('error', error => {
      throw error
    })
  }

  /** Connects and authenticates. */
  static async open(url: string, secret: string): Promise<Caller> {
    const caller = new Caller(new URL(url))
    await once(caller.#socket, 'connect')
    const welcome = new Promise<void>(resolve => {
      caller.#onAnswers = () => resolve()
    })
    caller.#socket.write(handshake(new URL(url).host))
    caller.#socket.write(frameOf({ id: 'system:c0:0', method: 'wslink.hello', args: [{ secret }] }, 0))
    await welcome
    return caller
  }

  /** Keeps `inFlight` calls running, and measures the replies. */
  async rate(
    method: string,
    args: readonly unknown[],
    inFlight: number,
    warmup: number,
    seconds: number,
  ): Promise<Rate> {
    const call = new Call(method, args)
    const write = (count: number) => {
      const frames = Array.from({ length: count }, () => call.frame(++this.#count))
      this.#socket.write(frames.length === 1 ? frames[0]! : Buffer.concat(frames))
    }
    let answered = 0
    let isOn = true
    let running = inFlight
    const ended = new Promise<void>(resolve => {
      this.#onAnswers = count => {
        answered += count
        if (isOn) return write(count)
        running -= count
        if (running === 0) resolve()
      }
    })
    write(inFlight)
    await new Promise(resolve => setTimeout(resolve, warmup * 1000))
    const before = { time: performance.now(), answered, bytes: this.#bytes }
    await new Promise(resolve => setTimeout(resolve, seconds * 1000))
    const passed = (performance.now() - before.time) / 1000
    const rate = {
      answers: (answered - before.answered) / passed,
      megabytes: (this.#bytes - before.bytes) / passed / 1e6,
    }
    isOn = false
    await ended
    return { ...rate, total: answered }
  }

  destroy(): void {
    this.#socket.destroy()
  }

  #read(length: number): boolean {
    this.#bytes += length
    const fresh = this.#buffer.subarray(0, length)
    let bytes = this.#rest.length === 0 ? fresh : Buffer.concat([this.#rest, fresh])
    this.#rest = Buffer.alloc(0)
    if (!this.#isOpen) {
      const end = bytes.indexOf('\r\n\r\n')
      if (end === -1) {
        this.#rest = Buffer.from(bytes)
        return true
      }
      this.#isOpen = true
      bytes = bytes.subarray(end + 4)
    }
    return this.#parse(bytes)
  }

  #parse(bytes: Buffer): boolean {
    let answers = 0
    let at = 0
    for (;;) {
      const taken = Math.min(this.#left, bytes.length - at)
      this.#left -= taken
      at += taken
      if (this.#left > 0) break
      if (this.#isLast && taken > 0) answers++
      this.#isLast = false
      const head = headAt(bytes, at)
      if (head === undefined) break
      this.#left = head.size
      this.#isLast = head.isLast
      at = head.end
    }
    this.#rest = Buffer.from(bytes.subarray(at))
    if (answers > 0) this.#onAnswers(answers)
    return true
  }
}

interface Head {
  /** Offset and size of the payload. */
  readonly end: number
  readonly size: number
  /** The message ends with this frame. */
  readonly isLast: boolean
}

/** The headers of a frame and its chunk; `undefined` if they are incomplete. */
function headAt(bytes: Buffer, at: number): Head | undefined {
  // Pings are not answered, since connections end before the heartbeat does.
  if (bytes[at] === PING && bytes.length - at >= 2) return { end: at + 2, size: bytes[at + 1]!, isLast: false }
  if (bytes.length - at < FRAME_HEAD + CHUNK_HEAD) return undefined
  const short = bytes[at + 1]!
  const end = at + (short === 127 ? 10 : short === 126 ? 4 : 2)
  const size =
    short === 127 ? Number(bytes.readBigUInt64BE(at + 2)) : short === 126 ? bytes.readUInt16BE(at + 2) : short
  if (bytes[at] !== BINARY) throw new Error(`not a chunk: ${bytes.subarray(at, at + 64).toString('latin1')}`)
  const isLast = bytes.readUInt32LE(end + 4) + size - CHUNK_HEAD === bytes.readUInt32LE(end + 8)
  return { end, size, isLast }
}

/** A prepared call with a variable number. */
class Call {
  readonly #frames: readonly Buffer[]
  readonly #digitsAt: number

  constructor(method: string, args: readonly unknown[]) {
    const request = { id: `rpc:bench:${DIGITS}`, method, args }
    this.#frames = Array.from({ length: PREPARED }, () => frameOf(request, 0))
    this.#digitsAt = headLength(this.#frames[0]!) + chunkOf(request, 0).indexOf(DIGITS)
  }

  frame(number: number): Buffer {
    const frame = Buffer.from(this.#frames[number % PREPARED]!)
    const digits = String(number).padStart(DIGITS.length, '0')
    for (let i = 0; i < digits.length; i++) this.#put(frame, this.#digitsAt + i, digits.charCodeAt(i))
    // The message id, unique among running calls.
    for (let i = 0; i < 4; i++) this.#put(frame, headLength(frame) + i, (number >>> (8 * i)) & 255)
    return frame
  }

  #put(frame: Buffer, at: number, byte: number): void {
    const start = headLength(frame)
    frame[at] = byte ^ frame[start - MASK + ((at - start) & 3)]!
  }
}

interface Request {
  readonly id: string
  readonly method: string
  readonly args: readonly unknown[]
}

/** A request as the frame of a client. */
function frameOf(request: Request, number: number): Buffer {
  const chunk = chunkOf(request, number)
  if (chunk.length > 0xffff) throw new Error('requests are limited to 64 KiB')
  return clientFrame(BINARY & 15, chunk)
}

function chunkOf(request: Request, number: number): Buffer {
  const message = encode({ wslink: '1.0', ...request, kwargs: {} })
  const chunk = Buffer.alloc(CHUNK_HEAD + message.length)
  chunk.writeUInt32LE(number, 0)
  chunk.writeUInt32LE(message.length, 8)
  chunk.set(message, CHUNK_HEAD)
  return chunk
}

/** Bytes of a client's frame before its payload. */
function headLength(frame: Buffer): number {
  return (frame[1] === (0x80 | 126) ? 4 : 2) + MASK
}

function handshake(host: string): string {
  const lines = [
    'GET /ws HTTP/1.1',
    `Host: ${host}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  ]
  return `${lines.join('\r\n')}\r\n\r\n`
}
