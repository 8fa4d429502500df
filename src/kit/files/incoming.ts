import { createHash } from 'node:crypto'
import { LimitError, type OwnerLimiter } from '../limiter.ts'
import { FileError } from './file-error.ts'
import { FileHashes } from './hashes.ts'
import type { FileStore, FileWrite } from './store.ts'

export interface IncomingFilesOptions {
  readonly store: FileStore
  /** Files at a time; outgoing ones may count too. */
  readonly limiter: OwnerLimiter
  /** Bytes of one file. */
  readonly maxFile: number
}

export interface IncomingPlan {
  readonly filepath: string
  /** Bytes of the complete file. */
  readonly size: number
  /** Name of a part that may exist, and then goes on. Default: a new part. */
  readonly part?: string
  /** Owner of the shares of concurrent files and of free bytes that it uses. Default: no share. */
  readonly owner?: unknown
  /** Files of one writer to one path wait for each other; those of two writers are refused. Default: no writer, neither waits. */
  readonly writer?: object
}

/**
 * Files that a store receives, within limits.
 *
 * @example
 * const incoming = new IncomingFiles({ store, limiter: new OwnerLimiter(64, 8, 'files'), maxFile: 1e9 })
 * const file = await incoming.begin({ filepath: 'a.csv', size: content.length })
 * try {
 *   await file.append(content)
 *   await file.commit()
 * } finally {
 *   await file.end(false)
 * }
 */
export class IncomingFiles {
  readonly store: FileStore
  readonly #limiter: OwnerLimiter
  readonly #maxFile: number
  readonly #hashes = new FileHashes()
  /** By path. */
  readonly #writers = new Map<string, { readonly writer: object; readonly ended: Promise<void> }>()

  constructor({ store, limiter, maxFile }: IncomingFilesOptions) {
    this.store = store
    this.#limiter = limiter
    this.#maxFile = maxFile
  }

  /**
   * Begins a file, which occupies its path, its bytes of the quota and one of the files at a time until it ends.
   *
   * @throws (rejects) FileError `path`, `too-large`, `full`, `busy`; LimitError; errors of the system
   */
  async begin({ filepath, size, part, owner, writer }: IncomingPlan): Promise<IncomingFile> {
    if (size > this.#maxFile) throw new FileError('too-large', `a file has at most ${this.#maxFile} bytes`)
    await this.store.root.check(filepath)
    const release = writer === undefined ? () => {} : await this.#reserve(filepath, writer)
    let leave = () => {}
    try {
      leave = this.#limiter.enter(owner)
      const write = await this.store.begin({ bytes: size, owner, ...(part !== undefined && { part }) })
      return new IncomingFile(filepath, write, this.#hashes, leave, release)
    } catch (error) {
      leave()
      release()
      throw error
    }
  }

  /** Whether the file at a path has this hash; not if it cannot be read. @throws (rejects) LimitError */
  async has(filepath: string, sha256: string): Promise<boolean> {
    try {
      return (await this.store.withFile(filepath, file => this.#hashes.of(file))) === sha256
    } catch (error) {
      if (error instanceof LimitError) throw error
      return false
    }
  }

  /** @returns releases the path; further calls have no effect. */
  async #reserve(filepath: string, writer: object): Promise<() => void> {
    for (let other = this.#writers.get(filepath); other !== undefined; other = this.#writers.get(filepath)) {
      if (other.writer !== writer) throw new FileError('busy', 'another client writes this file, try again later')
      await other.ended
    }
    let end = () => {}
    const ended = new Promise<void>(resolve => {
      end = resolve
    })
    const own = { writer, ended }
    this.#writers.set(filepath, own)
    return () => {
      if (this.#writers.get(filepath) === own) this.#writers.delete(filepath)
      end()
    }
  }
}

/** A file that is being received. */
export class IncomingFile {
  readonly filepath: string
  readonly #write: FileWrite
  readonly #hashes: FileHashes
  readonly #release: () => void
  /** All bytes have arrived: another file may begin. */
  readonly filled: () => void

  constructor(filepath: string, write: FileWrite, hashes: FileHashes, filled: () => void, release: () => void) {
    this.filepath = filepath
    this.#write = write
    this.#hashes = hashes
    this.filled = filled
    this.#release = release
  }

  /** Bytes that are written. */
  get size(): number {
    return this.#write.size
  }

  /** Writes at the end. Calls MUST NOT overlap. @throws (rejects) errors of the system, with the bytes as before */
  append(bytes: Buffer): Promise<void> {
    return this.#write.append(bytes)
  }

  /** The hash of the written bytes in hexadecimal. @throws (rejects) LimitError; the signal's reason. */
  async sha256(signal?: AbortSignal): Promise<string> {
    return this.#hashes.of(await this.#write.written(), signal)
  }

  /** Gives the file its name, in one step. `end` MUST follow, also after an error. */
  commit(): Promise<void> {
    return this.#write.commit(this.filepath)
  }

  /** Ends the file; further calls have no effect. Never rejects. @param isKept - keeps the part of an incomplete file. */
  async end(isKept: boolean): Promise<void> {
    await this.#write.end(isKept)
    this.filled()
    this.#release()
  }
}

/** A name for a part, the same for the same values, which it does not reveal. */
export function partName(kind: string, values: readonly unknown[]): string {
  return `${kind}-${createHash('sha256').update(JSON.stringify(values)).digest('hex').slice(0, 40)}`
}
