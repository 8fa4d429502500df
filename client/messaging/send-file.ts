import { FILE, MAX_PART } from '../../protocols/clever-show/frame.ts'
import { MessagingError } from './error.ts'
import { type FileData, fileHash, type Source, sourceOf } from './file-source.ts'
import { MAX_CONTENT } from './format.ts'
import { byteCount, type Call, pipeline, type TransferContext, type TransferOptions, withRetries } from './transfer.ts'

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
  const { size, key: sourceKey, read } = sourceOf(data)
  const { key = sourceKey, onProgress } = options
  const hash = fileHash(context.hash?.())
  let [furthest, offsetErrors] = [0, 0]

  async function readPart(start: number, end: number): Promise<Uint8Array> {
    options.signal?.throwIfAborted()
    const bytes = await read(start, end)
    hash.add(bytes, start)
    return bytes
  }

  async function* parts(call: Call, offset: number) {
    // The hash includes the parts that an earlier process has sent.
    while (hash.size < offset) await readPart(hash.size, Math.min(hash.size + MAX_PART, offset))
    for (let [start, end] = [offset, -1]; end < size; start = end) {
      end = Math.min(start + MAX_PART, size)
      const bytes = await readPart(start, end)
      const fields = { filepath, key, offset: start, size, ...(end === size && { sha256: hash.digest() }) }
      const sent = end
      yield async () => {
        await call('message', FILE, {}, { fields, bytes })
        return sent
      }
    }
  }

  async function sendWhole(call: Call): Promise<void> {
    if (size > MAX_CONTENT)
      throw new MessagingError('too-large', `this server accepts at most ${MAX_CONTENT} bytes, not ${size}`)
    const bytes = await readPart(0, size)
    await call('message', FILE, {}, { fields: { filepath }, bytes })
    onProgress?.({ bytes: size, size })
  }

  async function run(call: Call): Promise<void> {
    const upload = await call('request', 'fws.part', { filepath, size, key }).catch(error => {
      if (error.code !== 'unknown') throw error
    })
    if (upload === undefined) return sendWhole(call)
    const offset = byteCount(Object(upload.value).offset, size)
    await pipeline(parts(call, offset), bytes => {
      if (bytes > furthest) [furthest, offsetErrors] = [bytes, 0]
      onProgress?.({ bytes, size })
    })
  }

  await withRetries(context, options, code => code === 'offset' && ++offsetErrors < MAX_OFFSET_ERRORS, run)
  return { bytes: size, sha256: hash.digest() }
}
