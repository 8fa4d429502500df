import { carriesFile, type Frame, type Header, headerEnd, LENGTH_BYTES, MAX_PART, readHeader } from './frame.ts'

/** Pieces after which small ones are joined: each has a price of its own, however short it is. */
const MAX_PIECES = 1024
const NOTHING = Buffer.alloc(0)

/** Takes a stream apart into frames, however it is cut. What it has gathered is joined once, when a frame is whole. */
export class Parser {
  readonly #maxContent: number
  readonly #maxFile: number | undefined
  #pieces: Buffer[] = []
  /** Those in front have been joined already. */
  #joined = 0
  #size = 0
  /** Bytes without which there is nothing to do. */
  #needed = LENGTH_BYTES
  #header: Header | undefined
  #headerEnd = 0
  /** Bytes to come of a file that is not gathered. */
  #rest = 0

  /**
   * @param maxContent - bytes of one content.
   * @param maxFile - of one file: then files are not gathered. `next` gives their frames without a content, and `piece` that.
   */
  constructor(maxContent: number, maxFile?: number) {
    this.#maxContent = maxContent
    this.#maxFile = maxFile
  }

  /** A frame has begun, and its header is not whole. */
  get isInHeader(): boolean {
    return this.#size > 0 && this.#header === undefined && this.#rest === 0
  }

  /** Between two frames. */
  get isIdle(): boolean {
    return this.#size === 0 && this.#rest === 0
  }

  /** Bytes to come of the file whose frame `next` gave last. */
  get rest(): number {
    return this.#rest
  }

  push(chunk: Buffer): void {
    if (chunk.length === 0) return
    this.#pieces.push(chunk)
    this.#size += chunk.length
    if (this.#pieces.length - this.#joined >= MAX_PIECES)
      this.#pieces.push(Buffer.concat(this.#pieces.splice(this.#joined++)))
  }

  /**
   * The next frame; `undefined`: more bytes are needed, or those of a file come first.
   *
   * @throws Malformed, after which it is of no more use.
   */
  next(): Frame | undefined {
    while (this.#rest === 0 && this.#size >= this.#needed) {
      const bytes = this.#join()
      if (this.#header !== undefined) return this.#take(bytes, this.#header)
      this.#headerEnd = headerEnd(bytes)
      this.#needed = this.#headerEnd
      if (bytes.length < this.#headerEnd) return undefined
      const header = readHeader(bytes.subarray(LENGTH_BYTES, this.#headerEnd), this.#maxContent, this.#maxFile)
      if (this.#isStreamed(header)) return this.#open(bytes, header)
      this.#header = header
      this.#needed += header.contentLength
    }
    return undefined
  }

  /** Bytes of a file that is not gathered; `undefined`: none are there. */
  piece(): Buffer | undefined {
    if (this.#rest === 0 || this.#size === 0) return undefined
    const bytes = this.#join()
    const piece = bytes.subarray(0, this.#rest)
    this.#rest -= piece.length
    this.#keep(bytes.subarray(piece.length))
    return piece
  }

  /** A part is small, and needed as one. */
  #isStreamed(header: Header): boolean {
    if (this.#maxFile === undefined || !carriesFile(header)) return false
    return header.fields.offset === undefined || header.contentLength > MAX_PART
  }

  #open(bytes: Buffer, header: Header): Frame {
    const head = bytes.subarray(0, this.#headerEnd)
    this.#rest = header.contentLength
    this.#keep(bytes.subarray(this.#headerEnd))
    return { header, content: NOTHING, bytes: head }
  }

  #take(bytes: Buffer, header: Header): Frame {
    const content = bytes.subarray(this.#headerEnd, this.#needed)
    const frame = { header, content, bytes: bytes.subarray(0, this.#needed) }
    this.#keep(bytes.subarray(this.#needed))
    return frame
  }

  /** What is left, behind a frame or a piece. */
  #keep(rest: Buffer): void {
    this.#pieces = rest.length > 0 ? [rest] : []
    this.#joined = 0
    this.#size = rest.length
    this.#needed = LENGTH_BYTES
    this.#header = undefined
  }

  #join(): Buffer {
    if (this.#pieces.length > 1) this.#pieces = [Buffer.concat(this.#pieces)]
    this.#joined = 0
    return this.#pieces[0]!
  }
}
