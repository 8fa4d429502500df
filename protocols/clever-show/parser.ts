import type { Bytes } from './bytes.ts'
import { carriesFile, type Frame, type Header, headerEnd, LENGTH_BYTES, MAX_PART, readHeader } from './frame.ts'
import type { Limits } from './json.ts'

/** Pieces after which they are joined, as each piece has an overhead. */
const MAX_PIECES = 1024

/** Bytes of a header that is stored for the next request. */
const MAX_KEPT = 256

/** A frame of a stream. A file that is streamed is not in its content. */
export type ParsedFrame<B extends Uint8Array> = Frame<B> & { readonly bytes: B }

/** Splits a stream into frames. The pieces of a frame are joined once, when it is complete. */
export class Parser<B extends Uint8Array> {
  readonly #bytes: Pick<Bytes<B>, 'concat'>
  readonly #limits: Limits
  readonly #streamsFiles: boolean
  #pieces: B[] = []
  /** Pieces in front that are joined already. */
  #joined = 0
  #size = 0
  /** Bytes that the next step needs. */
  #needed = LENGTH_BYTES
  #header: Header | undefined
  #headerEnd = 0
  /** The header of the last request: it has no id, so requests with contents of one length have the same. */
  #lastHeader: Header | undefined
  #lastBytes = new Uint8Array()
  /** Bytes to come of a streamed file. */
  #rest = 0

  /** @param streamsFiles - `next` returns the frames of files without their content, and `piece` returns the content. */
  constructor(bytes: Pick<Bytes<B>, 'concat'>, limits: Limits, streamsFiles = false) {
    this.#bytes = bytes
    this.#limits = limits
    this.#streamsFiles = streamsFiles
  }

  /** A frame has begun, and its header is not complete. */
  get isInHeader(): boolean {
    return this.#size > 0 && this.#header === undefined && this.#rest === 0
  }

  /** Between two frames. */
  get isIdle(): boolean {
    return this.#size === 0 && this.#rest === 0
  }

  /** Bytes to come of the streamed file that `next` returned last. */
  get rest(): number {
    return this.#rest
  }

  push(chunk: B): void {
    if (chunk.length === 0) return
    this.#pieces.push(chunk)
    this.#size += chunk.length
    if (this.#pieces.length - this.#joined >= MAX_PIECES)
      this.#pieces.push(this.#bytes.concat(this.#pieces.splice(this.#joined++)))
  }

  /**
   * The next frame; `undefined`: more bytes are needed, or the rest of a streamed file comes first.
   *
   * @throws Malformed. The parser cannot be used afterwards.
   */
  next(): ParsedFrame<B> | undefined {
    while (this.#rest === 0 && this.#size >= this.#needed) {
      const bytes = this.#join()
      if (this.#header !== undefined) return this.#frame(bytes, this.#header)
      this.#headerEnd = headerEnd(bytes)
      this.#needed = this.#headerEnd
      if (bytes.length < this.#headerEnd) return undefined
      const header = this.#readHeader(bytes.subarray(LENGTH_BYTES, this.#headerEnd))
      if (this.#isStreamed(header)) return this.#open(bytes, header)
      this.#header = header
      this.#needed += header['content-length']
    }
    return undefined
  }

  /** Bytes of a streamed file; `undefined`: more are needed. */
  piece(): B | undefined {
    if (this.#rest === 0 || this.#size === 0) return undefined
    const bytes = this.#join()
    const piece = bytes.subarray(0, this.#rest) as B
    this.#rest -= piece.length
    this.#keep(bytes.subarray(piece.length) as B)
    return piece
  }

  #readHeader(bytes: Uint8Array): Header {
    if (this.#lastHeader !== undefined && isEqual(bytes, this.#lastBytes)) return this.#lastHeader
    const header = readHeader(bytes, this.#limits)
    if (header['message-type'] === 'request' && bytes.length <= MAX_KEPT) {
      this.#lastHeader = header
      // A copy, as a view would retain its chunk.
      this.#lastBytes = new Uint8Array(bytes)
    }
    return header
  }

  /** A part is small, and is needed completely. */
  #isStreamed(header: Header): boolean {
    if (!this.#streamsFiles || !carriesFile(header)) return false
    return header.offset === undefined || header['content-length'] > MAX_PART
  }

  #open(bytes: B, header: Header): ParsedFrame<B> {
    this.#rest = header['content-length']
    this.#keep(bytes.subarray(this.#headerEnd) as B)
    return { header, content: bytes.subarray(0, 0) as B, bytes: bytes.subarray(0, this.#headerEnd) as B }
  }

  #frame(bytes: B, header: Header): ParsedFrame<B> {
    const content = bytes.subarray(this.#headerEnd, this.#needed) as B
    const frame = { header, content, bytes: bytes.subarray(0, this.#needed) as B }
    this.#keep(bytes.subarray(this.#needed) as B)
    return frame
  }

  /** Keeps the bytes after a frame or a piece. */
  #keep(rest: B): void {
    this.#pieces = rest.length > 0 ? [rest] : []
    this.#joined = 0
    this.#size = rest.length
    this.#needed = LENGTH_BYTES
    this.#header = undefined
  }

  #join(): B {
    if (this.#pieces.length > 1) this.#pieces = [this.#bytes.concat(this.#pieces)]
    this.#joined = 0
    return this.#pieces[0]!
  }
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}
