import { randomUUID } from 'node:crypto'
import { FileFailed } from './failed.ts'
import type { Hashes } from './hashes.ts'
import type { Root } from './root.ts'
import { SharedFile } from './shared-file.ts'
import type { Space } from './space.ts'
import { Temp } from './temp.ts'
import type { Transfers } from './transfers.ts'

/** Where files are, and what bounds them. */
export interface Store {
  readonly root: Root
  readonly space: Space
  readonly transfers: Transfers
  /** Of files that others ask for. */
  readonly hashes: Hashes
  /** Of files that come: whoever asks for the hashes of large ones does not hold them up. */
  readonly checks: Hashes
  /** Bytes of one file that is received. */
  readonly maxFile: number
  /** Milliseconds in which a transfer must go on. */
  readonly idleTimeout: number
}

export interface Plan {
  /** Writes a path alone; files of one owner wait for each other. */
  readonly owner: object
  /** Whose share of the places and of the room it takes; left out: nobody's. */
  readonly by?: unknown
  readonly filepath: string
  /** Bytes of the whole. */
  readonly size: number
  /** The name of a part that is there, perhaps; left out: begins anew. */
  readonly part?: string
}

/** A file that is being written: it has its room, its path and its place among those at a time until it ends. */
export class Writing {
  readonly temp: Temp
  readonly plan: Plan
  readonly #store: Store
  readonly #release: () => void
  readonly #leave: () => void

  private constructor(store: Store, plan: Plan, temp: Temp, release: () => void, leave: () => void) {
    this.#store = store
    this.plan = plan
    this.temp = temp
    this.#release = release
    this.#leave = leave
  }

  /** @throws FileFailed; what the system says. */
  static async begin(store: Store, plan: Plan): Promise<Writing> {
    const { owner, by, filepath, size, part = `once-${randomUUID()}` } = plan
    if (size > store.maxFile) throw new FileFailed('too-large', `a file has at most ${store.maxFile} bytes`)
    await store.root.check(filepath)
    const release = await store.transfers.write(owner, filepath)
    let leave = () => {}
    let temp: Temp | undefined
    try {
      leave = store.transfers.enter(by)
      temp = await Temp.open(store.root, part)
      await store.space.promise(part, size, temp.size, by)
      return new Writing(store, plan, temp, release, leave)
    } catch (error) {
      if (temp?.size === 0) await temp.discard()
      else await temp?.close()
      leave()
      release()
      throw error
    }
  }

  /** All of it is there: others may begin. */
  filled(): void {
    this.#leave()
  }

  /** @throws FileFailed `corrupt`: it is not what it should be. */
  async verify(sha256: string, signal?: AbortSignal): Promise<void> {
    const found = await this.#store.checks.of(await SharedFile.of(this.temp.handle), signal)
    if (found !== sha256) throw new FileFailed('corrupt', `the file has the sha256 ${found}, not ${sha256}`)
  }

  /** Puts it in its place, in one step. After a failure it still has to end. */
  async place(): Promise<void> {
    const { root, space } = this.#store
    await this.temp.complete()
    await space.take(this.temp.name, () => root.place(this.temp.name, this.plan.filepath))
    await this.end(true)
  }

  /** @param isKept - what is there of it stays, for as long as parts stay. Also twice; never rejects. */
  async end(isKept: boolean): Promise<void> {
    if (isKept) await this.temp.close()
    else await this.temp.discard()
    this.#store.space.release(this.temp.name, isKept ? this.temp.size : 0)
    this.#leave()
    this.#release()
  }
}
