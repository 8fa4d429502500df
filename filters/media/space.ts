import { randomUUID } from 'node:crypto'
import { lstat, readdir, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { PART } from './part.ts'
import { Refused } from './refused.ts'

/** How long what was counted is taken for true; and before a refusal. */
const FRESH_MS = 60_000
const REFUSAL_FRESH_MS = 1000
/** What no process can still be writing: an upload without a chunk ends after seconds. */
const LEFTOVER_MS = 3_600_000

export interface SpaceOptions {
  /** Absolute. */
  readonly folder: string
  /** Files in it, those under way included. */
  readonly maxFiles: number
  /** Bytes in it, those promised to uploads under way included. */
  readonly quota: number
  readonly now: () => number
}

/** Room for one file: promised, then either taken or given back. */
export interface Reservation {
  /** Where the file is written until it is whole. */
  readonly part: string
  /** @throws Refused `quota`. */
  grow(bytes: number): void
  /** Gives it back; also twice. */
  release(): void
}

/** The room in a folder. Other processes may write there: it is counted anew now and then, and before anything is refused. */
export class Space {
  readonly #options: SpaceOptions
  readonly #own = new Map<string, { bytes: number }>()
  #files = 0
  #bytes = 0
  #countedAt = Number.NEGATIVE_INFINITY
  /** What must not overlap: counting, and the moment in which a part becomes a file. */
  #turn: Promise<unknown> = Promise.resolve()

  constructor(options: SpaceOptions) {
    this.#options = options
  }

  /** Files and bytes as the limits see them. */
  get used(): { readonly files: number; readonly bytes: number } {
    let bytes = this.#bytes
    for (const own of this.#own.values()) bytes += own.bytes
    return { files: this.#files + this.#own.size, bytes }
  }

  /** @throws Refused `count` or `quota`. */
  async reserve(bytes: number): Promise<Reservation> {
    await this.count(FRESH_MS)
    if (this.#refusal(1, bytes) !== undefined) await this.count(REFUSAL_FRESH_MS)
    const refusal = this.#refusal(1, bytes)
    if (refusal !== undefined) throw refusal
    const part = join(this.#options.folder, `${PART}${randomUUID()}`)
    const own = { bytes }
    this.#own.set(part, own)
    return {
      part,
      grow: more => {
        const refusal = this.#refusal(0, more)
        if (refusal !== undefined) throw refusal
        own.bytes += more
      },
      release: () => void this.#own.delete(part),
    }
  }

  /** Runs what makes a file of a part; the room promised to it is that of the file from then on. */
  take<T>({ part }: Reservation, place: () => Promise<T>): Promise<T> {
    return this.#alone(async () => {
      const result = await place()
      this.#files++
      this.#bytes += this.#own.get(part)!.bytes
      this.#own.delete(part)
      return result
    })
  }

  #refusal(files: number, bytes: number): Refused | undefined {
    const { maxFiles, quota } = this.#options
    const { used } = this
    if (used.files + files > maxFiles) return new Refused('count', `there are ${maxFiles} files, and no more are kept`)
    if (used.bytes + bytes > quota) return new Refused('quota', `no more than ${quota} bytes are kept in all`)
    return undefined
  }

  /** Looks what is there, unless that was done within so many ms; rejects as the system does. */
  count(fresh = 0): Promise<void> | undefined {
    const { now } = this.#options
    // A clock that was set back is no reason to wait for it.
    const isFresh = () => Math.abs(now() - this.#countedAt) < fresh
    if (isFresh()) return undefined
    return this.#alone(async () => {
      // By those who waited with us.
      if (isFresh()) return
      await this.#scan()
      this.#countedAt = now()
    })
  }

  async #scan(): Promise<void> {
    const { folder, now } = this.#options
    const sizes: number[] = []
    for (const name of await readdir(folder)) {
      const path = join(folder, name)
      if (this.#own.has(path)) continue
      const stats = await lstat(path).catch(() => undefined)
      if (!stats?.isFile()) continue
      if (name.startsWith(PART) && now() - stats.mtimeMs > LEFTOVER_MS) await unlink(path).catch(() => {})
      else sizes.push(stats.size)
    }
    this.#files = sizes.length
    this.#bytes = sizes.reduce((sum, size) => sum + size, 0)
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work)
    this.#turn = done.catch(() => {})
    return done
  }
}
