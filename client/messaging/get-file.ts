import { FILE, MAX_PART } from '../../protocols/clever-show/frame.ts'
import { pulledPartIn } from '../../protocols/clever-show/part.ts'
import { MessagingError } from './error.ts'
import { type FileHash, fileHash } from './source.ts'
import { type Ask, inOrder, type Line, steadily, type TransferOptions } from './transfer.ts'

/** A file as it was when it was asked for. */
export interface Version {
  /** Bytes. */
  readonly size: number
  /** Another one as soon as the file has changed; empty: nobody knows. */
  readonly version: string
}

/** Where a file goes that is got. */
export interface Sink<T> {
  /**
   * The file begins, or another version of it, in the place of what there was.
   *
   * @param hash - takes what is there of it already; behind that it goes on.
   */
  begin(file: Version, hash: FileHash): Promise<void> | void
  write(bytes: Uint8Array<ArrayBuffer>): unknown
  /** It is whole, and what it should be. */
  finish(): Promise<T> | T
  /**
   * The end, whatever has become of it.
   *
   * @param isKept - what is there may be gone on with.
   */
  close?(isKept: boolean): Promise<void>
}

export interface GetFileOptions<T> extends TransferOptions {
  /** Default: a `Blob`. */
  readonly into?: Sink<T>
}

interface Part extends Version {
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly offset: number
}

/** A `Blob`. */
function inMemory(): Sink<Blob> {
  let pieces: Uint8Array<ArrayBuffer>[]
  return {
    begin() {
      pieces = []
    },
    write: bytes => pieces.push(bytes),
    finish: () => new Blob(pieces),
  }
}

/** Gets a file in parts, goes on where it was when the connection breaks; of the original the whole in one answer. */
export async function getFile<T = Blob>(
  line: Line,
  filepath: string,
  { into: sink = inMemory() as Sink<never>, ...options }: GetFileOptions<T>,
): Promise<T> {
  let file: Version | undefined
  let hash = fileHash(line.hash?.())
  let begun = 0
  let isKept = true

  async function part(ask: Ask, at: number, version?: string): Promise<Part> {
    const kwargs = { filepath, offset: at, length: MAX_PART, version }
    const { content: bytes, header = {} } = await ask('request', FILE, kwargs)
    if (!bytes) throw new MessagingError('failed', `the answer is no file "${filepath}"`)
    try {
      return { bytes, ...(pulledPartIn(header).part ?? { offset: 0, size: bytes.length, version: '' }) }
    } catch (error) {
      throw new MessagingError('failed', (error as Error).message)
    }
  }

  async function take({ bytes, version, offset, size }: Part): Promise<void> {
    options.signal?.throwIfAborted()
    if (version !== file!.version) throw new MessagingError('changed', `"${filepath}" has changed meanwhile`)
    if (offset !== hash.size || offset + bytes.length > size || (bytes.length === 0 && offset < size))
      throw new MessagingError('failed', `there is a part of "${filepath}" from ${hash.size} on, received ${offset}`)
    await sink.write(bytes)
    hash.add(bytes, offset)
    options.onProgress?.({ bytes: hash.size, size })
  }

  async function* parts(ask: Ask) {
    const { size, version } = file!
    for (let at = hash.size; at < size; at += MAX_PART) {
      const start = at
      yield () => part(ask, start, version)
    }
  }

  async function run(ask: Ask): Promise<T> {
    const first = await part(ask, hash.size).catch(error => {
      // Another file has its place, a shorter one.
      if (error.code === 'offset') return part(ask, 0)
      throw error
    })
    const { version, size } = first
    if (!version || version !== file?.version) {
      begun++
      file = { version, size }
      hash = fileHash(line.hash?.())
      await sink.begin(file, hash)
    }
    // Before, it may have come further.
    if (first.offset === hash.size) await take(first)
    await inOrder(parts(ask), take)
    if (version) {
      const { value } = await ask('request', 'fws.hash', { filepath, version })
      isKept = Object(value).sha256 === hash.digest()
      if (!isKept) throw new MessagingError('corrupt', `"${filepath}" has another sha256 than what has come of it`)
    }
    return sink.finish()
  }

  try {
    return await steadily(line, options, code => code === 'changed' && begun < 2, run)
  } finally {
    await sink.close?.(isKept)
  }
}
