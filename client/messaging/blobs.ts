import { MAX_PART } from '../../protocols/clever-show/frame.ts'
import { MessagingError } from './error.ts'
import { type FileHash, fileHash, readBlob } from './file-source.ts'
import type { SharedFiles, UploadKey } from './shared-files.ts'

const MAX_BYTES = 64 * 1024 * 1024
/** Uploads in memory; the one that is idle for longest is evicted. */
const MAX_UPLOADS = 8

export interface BlobOptions {
  /** Accepts a file of the server, complete and with the right hash. An error is sent to the server. Default: no files. */
  readonly take?: (file: { readonly filepath: string; readonly blob: Blob }) => unknown
  /** The file at a path, called for each part that the server requests; `undefined`: no such file. Default: no files. */
  readonly give?: (filepath: string) => Promise<Blob | undefined> | Blob | undefined
  /** Bytes of one file of the server, which is in memory until it is complete. Default: 64 MiB. */
  readonly maxBytes?: number
}

interface IncomingFile {
  readonly filepath: string
  readonly parts: Uint8Array<ArrayBuffer>[]
  readonly hash: FileHash
  /** All bytes were received; a resend of the last part has no effect. */
  isAccepted: boolean
}

/** Files in memory. */
export function blobs({ take, give, maxBytes = MAX_BYTES }: BlobOptions): SharedFiles {
  const uploads = new Map<string, IncomingFile>()
  /** The hash of a Blob is its version. */
  const hashes = new WeakMap<Blob, Promise<string>>()

  function check(size: number): void {
    if (!take) throw new MessagingError('off', 'this client accepts no files')
    if (size > maxBytes) throw new MessagingError('too-large', `a file has at most ${maxBytes} bytes, received ${size}`)
  }

  async function find(filepath: string): Promise<{ readonly blob: Blob; readonly version: string }> {
    const blob = await give?.(filepath)
    if (!blob) throw new MessagingError('missing', 'there is no such file')
    const hash = hashes.get(blob) ?? hashOf(blob)
    hashes.set(blob, hash)
    return { blob, version: await hash }
  }

  return {
    find(upload) {
      check(upload.size)
      return uploads.get(nameOf(upload))?.hash.size ?? 0
    },

    async take(upload, offset, bytes, sha256) {
      const { filepath, size } = upload
      check(size)
      const name = nameOf(upload)
      const file = uploads.get(name) ?? { filepath, parts: [], hash: fileHash(), isAccepted: false }
      const { parts, hash } = file
      if (offset !== hash.size) throw new MessagingError('offset', `the next part begins at ${hash.size}`)
      if (offset + bytes.length > size) throw new MessagingError('too-large', `the file has ${size} bytes`)
      uploads.delete(name)
      uploads.set(name, file)
      if (uploads.size > MAX_UPLOADS) uploads.delete(uploads.keys().next().value!)
      append(parts, bytes)
      hash.add(bytes, offset)
      if (hash.size < size || file.isAccepted) return
      file.isAccepted = true
      // An earlier file with this path may be sent again.
      for (const [other, before] of uploads)
        if (before !== file && before.filepath === filepath && before.isAccepted) uploads.delete(other)
      try {
        if (hash.digest() !== sha256) throw new MessagingError('corrupt', `the file has the sha256 ${hash.digest()}`)
        await take!({ filepath, blob: new Blob(parts.splice(0)) })
      } catch (error) {
        uploads.delete(name)
        throw error
      }
    },

    save(filepath, bytes) {
      check(bytes.length)
      return take!({ filepath, blob: new Blob([bytes]) })
    },

    async read(filepath, offset, length) {
      const { blob, version } = await find(filepath)
      return { bytes: await readBlob(blob, offset, offset + length), size: blob.size, version }
    },

    async hash(filepath, version) {
      const { version: sha256 } = await find(filepath)
      if (sha256 !== version) throw new MessagingError('changed', 'the file has changed')
      return sha256
    },
  }
}

/** Copies bytes, as a view would retain its frame. Small parts are joined, so that each costs no more than its bytes. */
function append(parts: Uint8Array<ArrayBuffer>[], bytes: Uint8Array<ArrayBuffer>): void {
  const last = parts.at(-1)
  const before = last && last.length + bytes.length <= MAX_PART ? last.length : 0
  const copy = new Uint8Array(before + bytes.length)
  if (before) copy.set(parts.pop()!)
  copy.set(bytes, before)
  if (copy.length > 0) parts.push(copy)
}

function nameOf({ filepath, key, size }: UploadKey): string {
  return JSON.stringify([filepath, key, size])
}

async function hashOf(blob: Blob): Promise<string> {
  const hash = fileHash()
  while (hash.size < blob.size) hash.add(await readBlob(blob, hash.size, hash.size + MAX_PART), hash.size)
  return hash.digest()
}
