import type { Dirent } from 'node:fs'
import { lstat, readdir, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { SerialQueue } from '../serial-queue.ts'
import { FileError } from './file-error.ts'
import { type FileRoot, unless } from './root.ts'

/** Milliseconds for which a count is valid; and before a refusal. */
const FRESH = 60_000
const REFUSAL_FRESH = 1000

interface Reserved {
  bytes: number
  readonly owner: unknown
}

export interface SpaceOptions {
  /** Bytes of all files, with those reserved. */
  readonly quota: number
  /** Number of all files, with those reserved. Default: no limit. */
  readonly maxFiles?: number
  /** Share of the free bytes that all files of one owner may reserve, except for its first: above 0, at most 1. Default: 1. */
  readonly share?: number
  /** Milliseconds that an incomplete file is kept after its last byte. */
  readonly partAge: number
  /** Milliseconds since 1970; for tests. */
  readonly now?: () => number
}

/** Bytes and files of a root. Other processes may write there: they are counted again now and then, and before a refusal. */
export class Space {
  readonly #root: FileRoot
  readonly #options: Required<SpaceOptions>
  /** By the name of the part. */
  readonly #reserved = new Map<string, Reserved>()
  #files = 0
  #bytes = 0
  #countedAt = Number.NEGATIVE_INFINITY
  /** Counting must not overlap with the moment in which a part becomes a file. */
  readonly #queue = new SerialQueue()

  constructor(root: FileRoot, options: SpaceOptions) {
    this.#root = root
    this.#options = { now: Date.now, share: 1, maxFiles: Number.POSITIVE_INFINITY, ...options }
  }

  /** Files and bytes, with those reserved. */
  get used(): { readonly files: number; readonly bytes: number } {
    let bytes = this.#bytes
    for (const reserved of this.#reserved.values()) bytes += reserved.bytes
    return { files: this.#files + this.#reserved.size, bytes }
  }

  /**
   * Reserves room for a part.
   *
   * @param bytes - of the complete file.
   * @param existing - bytes that the part has already.
   * @param owner - owner of the share; `undefined`: no share.
   * @throws (rejects) FileError `full`, `count`; `busy`: the owner has reserved too much.
   */
  async reserve(part: string, bytes: number, existing = 0, owner?: unknown): Promise<void> {
    await this.count(FRESH)
    const files = existing > 0 ? 0 : 1
    if (this.#refusal(files, bytes - existing) !== undefined) {
      // A file that is being placed may replace another, and so free room.
      await this.#queue.settled
      await this.count(REFUSAL_FRESH)
    }
    const refusal = this.#refusal(files, bytes - existing)
    if (refusal !== undefined) throw refusal
    if (this.#exceedsShare(owner, bytes - existing))
      throw new FileError(
        'busy',
        'the unfinished files of this client reserve too much of the free space, try again later',
      )
    this.#add(existing > 0 ? -1 : 0, -existing)
    this.#reserved.set(part, { bytes, owner })
  }

  /** Reserves more for a part. @throws FileError `full` */
  grow(part: string, bytes: number): void {
    const refusal = this.#refusal(0, bytes)
    if (refusal !== undefined) throw refusal
    this.#reserved.get(part)!.bytes += bytes
  }

  /** Ends a reservation; further calls have no effect. @param kept - bytes that the part keeps. */
  release(part: string, kept = 0): void {
    if (this.#reserved.delete(part)) this.#add(kept > 0 ? 1 : 0, kept)
  }

  /** Runs `place`, which makes a file of a part and returns the bytes of the file that it has replaced. */
  async take(part: string, place: () => Promise<number | undefined>): Promise<void> {
    await this.#queue.run(async () => {
      const replaced = await place()
      const { bytes } = this.#reserved.get(part)!
      this.#reserved.delete(part)
      this.#add(replaced === undefined ? 1 : 0, bytes - (replaced ?? 0))
    })
  }

  /** Deletes incomplete files that are too old. @throws (rejects) errors of the system */
  async clean(): Promise<void> {
    const folder = this.#root.partsPath
    for (const name of (await readdir(folder).catch(unless('ENOENT'))) ?? []) await this.#sizeOf(folder, name)
  }

  /** Counts, unless that was done within `fresh` milliseconds, and deletes incomplete files that are too old. */
  async count(fresh = 0): Promise<void> {
    // A clock may be set back.
    const isFresh = () => Math.abs(this.#options.now() - this.#countedAt) < fresh
    if (isFresh()) return
    await this.#queue.run(async () => {
      // Another caller may have counted meanwhile.
      if (isFresh()) return
      const total = { files: 0, bytes: 0 }
      await this.#countIn(this.#root.path, total)
      this.#files = total.files
      this.#bytes = total.bytes
      this.#countedAt = this.#options.now()
    })
  }

  #refusal(files: number, bytes: number): FileError | undefined {
    const { maxFiles, quota } = this.#options
    const { used } = this
    if (used.files + files > maxFiles) return new FileError('count', `the folder has ${maxFiles} files, the maximum`)
    if (used.bytes + bytes > quota) return new FileError('full', `all files together have at most ${quota} bytes`)
    return undefined
  }

  /** An owner that only announces files must not keep others out. */
  #exceedsShare(owner: unknown, bytes: number): boolean {
    const { quota, share } = this.#options
    let own = 0
    if (owner !== undefined)
      for (const reserved of this.#reserved.values()) if (reserved.owner === owner) own += reserved.bytes
    return own > 0 && own + bytes > (quota - this.used.bytes + own) * share
  }

  #add(files: number, bytes: number): void {
    this.#files = Math.max(0, this.#files + files)
    this.#bytes = Math.max(0, this.#bytes + bytes)
  }

  async #countIn(folder: string, total: { files: number; bytes: number }): Promise<void> {
    for (const entry of await readdir(folder, { withFileTypes: true }).catch(() => [] as Dirent[])) {
      if (entry.isDirectory()) await this.#countIn(join(folder, entry.name), total)
      const size = entry.isFile() ? await this.#sizeOf(folder, entry.name) : undefined
      if (size === undefined) continue
      total.files++
      total.bytes += size
    }
  }

  /** `undefined` for a part that has a reservation, and for one that is deleted. */
  async #sizeOf(folder: string, name: string): Promise<number | undefined> {
    const { partAge, now } = this.#options
    const isPart = this.#root.isPart(folder, name)
    if (isPart && this.#reserved.has(name)) return undefined
    const path = join(folder, name)
    const stats = await lstat(path).catch(() => undefined)
    if (!stats?.isFile()) return undefined
    if (!isPart || now() - stats.mtimeMs <= partAge) return stats.size
    await unlink(path).catch(() => {})
    return undefined
  }
}
