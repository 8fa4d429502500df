import { MAX_PART } from '../../protocols/clever-show/frame.ts'
import { MessagingError } from './error.ts'
import type { SharedFiles, Upload } from './shared.ts'
import { type FileHash, fileHash } from './source.ts'

const MAX_BYTES = 64 * 1024 * 1024
/** Files that come at a time; of a further one's sake the one is forgotten that has not gone on for longest. */
const AT_A_TIME = 8

export interface BlobOptions {
  /** Gets a file of the server when it is whole and its hash is right; the server is told what it throws. */
  readonly take?: (file: { readonly filepath: string; readonly blob: Blob }) => unknown
  /** The file that the server asks for, part by part; `undefined`: there is none. */
  readonly give?: (filepath: string) => Promise<Blob | undefined> | Blob | undefined
  /** Bytes of one file of the server, which is in memory until it is whole; default 64 MiB. */
  readonly maxBytes?: number
}

interface Coming {
  readonly filepath: string
  readonly pieces: Uint8Array<ArrayBuffer>[]
  readonly hash: FileHash
  isTaken: boolean
}

/** Files in memory, for pages: `connectMessaging(url, { files: blobs({ take, give }) })`. */
export function blobs({ take, give, maxBytes = MAX_BYTES }: BlobOptions): SharedFiles {
  const coming = new Map<string, Coming>()
  /** What has been given, by its hash: whatever has the same is the same. */
  const hashes = new WeakMap<Blob, Promise<string>>()

  function check(size: number): void {
    if (!take) throw new MessagingError('off', 'this client takes no files')
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
      return coming.get(nameOf(upload))?.hash.size ?? 0
    },

    async take(upload, offset, bytes, sha256) {
      const { filepath, size } = upload
      check(size)
      const name = nameOf(upload)
      const file = coming.get(name) ?? { filepath, pieces: [], hash: fileHash(), isTaken: false }
      const { pieces, hash } = file
      if (offset !== hash.size) throw new MessagingError('offset', `the next part begins at ${hash.size}`)
      if (offset + bytes.length > size) throw new MessagingError('too-large', `the file has ${size} bytes`)
      coming.delete(name)
      coming.set(name, file)
      if (coming.size > AT_A_TIME) coming.delete(coming.keys().next().value!)
      keep(pieces, bytes)
      hash.add(bytes, offset)
      if (hash.size < size || file.isTaken) return
      // Who does not hear the answer says it again, and does not bring the file twice.
      file.isTaken = true
      // What had this path before may come again.
      for (const [other, before] of coming)
        if (before !== file && before.filepath === filepath && before.isTaken) coming.delete(other)
      try {
        if (hash.digest() !== sha256) throw new MessagingError('corrupt', `the file has the sha256 ${hash.digest()}`)
        await take!({ filepath, blob: new Blob(pieces.splice(0)) })
      } catch (error) {
        coming.delete(name)
        throw error
      }
    },

    save(filepath, bytes) {
      check(bytes.length)
      return take!({ filepath, blob: new Blob([bytes]) })
    },

    async read(filepath, offset, length) {
      const { blob, version } = await find(filepath)
      return { bytes: await bytesOf(blob, offset, length), size: blob.size, version }
    },

    async hash(filepath, version) {
      const { version: sha256 } = await find(filepath)
      if (sha256 !== version) throw new MessagingError('changed', 'the file has changed')
      return sha256
    },
  }
}

/** Copied, since a view would keep the whole frame; and small ones together, so that none costs more than its bytes. */
function keep(pieces: Uint8Array<ArrayBuffer>[], bytes: Uint8Array<ArrayBuffer>): void {
  const last = pieces.at(-1)
  const before = last && last.length + bytes.length <= MAX_PART ? last.length : 0
  const copy = new Uint8Array(before + bytes.length)
  if (before) copy.set(pieces.pop()!)
  copy.set(bytes, before)
  if (copy.length > 0) pieces.push(copy)
}

function nameOf({ filepath, key, size }: Upload): string {
  return JSON.stringify([filepath, key, size])
}

async function bytesOf(blob: Blob, start: number, length: number): Promise<Uint8Array> {
  return new Uint8Array(await blob.slice(start, start + length).arrayBuffer())
}

async function hashOf(blob: Blob): Promise<string> {
  const hash = fileHash()
  while (hash.size < blob.size) hash.add(await bytesOf(blob, hash.size, MAX_PART), hash.size)
  return hash.digest()
}
