import { lstat } from 'node:fs/promises'
import { PartFile } from './part-file.ts'
import { FileRoot, type Parts, unless } from './root.ts'
import { Space, type SpaceOptions } from './space.ts'
import { StoredFile } from './stored-file.ts'

export interface FileStoreOptions extends SpaceOptions {
  /** Where incomplete files are. Default: `folder`. */
  readonly parts?: Parts
}

export interface WriteOptions {
  /** Bytes of the complete file, as far as they are known. */
  readonly bytes: number
  /** Name of a part that may exist, and then goes on. Default: a new part. */
  readonly part?: string
  /** Owner of the share of free bytes that it uses. Default: no share. */
  readonly owner?: unknown
}

/**
 * A folder of files that clients write and read, within limits. A file has its name when it is complete and on the disk;
 * until then it is a part, which is deleted when it is too old.
 *
 * @example
 * const store = await FileStore.open(path, '--notes-root', { quota: 1e9, partAge: 3_600_000 })
 * const write = await store.begin({ bytes: content.length })
 * try {
 *   await write.append(content)
 *   await write.commit('today.txt')
 * } finally {
 *   await write.end(false)
 * }
 */
export class FileStore {
  readonly root: FileRoot
  readonly space: Space

  private constructor(root: FileRoot, options: FileStoreOptions) {
    this.root = root
    this.space = new Space(root, options)
  }

  /**
   * @param option - names the option in the error.
   * @throws (rejects) Error `ERR_OPTION`: the folder does not exist, or is not a folder.
   */
  static async open(path: string, option: string, options: FileStoreOptions): Promise<FileStore> {
    return new FileStore(await FileRoot.open(path, option, options.parts), options)
  }

  /** Absolute, without links. */
  get path(): string {
    return this.root.path
  }

  /** Creates and deletes a part. @throws (rejects) errors of the system: the folder cannot be written. */
  async probe(): Promise<void> {
    const file = new PartFile(this.root, this.root.newPart())
    await file.open()
    await file.discard()
  }

  /** Deletes parts that are too old. @throws (rejects) errors of the system */
  clean(): Promise<void> {
    return this.space.clean()
  }

  /** Bytes of a part; 0: it does not exist. @throws (rejects) errors of the system */
  async partSize(part: string): Promise<number> {
    const stats = await this.root.withinParts(({ entry }) => lstat(`${entry}/${part}`).catch(unless('ENOENT')))
    return stats?.size ?? 0
  }

  /** A file to be read, which the caller closes. @throws (rejects) FileError `path`; errors of the system */
  file(filepath: unknown): Promise<StoredFile> {
    return this.root.file(filepath)
  }

  /** Opens a file, and closes it after `use`. @throws (rejects) as `file`; the error of `use` */
  async withFile<T>(filepath: unknown, use: (file: StoredFile) => Promise<T>): Promise<T> {
    const file = await this.file(filepath)
    try {
      return await use(file)
    } finally {
      await file.close()
    }
  }

  /** Begins a file, which has room until it ends. @throws (rejects) FileError `full`, `count`, `busy`; errors of the system */
  async begin({ bytes, part, owner }: WriteOptions): Promise<FileWrite> {
    const file = new PartFile(this.root, part ?? this.root.newPart())
    try {
      if (part !== undefined) await file.resume()
      await this.space.reserve(file.name, bytes, file.size, owner)
    } catch (error) {
      if (file.size === 0) await file.discard()
      else await file.close()
      throw error
    }
    return new FileWrite(this, file)
  }
}

/** A file that is being written. */
export class FileWrite {
  readonly #store: FileStore
  readonly #file: PartFile
  #isPlaced = false
  #isOver = false

  constructor(store: FileStore, file: PartFile) {
    this.#store = store
    this.#file = file
  }

  /** Bytes that are written. */
  get size(): number {
    return this.#file.size
  }

  /** Writes at the end. Calls MUST NOT overlap. @throws (rejects) errors of the system, with the bytes as before */
  append(bytes: Buffer): Promise<void> {
    return this.#file.append(bytes)
  }

  /** Writes over the beginning, as for a header with the final size. */
  overwrite(bytes: Buffer): Promise<void> {
    return this.#file.overwrite(bytes)
  }

  /** Reserves more bytes. @throws FileError `full` */
  grow(bytes: number): void {
    this.#store.space.grow(this.#file.name, bytes)
  }

  /** What is written, to be read. It is closed by `end`. */
  async written(): Promise<StoredFile> {
    return StoredFile.of(await this.#file.open())
  }

  /** Writes the bytes to the disk, as `commit` does unless that was done. */
  complete(): Promise<void> {
    return this.#file.complete()
  }

  /**
   * Gives the file its name, in one step. `end` MUST follow, also after an error.
   *
   * @param replaces - whether a file of that name is replaced. Default: true.
   * @throws (rejects) FileError `path`, `exists`; errors of the system
   */
  async commit(filepath: string, replaces = true): Promise<void> {
    const { root, space } = this.#store
    const { name } = this.#file
    await this.#file.complete()
    await space.take(name, () => root.place(name, filepath, replaces))
    this.#isPlaced = true
  }

  /** Ends the write; further calls have no effect. Never rejects. @param isKept - keeps the part of an incomplete file. */
  async end(isKept: boolean): Promise<void> {
    if (this.#isOver) return
    this.#isOver = true
    if (isKept || this.#isPlaced) await this.#file.close()
    else await this.#file.discard()
    this.#store.space.release(this.#file.name, isKept ? this.#file.size : 0)
  }
}
