import type { Dirent } from 'node:fs'
import { lstat, readdir, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { FileFailed } from './failed.ts'
import { PARTS } from './path.ts'
import { type Root, unless } from './root.ts'

/** Milliseconds for which what was counted is taken for true; and before a refusal. */
const FRESH = 60_000
const REFUSAL_FRESH = 1000

interface Promised {
  readonly bytes: number
  readonly by: unknown
}

export interface SpaceOptions {
  readonly root: Root
  /** Bytes under the root, those promised to files under way included. */
  readonly quota: number
  /** Of the room that is free, how much all files of one sender that are under way may take beside the first: 1 is all, the default. */
  readonly share?: number
  /** Milliseconds that a file which is not whole is kept after its last byte. */
  readonly partAge: number
  readonly now?: () => number
}

/** The room under the root. Others may write there: it is counted anew now and then, and before anything is refused. */
export class Space {
  readonly #options: Required<SpaceOptions>
  /** Promised, by the name of the part. */
  readonly #promised = new Map<string, Promised>()
  #bytes = 0
  #countedAt = Number.NEGATIVE_INFINITY
  /** What must not overlap: counting, and the moment in which a part becomes a file. */
  #turn: Promise<unknown> = Promise.resolve()

  constructor(options: SpaceOptions) {
    this.#options = { now: Date.now, share: 1, ...options }
  }

  /** Bytes as the limit sees them. */
  get used(): number {
    let used = this.#bytes
    for (const { bytes } of this.#promised.values()) used += bytes
    return used
  }

  /**
   * Promises room for a part that will have so many bytes.
   *
   * @param there - bytes of them that are there.
   * @param by - whose share it is of; left out: nobody's.
   * @throws FileFailed `full`; `busy`: too much is promised to files of this one.
   */
  async promise(part: string, bytes: number, there: number, by?: unknown): Promise<void> {
    const { quota } = this.#options
    const lacks = () => this.used + bytes - there > quota
    await this.count(FRESH)
    if (lacks()) await this.count(REFUSAL_FRESH)
    if (lacks()) throw new FileFailed('full', `no more than ${quota} bytes are kept in all`)
    if (this.#isGreedy(by, bytes - there))
      throw new FileFailed('busy', 'files of this client that are under way wait for much of the room, try again later')
    this.#bytes = Math.max(0, this.#bytes - there)
    this.#promised.set(part, { bytes, by })
  }

  /** Who only announces must not keep others out. */
  #isGreedy(by: unknown, bytes: number): boolean {
    const { quota, share } = this.#options
    let own = 0
    if (by !== undefined) for (const promised of this.#promised.values()) if (promised.by === by) own += promised.bytes
    return own > 0 && own + bytes > (quota - this.used + own) * share
  }

  /** Takes the promise back; also twice. @param there - bytes that stay. */
  release(part: string, there: number): void {
    if (this.#promised.delete(part)) this.#bytes += there
  }

  /** Runs what makes a file of a part, and answers how many bytes that has replaced. */
  take(part: string, place: () => Promise<number>): Promise<void> {
    return this.#alone(async () => {
      const replaced = await place()
      this.release(part, (this.#promised.get(part)?.bytes ?? 0) - replaced)
    })
  }

  /** Forgets parts that are too old. Rejects as the system does, but for a folder that is not there. */
  async clean(): Promise<void> {
    const folder = join(this.#options.root.path, PARTS)
    for (const name of (await readdir(folder).catch(unless('ENOENT'))) ?? [])
      await this.#bytesOf(join(folder, name), name)
  }

  /** Looks what is there, unless that was done within so many ms, and forgets parts that are too old. Rejects as the system does. */
  async count(fresh = 0): Promise<void> {
    // A clock that was set back is no reason to wait for it.
    const isFresh = () => Math.abs(this.#options.now() - this.#countedAt) < fresh
    if (isFresh()) return
    await this.#alone(async () => {
      // By those who waited with us.
      if (isFresh()) return
      this.#bytes = await this.#bytesIn(this.#options.root.path)
      this.#countedAt = this.#options.now()
    })
  }

  async #bytesIn(folder: string): Promise<number> {
    let bytes = 0
    for (const entry of await readdir(folder, { withFileTypes: true }).catch(() => [] as Dirent[])) {
      const path = join(folder, entry.name)
      if (entry.isDirectory()) bytes += await this.#bytesIn(path)
      else if (entry.isFile()) bytes += await this.#bytesOf(path, entry.name)
    }
    return bytes
  }

  async #bytesOf(path: string, name: string): Promise<number> {
    const { root, partAge, now } = this.#options
    const isPart = path === join(root.path, PARTS, name)
    if (isPart && this.#promised.has(name)) return 0
    const stats = await lstat(path).catch(() => undefined)
    if (stats === undefined) return 0
    if (!isPart || now() - stats.mtimeMs <= partAge) return stats.size
    await unlink(path).catch(() => {})
    return 0
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work)
    this.#turn = done.catch(() => {})
    return done
  }
}
