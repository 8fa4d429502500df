import { sha256 } from './sha256.ts'

/** What a file is read from: of a `File`, a `Blob` and what is like them only the piece that is under way is in memory. */
export interface Source {
  /** Bytes. */
  readonly size: number
  /** Names what is in it, so that an upload of it can go on later; 1 to 64 of A-Z a-z 0-9 _ -. */
  readonly key: string
  read(start: number, end: number): Promise<Uint8Array> | Uint8Array
}

/** What is sent as a file: a `File`, a `Blob`, bytes or a text. */
export type FileData = Blob | ArrayBuffer | Uint8Array | string

/** A `File` is known by its name, size and time; anything else only as long as this lasts. */
export function sourceOf(data: FileData | Source): Source {
  if (typeof data === 'object' && 'read' in data) return data
  const blob = data instanceof Blob ? data : new Blob([data as ArrayBuffer | string])
  const { size, name, lastModified } = blob as File
  return {
    size,
    key: name ? keyOf([name, size, lastModified]) : crypto.getRandomValues(new Uint32Array(4)).join('-'),
    read: async (start, end) => new Uint8Array(await blob.slice(start, end).arrayBuffer()),
  }
}

/** The same for the same. */
export function keyOf(what: readonly unknown[]): string {
  const hash = fileHash()
  hash.add(new TextEncoder().encode(JSON.stringify(what)), 0)
  return hash.digest()
}

/** The hash of a whole file whose pieces come in order, some of them again. */
export interface FileHash {
  /** Bytes that are in it. */
  readonly size: number
  /** @param at - where they stand in the file: at most at `size`. */
  add(bytes: Uint8Array, at: number): void
  /** In hexadecimal; nothing can be added any more. */
  digest(): string
}

export function fileHash(hash = sha256()): FileHash {
  let size = 0
  let digest: string | undefined
  return {
    get size() {
      return size
    },
    add(bytes, at) {
      if (at + bytes.length <= size) return
      hash.update(bytes.subarray(size - at))
      size = at + bytes.length
    },
    digest() {
      digest ??= hash.digest('hex')
      return digest
    },
  }
}
