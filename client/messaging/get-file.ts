import { FILE, MAX_PART } from '../../protocols/clever-show/frame.ts'
import { pulledPartIn } from '../../protocols/clever-show/part.ts'
import { MessagingError } from './error.ts'
import { type FileHash, fileHash } from './file-source.ts'
import { type Call, pipeline, type TransferContext, type TransferOptions, withRetries } from './transfer.ts'

/** State of a file on the server. */
export interface Version {
  /** Bytes. */
  readonly size: number
  /** Changes with the file; empty when the server has no versions. */
  readonly version: string
}

/** Receives a file, in this order: `begin`, `write` for each part, `finish`. */
export interface Sink<T> {
  /**
   * Begins a file, or its new version, which replaces earlier parts.
   *
   * @param hash - gets the bytes that already exist; the transfer continues after them.
   */
  begin(file: Version, hash: FileHash): Promise<void> | void
  write(bytes: Uint8Array<ArrayBuffer>): unknown
  /** The file is complete and has the right hash. @returns the value for the caller. */
  finish(): Promise<T> | T
  /**
   * Called last, also after an error.
   *
   * @param isKept - whether another transfer may continue with the received bytes.
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

function blobSink(): Sink<Blob> {
  let parts: Uint8Array<ArrayBuffer>[]
  return {
    begin() {
      parts = []
    },
    write: bytes => parts.push(bytes),
    finish: () => new Blob(parts),
  }
}

/** Gets a file in parts and resumes after a reconnect; in one response from a server that does not know parts. */
export async function getFile<T = Blob>(
  context: TransferContext,
  filepath: string,
  { into: sink = blobSink() as Sink<never>, ...options }: GetFileOptions<T>,
): Promise<T> {
  let file: Version | undefined
  let hash = fileHash(context.hash?.())
  let begun = 0
  let isKept = true

  async function getPart(call: Call, offset: number, version?: string): Promise<Part> {
    const kwargs = { filepath, offset, length: MAX_PART, version }
    const { content: bytes, header = {} } = await call('request', FILE, kwargs)
    if (!bytes) throw new MessagingError('failed', `the response is not the file "${filepath}"`)
    try {
      return { bytes, ...(pulledPartIn(header).part ?? { offset: 0, size: bytes.length, version: '' }) }
    } catch (error) {
      throw new MessagingError('failed', (error as Error).message)
    }
  }

  async function accept({ bytes, version, offset, size }: Part): Promise<void> {
    options.signal?.throwIfAborted()
    if (version !== file!.version) throw new MessagingError('changed', `"${filepath}" has changed meanwhile`)
    if (offset !== hash.size || offset + bytes.length > size || (bytes.length === 0 && offset < size))
      throw new MessagingError('failed', `expected the part of "${filepath}" at ${hash.size}, received ${offset}`)
    await sink.write(bytes)
    hash.add(bytes, offset)
    options.onProgress?.({ bytes: hash.size, size })
  }

  async function* parts(call: Call) {
    const { size, version } = file!
    for (let next = hash.size; next < size; next += MAX_PART) {
      const offset = next
      yield () => getPart(call, offset, version)
    }
  }

  async function run(call: Call): Promise<T> {
    const first = await getPart(call, hash.size).catch(error => {
      // The file was replaced by a shorter one.
      if (error.code === 'offset') return getPart(call, 0)
      throw error
    })
    const { version, size } = first
    if (!version || version !== file?.version) {
      begun++
      file = { version, size }
      hash = fileHash(context.hash?.())
      await sink.begin(file, hash)
    }
    // After a resume the sink may have further parts.
    if (first.offset === hash.size) await accept(first)
    await pipeline(parts(call), accept)
    if (version) {
      const { value } = await call('request', 'fws.hash', { filepath, version })
      isKept = Object(value).sha256 === hash.digest()
      if (!isKept) throw new MessagingError('corrupt', `the received bytes of "${filepath}" have another sha256`)
    }
    return sink.finish()
  }

  try {
    return await withRetries(context, options, code => code === 'changed' && begun < 2, run)
  } finally {
    await sink.close?.(isKept)
  }
}
