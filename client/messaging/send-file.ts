import { MAX_PART } from '../../protocols/clever-show/frame.ts'
import { sendParts } from '../../protocols/clever-show/transfer.ts'
import type { MessagingError } from './error.ts'
import { type FileData, fileHash, type Source, sourceOf } from './file-source.ts'
import { MAX_CONTENT } from './format.ts'
import { type TransferContext, type TransferOptions, withRetries } from './transfer.ts'

export interface SendFileOptions extends TransferOptions {
  /** Identifies the upload, so that this client can resume it; 1 to 64 of A-Z a-z 0-9 _ -. Default: the key of the source. */
  readonly key?: string
}

/** Errors `offset` in a row without progress after which the upload fails. */
const MAX_OFFSET_ERRORS = 5

/** The file on the server. */
export interface SentFile {
  readonly bytes: number
  /** In hexadecimal. */
  readonly sha256: string
}

/** Sends a file in parts and resumes after a reconnect; in one frame to a server that does not know parts. */
export async function sendFile(
  context: TransferContext,
  data: FileData | Source,
  filepath: string,
  options: SendFileOptions,
): Promise<SentFile> {
  const source = sourceOf(data)
  const { size } = source
  const { key = source.key, onProgress, signal } = options
  const hash = fileHash(context.hash?.())
  let [furthest, offsetErrors] = [0, 0]

  async function read(start: number, end: number): Promise<Uint8Array> {
    // The hash includes the parts that an earlier process has sent.
    while (hash.size < start) await read(hash.size, Math.min(hash.size + MAX_PART, start))
    signal?.throwIfAborted()
    const bytes = await source.read(start, end)
    hash.add(bytes, start)
    return bytes
  }

  const file = {
    filepath,
    size,
    key,
    read,
    sha256: hash.digest,
    onProgress(progress: { readonly bytes: number; readonly size: number }) {
      if (progress.bytes > furthest) [furthest, offsetErrors] = [progress.bytes, 0]
      onProgress?.(progress)
    },
  }

  await withRetries(
    context,
    options,
    code => code === 'offset' && ++offsetErrors < MAX_OFFSET_ERRORS,
    server => async () => {
      try {
        await sendParts(server, file)
      } catch (error) {
        if ((error as MessagingError).code !== 'unknown') throw error
        if (size > MAX_CONTENT)
          throw new server.Failed('too-large', `this server accepts at most ${MAX_CONTENT} bytes, not ${size}`)
        await server.push({ filepath }, await read(0, size))
        onProgress?.({ bytes: size, size })
      }
    },
  )
  return { bytes: size, sha256: hash.digest() }
}
