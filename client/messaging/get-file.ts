import { partsGetter, type Version } from '../../protocols/clever-show/transfer.ts'
import type { MessagingError } from './error.ts'
import { type FileHash, fileHash } from './file-source.ts'
import { type TransferContext, type TransferOptions, withRetries } from './transfer.ts'

export type { Version } from '../../protocols/clever-show/transfer.ts'

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
  const newHash = () => fileHash(context.hash?.())
  let hash = newHash()
  let [changes, isKept] = [0, true]
  const target = {
    get size() {
      return hash.size
    },
    begin(file: Version) {
      hash = newHash()
      return sink.begin(file, hash)
    },
    async write(bytes: Uint8Array<ArrayBuffer>) {
      options.signal?.throwIfAborted()
      await sink.write(bytes)
      hash.add(bytes, hash.size)
    },
    sha256: () => hash.digest(),
  }

  try {
    await withRetries(
      context,
      options,
      code => code === 'changed' && ++changes < 2,
      server => partsGetter(server, filepath, target, options),
    )
    return await sink.finish()
  } catch (error) {
    isKept = (error as MessagingError).code !== 'corrupt'
    throw error
  } finally {
    await sink.close?.(isKept)
  }
}
