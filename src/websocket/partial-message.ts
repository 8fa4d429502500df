import { rotate, unmask } from './mask.ts'
import { checkUtf8 } from './utf8.ts'

const MIN_CAPACITY = 64

/**
 * A message whose frames, or the bytes of one, arrive in pieces.
 *
 * It keeps copies, in a buffer that doubles: at most twice the bytes that have come, whatever length a header declares and
 * however small the pieces are.
 */
export class PartialMessage {
  readonly isText: boolean
  readonly isCompressed: boolean
  /** Whether the current frame is the last one. */
  isFinal = false
  /** Payload bytes of the current frame that have not come. */
  remaining = 0
  /** Bytes that have come. */
  length = 0
  isAscii = true
  #bytes = Buffer.alloc(0)
  #mask = 0
  /** Bytes that are whole UTF-8 characters. */
  #checked = 0

  constructor(isText: boolean, isCompressed: boolean) {
    this.isText = isText
    this.isCompressed = isCompressed
  }

  /** The payload so far. */
  get payload(): Buffer {
    return this.#bytes.subarray(0, this.length)
  }

  /** Whether the text does not end inside a character. */
  get isWhole(): boolean {
    return this.#checked === this.length
  }

  beginFrame(isFinal: boolean, length: number, mask: number): void {
    this.isFinal = isFinal
    this.remaining = length
    this.#mask = mask
  }

  /** Adds bytes of the current frame, which are unmasked in place. Returns false if they are not UTF-8. */
  add(bytes: Buffer, from: number, to: number): boolean {
    const count = to - from
    const all = unmask(bytes, from, to, this.#mask)
    this.#mask = rotate(this.#mask, count)
    this.remaining -= count
    this.append(bytes, from, to)
    if (!this.isText || this.isCompressed) return true
    const isAscii = all < 128
    if (!isAscii) this.isAscii = false
    // ASCII behind whole characters.
    if (isAscii && this.#checked === this.length - count) this.#checked = this.length
    else this.#checked = checkUtf8(this.#bytes, this.#checked, this.length)
    return this.#checked >= 0
  }

  /** Adds bytes that are not masked. */
  append(bytes: Buffer, from: number, to: number): void {
    const length = this.length + to - from
    if (length > this.#bytes.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(MIN_CAPACITY, 2 * this.length, length))
      this.#bytes.copy(larger, 0, 0, this.length)
      this.#bytes = larger
    }
    bytes.copy(this.#bytes, this.length, from, to)
    this.length = length
  }
}
