import { isUtf8 } from 'node:buffer'
import { isCloseCode } from '../contract/close.ts'
import { FLUSH_END, inflate } from './inflate.ts'
import { unmask } from './mask.ts'
import { BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT } from './opcodes.ts'
import { PartialMessage } from './partial-message.ts'

const FIN = 0x80
const RSV1 = 0x40
const RSV = 0x70
const OPCODE = 0x0f
const MASKED = 0x80
const LENGTH = 0x7f

/** Payload bytes of a control frame (RFC 6455, section 5.5). */
const MAX_CONTROL = 125
const MASK_BYTES = 4
const NOTHING = Buffer.alloc(0)

/** Gets the frames in their order. A method may stop, pause or resume the parser. */
export interface FrameSink {
  /** @param bytes - length of the message in UTF-8. */
  onText(payload: string, bytes: number): void
  /** @param payload - a copy, which the receiver may keep. */
  onBinary(payload: Buffer): void
  /** @param payload - a view, valid during the call. */
  onPing(payload: Buffer): void
  onPong(): void
  /**
   * The last call: the parser ignores further bytes.
   *
   * @param code - 1005 if the frame has none.
   */
  onClose(code: number, reason: string): void
  /** A fragment without a byte that is not the last one of its message. */
  onEmptyFragment(): void
  /** The bytes are no valid frames. The last call. */
  onInvalid(code: 1002 | 1007 | 1009, why: string): void
}

/**
 * Reads the frames of a client (RFC 6455, section 5), in any pieces.
 *
 * A message that is complete in one read, which is the rule, is decoded where it lies. What must wait for the next read is
 * copied, so that no read outlives its call. Text is refused at its first wrong byte.
 *
 * @example
 * const parser = new FrameParser(sink, 1_048_576, 0)
 * socket.on('data', chunk => parser.push(chunk))
 */
export class FrameParser {
  readonly #sink: FrameSink
  readonly #maxPayload: number
  readonly #windowBits: number
  /** The beginning of a frame: less than its header, or less than a control frame. */
  #rest: Buffer | undefined
  #partial: PartialMessage | undefined
  #isDone = false
  #isPaused = false
  #isDiscarding = false
  #isParsing = false

  /**
   * @param maxPayload - bytes of one message, also when it is inflated.
   * @param windowBits - window of the peer's compressed messages; 0: it sends none.
   */
  constructor(sink: FrameSink, maxPayload: number, windowBits: number) {
    this.#sink = sink
    this.#maxPayload = maxPayload
    this.#windowBits = windowBits
  }

  /** Ignores all further bytes, also the rest of the read that is parsed now. */
  stop(): void {
    this.#isDone = true
    this.#rest = undefined
    this.#partial = undefined
  }

  get isPaused(): boolean {
    return this.#isPaused
  }

  /** Keeps the bytes behind the current frame until `resume`. */
  pause(): void {
    this.#isPaused = true
  }

  /** Parses the bytes that wait. */
  resume(): void {
    this.#isPaused = false
    if (!this.#isParsing && this.#rest !== undefined) this.push(NOTHING)
  }

  /** From now on messages are neither decoded nor inflated; their frames are parsed, and control frames handled. */
  discard(): void {
    this.#isDiscarding = true
  }

  /** @param chunk - a read, which is changed. */
  push(chunk: Buffer): void {
    if (this.#isDone) return
    this.#isParsing = true
    this.#parse(chunk)
    this.#isParsing = false
  }

  #parse(chunk: Buffer): void {
    const rest = this.#rest
    this.#rest = undefined
    const bytes = rest === undefined ? chunk : Buffer.concat([rest, chunk])
    const end = bytes.length
    let at = 0
    while (at < end && !this.#isDone) {
      const partial = this.#partial
      if (partial !== undefined && partial.remaining > 0) {
        const to = Math.min(end, at + partial.remaining)
        this.#add(partial, bytes, at, to)
        at = to
        continue
      }
      const next = this.#isPaused ? -1 : this.#frame(bytes, at, end)
      if (next < 0) {
        // Not in the pool of Buffer, where some bytes keep 8 KiB.
        this.#rest = Buffer.allocUnsafeSlow(end - at)
        bytes.copy(this.#rest, 0, at, end)
        return
      }
      at = next
    }
  }

  /** Parses a frame, or its beginning; returns where the next one starts, -1 if there is less than a header. */
  #frame(bytes: Buffer, at: number, end: number): number {
    if (end - at < 2) return -1
    const first = bytes[at]!
    const second = bytes[at + 1]!
    const opcode = first & OPCODE
    const problem = this.#problemOf(first, opcode, second)
    if (problem !== undefined) return this.#fail(1002, problem, end)
    let length = second & LENGTH
    let start = at + 2 + MASK_BYTES
    if (length > MAX_CONTROL) {
      start += length === 126 ? 2 : 8
      if (start - MASK_BYTES > end) return -1
      length = length === 126 ? bytes.readUInt16BE(at + 2) : readUInt64(bytes, at + 2)
    }
    if (opcode < CLOSE && length + (this.#partial?.length ?? 0) > this.#maxPayload)
      return this.#fail(1009, 'message too large', end)
    if (start > end) return -1
    const mask = bytes[start - 4]! | (bytes[start - 3]! << 8) | (bytes[start - 2]! << 16) | (bytes[start - 1]! << 24)
    const stop = start + length
    if (opcode >= CLOSE) {
      if (stop > end) return -1
      unmask(bytes, start, stop, mask)
      this.#control(opcode, bytes.subarray(start, stop))
      return stop
    }
    if (first === (FIN | opcode) && opcode !== CONTINUATION && stop <= end) {
      this.#deliver(opcode, bytes, start, stop, unmask(bytes, start, stop, mask))
      return stop
    }
    this.#partial ??= new PartialMessage(opcode === TEXT, (first & RSV1) !== 0)
    this.#partial.beginFrame(first >= FIN, length, mask)
    const to = Math.min(end, stop)
    this.#add(this.#partial, bytes, start, to)
    return to
  }

  /** The rule that the first two bytes of a frame break. */
  #problemOf(first: number, opcode: number, second: number): string | undefined {
    const mayCompress = this.#windowBits > 0 && (opcode === TEXT || opcode === BINARY)
    if ((first & (mayCompress ? RSV & ~RSV1 : RSV)) !== 0) return 'reserved bits'
    if (second < MASKED) return 'not masked'
    if (opcode > BINARY) {
      if (opcode < CLOSE || opcode > PONG) return 'unknown opcode'
      if (first < FIN) return 'fragmented control frame'
      if ((second & LENGTH) > MAX_CONTROL) return 'control frame too long'
      return undefined
    }
    if ((opcode === CONTINUATION) !== (this.#partial !== undefined)) return 'fragment out of order'
    return undefined
  }

  /** A whole message in one frame. */
  #deliver(opcode: number, bytes: Buffer, from: number, to: number, all: number): void {
    if (this.#isDiscarding) return
    if (opcode === BINARY) {
      const payload = Buffer.allocUnsafe(to - from)
      bytes.copy(payload, 0, from, to)
      this.#sink.onBinary(payload)
    } else if (all < 128) this.#sink.onText(bytes.toString('latin1', from, to), to - from)
    else if (isUtf8(bytes.subarray(from, to))) this.#sink.onText(bytes.toString('utf8', from, to), to - from)
    else this.#fail(1007, 'not UTF-8', to)
  }

  #control(opcode: number, payload: Buffer): void {
    if (opcode === PING) this.#sink.onPing(payload)
    else if (opcode === PONG) this.#sink.onPong()
    else this.#close(payload)
  }

  /** RFC 6455, section 5.5.1. */
  #close(payload: Buffer): void {
    const code = payload.length >= 2 ? payload.readUInt16BE() : 1005
    if (payload.length === 1 || (payload.length > 0 && !isCloseCode(code))) this.#fail(1002, 'bad close code', 0)
    else if (!isUtf8(payload.subarray(2))) this.#fail(1007, 'close reason is not UTF-8', 0)
    else {
      this.stop()
      this.#sink.onClose(code, payload.toString('utf8', 2))
    }
  }

  #add(partial: PartialMessage, bytes: Buffer, from: number, to: number): void {
    if (!partial.add(bytes, from, to)) this.#fail(1007, 'not UTF-8', to)
    else if (partial.remaining > 0) return
    else if (partial.isFinal) this.#finish(partial)
    else if (from === to) this.#sink.onEmptyFragment()
  }

  #finish(partial: PartialMessage): void {
    this.#partial = undefined
    if (this.#isDiscarding) return
    if (partial.isCompressed) this.#inflate(partial)
    else if (!partial.isText) this.#sink.onBinary(partial.payload)
    else if (!partial.isWhole) this.#fail(1007, 'not UTF-8', 0)
    else this.#sink.onText(partial.payload.toString(partial.isAscii ? 'latin1' : 'utf8'), partial.length)
  }

  #inflate(partial: PartialMessage): void {
    partial.append(FLUSH_END, 0, FLUSH_END.length)
    const payload = inflate(partial.payload, this.#windowBits, this.#maxPayload)
    if (payload === 1007) this.#fail(1007, 'not compressed data', 0)
    else if (payload === 1009) this.#fail(1009, 'message too large', 0)
    else if (!partial.isText) this.#sink.onBinary(payload)
    else if (isUtf8(payload)) this.#sink.onText(payload.toString(), payload.length)
    else this.#fail(1007, 'not UTF-8', 0)
  }

  #fail(code: 1002 | 1007 | 1009, why: string, next: number): number {
    this.stop()
    this.#sink.onInvalid(code, why)
    return next
  }
}

/** More than 2^53 becomes `Infinity`, which is beyond every limit. */
function readUInt64(bytes: Buffer, at: number): number {
  const high = bytes.readUInt32BE(at)
  return high > 0x1f_ffff ? Number.POSITIVE_INFINITY : high * 2 ** 32 + bytes.readUInt32BE(at + 4)
}
