import { FileError, FileHashes, type FileStore, type FileWrite, OwnerLimiter } from 'filtered-websocket/kit'
import { Writers } from './writers.ts'

/** Files of a server or a client, and the limits of their transfers. */
export class Store {
  readonly files: FileStore
  /** Transfers at a time. */
  readonly transfers: OwnerLimiter
  readonly writers = new Writers()
  /** Of files that others ask for. */
  readonly hashes = new FileHashes()
  /** Of received files: clients that ask for hashes of large files do not delay them. */
  readonly checks = new FileHashes()
  /** Bytes of one received file. */
  readonly maxFile: number
  /** Milliseconds in which a transfer must make progress. */
  readonly idleTimeout: number

  constructor(
    files: FileStore,
    limits: { maxTransfers: number; share?: number; maxFile: number; idleTimeout: number },
  ) {
    const { maxTransfers, share = 1, maxFile, idleTimeout } = limits
    this.files = files
    this.transfers = new OwnerLimiter(maxTransfers, Math.max(1, Math.floor(maxTransfers * share)), 'files')
    this.maxFile = maxFile
    this.idleTimeout = idleTimeout
  }
}

export interface Plan {
  /** Writes a path alone; files of one writer wait for each other. */
  readonly writer: object
  /** Quota owner, whose share of the transfers and of the room it takes. Default: no share. */
  readonly owner?: unknown
  readonly filepath: string
  /** Bytes of the whole file. */
  readonly size: number
  /** Name of a part that may exist, and then goes on. Default: a new part. */
  readonly part?: string
}

/** A file that is being received: it has its room, its path and its place among the transfers until it ends. */
export class Writing {
  readonly file: FileWrite
  readonly plan: Plan
  readonly #store: Store
  readonly #release: () => void
  readonly #leave: () => void

  private constructor(store: Store, plan: Plan, file: FileWrite, release: () => void, leave: () => void) {
    this.#store = store
    this.plan = plan
    this.file = file
    this.#release = release
    this.#leave = leave
  }

  /** @throws (rejects) FileError; LimitError; errors of the system */
  static async begin(store: Store, plan: Plan): Promise<Writing> {
    const { writer, owner, filepath, size, part } = plan
    if (size > store.maxFile) throw new FileError('too-large', `a file has at most ${store.maxFile} bytes`)
    await store.files.root.check(filepath)
    const release = await store.writers.enter(writer, filepath)
    let leave = () => {}
    try {
      leave = store.transfers.enter(owner)
      const file = await store.files.begin({ bytes: size, owner, ...(part !== undefined && { part }) })
      return new Writing(store, plan, file, release, leave)
    } catch (error) {
      leave()
      release()
      throw error
    }
  }

  /** All bytes have arrived: another transfer may begin. */
  filled(): void {
    this.#leave()
  }

  /** @throws (rejects) FileError `corrupt`: the file has another hash. */
  async verify(sha256: string, signal?: AbortSignal): Promise<void> {
    const found = await this.#store.checks.of(await this.file.written(), signal)
    if (found !== sha256) throw new FileError('corrupt', `the file has the sha256 ${found}, not ${sha256}`)
  }

  /** Puts the file in its place, in one step. After an error it still has to end. */
  async place(): Promise<void> {
    await this.file.commit(this.plan.filepath)
    await this.end(true)
  }

  /** Further calls have no effect. Never rejects. @param isKept - keeps the part, until it is too old. */
  async end(isKept: boolean): Promise<void> {
    await this.file.end(isKept)
    this.#leave()
    this.#release()
  }
}
