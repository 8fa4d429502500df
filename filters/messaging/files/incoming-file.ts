import { FileError, type FileWrite } from 'filtered-websocket/kit'
import type { Store } from './store.ts'

export interface Plan {
  /** Writes a path alone; files of one writer wait for each other. */
  readonly writer: object
  /** Quota owner: the file counts in its shares of the transfers and of the quota. Default: no share. */
  readonly owner?: unknown
  readonly filepath: string
  /** Bytes of the whole file. */
  readonly size: number
  /** Name of a part that may exist, and is then continued. Default: a new part. */
  readonly part?: string
}

/** A file that is being received. It occupies quota, its path and a transfer until it ends. */
export class IncomingFile {
  readonly write: FileWrite
  readonly filepath: string
  readonly #store: Store
  readonly #release: () => void
  readonly #leave: () => void

  private constructor(store: Store, filepath: string, write: FileWrite, release: () => void, leave: () => void) {
    this.#store = store
    this.filepath = filepath
    this.write = write
    this.#release = release
    this.#leave = leave
  }

  /** @throws (rejects) FileError; LimitError; errors of the system */
  static async begin(store: Store, { writer, owner, filepath, size, part }: Plan): Promise<IncomingFile> {
    if (size > store.maxFile) throw new FileError('too-large', `a file has at most ${store.maxFile} bytes`)
    await store.files.root.check(filepath)
    const release = await store.writers.enter(writer, filepath)
    let leave = () => {}
    try {
      leave = store.transfers.enter(owner)
      const write = await store.files.begin({ bytes: size, owner, ...(part !== undefined && { part }) })
      return new IncomingFile(store, filepath, write, release, leave)
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
    const found = await this.#store.checks.of(await this.write.written(), signal)
    if (found !== sha256) throw new FileError('corrupt', `the file has the sha256 ${found}, not ${sha256}`)
  }

  /** Gives the file its name, in one step. After an error `end` MUST follow. */
  async commit(): Promise<void> {
    await this.write.commit(this.filepath)
    await this.end(true)
  }

  /** Further calls have no effect. Never rejects. @param isKept - keeps the part, until it is too old. */
  async end(isKept: boolean): Promise<void> {
    await this.write.end(isKept)
    this.#leave()
    this.#release()
  }
}
