import { randomUUID } from 'node:crypto'
import { constants } from 'node:fs'
import { lstat, mkdir, realpath, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { type OpenFile, openInside } from '../open-inside.ts'
import { optionError } from '../option-error.ts'
import { FileError } from './file-error.ts'
import { namesIn, PART, PARTS } from './path.ts'
import { placeNew } from './place.ts'
import { StoredFile } from './stored-file.ts'

const FOLDER = constants.O_RDONLY | constants.O_DIRECTORY

/** Where incomplete files are: in the folder `.fws-parts`, or next to the others under names that begin with `.part-`. */
export type Parts = 'folder' | 'prefix'

/** The folder that has all files of a store. Links are not followed, even if a folder is replaced by one meanwhile. */
export class FileRoot {
  /** Absolute, without links. */
  readonly path: string
  readonly #parts: Parts

  private constructor(path: string, parts: Parts) {
    this.path = path
    this.#parts = parts
  }

  /**
   * @param option - names the option in the error.
   * @throws (rejects) Error `ERR_OPTION`: the folder does not exist, or is not a folder.
   */
  static async open(path: string, option: string, parts: Parts = 'folder'): Promise<FileRoot> {
    try {
      const root = new FileRoot(await realpath(path), parts)
      await root.within([], async () => {})
      return root
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      throw optionError(`${option} takes a folder that exists: ${code}, received "${path}"`)
    }
  }

  /** A name for a new incomplete file. */
  newPart(): string {
    return this.#parts === 'folder' ? `once-${randomUUID()}` : `${PART}${randomUUID()}`
  }

  /** Whether the file of this name in a folder, by real path, is incomplete. */
  isPart(folder: string, name: string): boolean {
    return folder === this.partsPath && (this.#parts === 'folder' || name.startsWith(PART))
  }

  /** Folder of the incomplete files; it may not exist. */
  get partsPath(): string {
    return this.#parts === 'folder' ? join(this.path, PARTS) : this.path
  }

  /** Runs a function in an open folder below the root. @throws (rejects) errors of the system */
  async within<T>(names: readonly string[], run: (folder: OpenFile) => Promise<T>): Promise<T> {
    const folder = await openInside(this.path, names, { flags: FOLDER, links: 'none' })
    try {
      return await run(folder)
    } finally {
      await folder.handle.close()
    }
  }

  /** The same in the folder of incomplete files, which is made if it does not exist. */
  async withinParts<T>(run: (folder: OpenFile) => Promise<T>): Promise<T> {
    if (this.#parts === 'prefix') return this.within([], run)
    await this.within([], async ({ entry }) => {
      await mkdir(`${entry}/${PARTS}`, { mode: 0o700 }).catch(unless('EEXIST'))
    })
    return this.within([PARTS], run)
  }

  /** A file to be read, which the caller closes. @throws (rejects) FileError `path`; errors of the system */
  async file(filepath: unknown): Promise<StoredFile> {
    const { handle } = await openInside(this.path, namesIn(filepath), { links: 'none' })
    try {
      return await StoredFile.of(handle)
    } catch (error) {
      await handle.close()
      throw error
    }
  }

  /**
   * Moves a complete file from the parts to its path, and writes the folder to the disk.
   *
   * @param replaces - whether a file at that path is replaced.
   * @returns bytes of the file that was replaced; `undefined`: there was no file.
   * @throws (rejects) FileError `path`, `exists`; errors of the system
   */
  async place(part: string, filepath: string, replaces: boolean): Promise<number | undefined> {
    const names = namesIn(filepath)
    return this.within(names.slice(0, -1), ({ entry, handle }) =>
      this.withinParts(async parts => {
        const [from, to] = [`${parts.entry}/${part}`, `${entry}/${names.at(-1)}`]
        const replaced = replaces ? await sizeAt(to) : undefined
        if (replaces) await rename(from, to)
        else if (!(await placeNew(from, to))) throw new FileError('exists', 'a file of this name exists')
        await handle.sync()
        return replaced
      }),
    )
  }

  /** Checks before the bytes arrive that a file can be placed there. @throws (rejects) FileError `path`; errors of the system */
  async check(filepath: unknown): Promise<void> {
    const names = namesIn(filepath)
    await this.within(names.slice(0, -1), ({ entry }) => sizeAt(`${entry}/${names.at(-1)}`))
  }
}

/** `undefined`: there is nothing. @throws (rejects) FileError `path`: there is a link or a folder */
async function sizeAt(path: string): Promise<number | undefined> {
  const stats = await lstat(path).catch(unless('ENOENT'))
  if (stats?.isFile() === false) throw new FileError('path', 'the path is not a regular file')
  return stats?.size
}

/** Ignores errors of one code. */
export function unless(code: string): (error: unknown) => undefined {
  return error => {
    if ((error as NodeJS.ErrnoException).code !== code) throw error
    return undefined
  }
}
