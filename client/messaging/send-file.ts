import { FILE, MAX_PART } from '../../protocols/clever-show/frame.ts'
import { MessagingError } from './error.ts'
import { MAX_CONTENT } from './format.ts'
import { type FileData, fileHash, type Source, sourceOf } from './source.ts'
import { type Ask, countIn, inOrder, type Line, steadily, type TransferOptions } from './transfer.ts'

export interface SendFileOptions extends TransferOptions {
  /** Names the upload, 1 to 64 of A-Z a-z 0-9 _ -: one that was begun goes on under its name, by the same client. */
  readonly key?: string
}

/** Times in a row that the server may want another part, without a byte more than it ever had. */
const MAX_TURNS = 5

/** What has arrived. */
export interface SentFile {
  readonly bytes: number
  /** In hexadecimal. */
  readonly sha256: string
}

/** Sends a file in parts, goes on where it was when the connection breaks. */
export async function sendFile(
  line: Line,
  data: FileData | Source,
  filepath: string,
  options: SendFileOptions,
): Promise<SentFile> {
  const { size, key: known, read } = sourceOf(data)
  const { key = known, onProgress } = options
  const hash = fileHash(line.hash?.())
  let [furthest, turns] = [0, 0]

  async function piece(start: number, end: number): Promise<Uint8Array> {
    options.signal?.throwIfAborted()
    const bytes = await read(start, end)
    hash.add(bytes, start)
    return bytes
  }

  async function* parts(ask: Ask, offset: number) {
    // What another run of the client has sent has to be in the hash too.
    while (hash.size < offset) await piece(hash.size, Math.min(hash.size + MAX_PART, offset))
    for (let [start, end] = [offset, -1]; end < size; start = end) {
      end = Math.min(start + MAX_PART, size)
      const bytes = await piece(start, end)
      const fields = { filepath, key, offset: start, size, ...(end === size && { sha256: hash.digest() }) }
      const there = end
      yield async () => {
        await ask('message', FILE, {}, { fields, bytes })
        return there
      }
    }
  }

  async function sendWhole(ask: Ask): Promise<void> {
    if (size > MAX_CONTENT)
      throw new MessagingError('too-large', `this server takes files of ${MAX_CONTENT} bytes, not of ${size}`)
    const bytes = await piece(0, size)
    await ask('message', FILE, {}, { fields: { filepath }, bytes })
    onProgress?.({ bytes: size, size })
  }

  async function run(ask: Ask): Promise<void> {
    const begun = await ask('request', 'fws.part', { filepath, size, key }).catch(error => {
      if (error.code !== 'unknown') throw error
    })
    if (begun === undefined) return sendWhole(ask)
    const offset = countIn(Object(begun.value).offset, size)
    await inOrder(parts(ask, offset), bytes => {
      if (bytes > furthest) [furthest, turns] = [bytes, 0]
      onProgress?.({ bytes, size })
    })
  }

  await steadily(line, options, code => code === 'offset' && ++turns < MAX_TURNS, run)
  return { bytes: size, sha256: hash.digest() }
}
