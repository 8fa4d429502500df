import { type Frame, type Header, headerEnd, LENGTH_BYTES, readHeader } from './frame.ts'

/** Pieces after which small ones are joined: each has a price of its own, however short it is. */
const MAX_PIECES = 1024

/** Takes a stream apart into frames, however it is cut. What it has gathered is joined once, when a frame is whole. */
export class Parser {
  readonly #maxContent: number
  #pieces: Buffer[] = []
  /** Those in front have been joined already. */
  #joined = 0
  #size = 0
  /** Bytes without which there is nothing to do. */
  #needed = LENGTH_BYTES
  #header: Header | undefined
  #headerEnd = 0

  /** @param maxContent - bytes of one content. */
  constructor(maxContent: number) {
    this.#maxContent = maxContent
  }

  /** A frame has begun, and its header is not whole. */
  get isInHeader(): boolean {
    return this.#size > 0 && this.#header === undefined
  }

  /** Between two frames. */
  get isIdle(): boolean {
    return this.#size === 0
  }

  push(chunk: Buffer): void {
    if (chunk.length === 0) return
    this.#pieces.push(chunk)
    this.#size += chunk.length
    if (this.#pieces.length - this.#joined >= MAX_PIECES)
      this.#pieces.push(Buffer.concat(this.#pieces.splice(this.#joined++)))
  }

  /**
   * The next frame; `undefined`: more bytes are needed.
   *
   * @throws Malformed, after which it is of no more use.
   */
  next(): Frame | undefined {
    while (this.#size >= this.#needed) {
      const bytes = this.#join()
      if (this.#header !== undefined) return this.#take(bytes, this.#header)
      this.#headerEnd = headerEnd(bytes)
      this.#needed = this.#headerEnd
      if (bytes.length < this.#headerEnd) return undefined
      this.#header = readHeader(bytes.subarray(LENGTH_BYTES, this.#headerEnd), this.#maxContent)
      this.#needed += this.#header.contentLength
    }
    return undefined
  }

  #take(bytes: Buffer, header: Header): Frame {
    const frame = {
      header,
      content: bytes.subarray(this.#headerEnd, this.#needed),
      bytes: bytes.subarray(0, this.#needed),
    }
    const rest = bytes.subarray(this.#needed)
    this.#pieces = rest.length > 0 ? [rest] : []
    this.#joined = 0
    this.#size = rest.length
    this.#needed = LENGTH_BYTES
    this.#header = undefined
    return frame
  }

  #join(): Buffer {
    if (this.#pieces.length > 1) this.#pieces = [Buffer.concat(this.#pieces)]
    this.#joined = 0
    return this.#pieces[0]!
  }
}
