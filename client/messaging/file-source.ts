import { sha256 } from './sha256.ts'

/** A file to send, read in parts. */
export interface Source {
  /** Bytes. */
  readonly size: number
  /** Identifies the content, so that an upload can be resumed; 1 to 64 of A-Z a-z 0-9 _ -. */
  readonly key: string
  read(start: number, end: number): Promise<Uint8Array> | Uint8Array
}

/** Content of a file: a `File`, a `Blob`, bytes or a string. */
export type FileData = Blob | ArrayBuffer | Uint8Array | string

/** The upload of a `File` can be resumed by name, size and modification time; other data gets a random key. */
export function sourceOf(data: FileData | Source): Source {
  if (typeof data === 'object' && 'read' in data) return data
  const blob = data instanceof Blob ? data : new Blob([data as ArrayBuffer | string])
  const { size, name, lastModified } = blob as File
  return {
    size,
    key: name ? keyOf([name, size, lastModified]) : crypto.getRandomValues(new Uint32Array(4)).join('-'),
    read: (start, end) => readBlob(blob, start, end),
  }
}

export async function readBlob(blob: Blob, start: number, end: number): Promise<Uint8Array> {
  return new Uint8Array(await blob.slice(start, end).arrayBuffer())
}

/** The same key for the same values. */
export function keyOf(values: readonly unknown[]): string {
  const hash = fileHash()
  hash.add(new TextEncoder().encode(JSON.stringify(values)), 0)
  return hash.digest()
}

/** SHA-256 of a file whose parts come in order; parts may repeat. */
export interface FileHash {
  /** Bytes that are hashed. */
  readonly size: number
  /** @param offset - position of the bytes in the file, at most `size`. */
  add(bytes: Uint8Array, offset: number): void
  /** In hexadecimal; later bytes are not allowed. */
  digest(): string
}

export function fileHash(hash = sha256()): FileHash {
  let size = 0
  let digest: string | undefined
  return {
    get size() {
      return size
    },
    add(bytes, offset) {
      if (offset + bytes.length <= size) return
      hash.update(bytes.subarray(size - offset))
      size = offset + bytes.length
    },
    digest() {
      digest ??= hash.digest('hex')
      return digest
    },
  }
}
