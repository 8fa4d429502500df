import { constants } from 'node:fs'
import { lstat, mkdir, realpath, rename } from 'node:fs/promises'
import { type OpenFile, openInside, optionError } from 'filtered-websocket/kit'
import { FileFailed } from './failed.ts'
import { namesIn, PARTS } from './path.ts'
import { SharedFile } from './shared-file.ts'

const FOLDER = constants.O_RDONLY | constants.O_DIRECTORY

/** The folder that holds all files. Links are not followed, also if a folder becomes one meanwhile. */
export class Root {
  /** Absolute, without links. */
  readonly path: string

  private constructor(path: string) {
    this.path = path
  }

  /** @throws Error `ERR_OPTION`: it is no folder, or not there. */
  static async open(path: string): Promise<Root> {
    try {
      const root = new Root(await realpath(path))
      await root.within([], async () => {})
      return root
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      throw optionError(`--messaging-root takes a folder that exists: ${code}, received "${path}"`)
    }
  }

  /** Runs a function in an open folder below the root. @throws errors of the system. */
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
    await this.within([], async ({ entry }) => {
      await mkdir(`${entry}/${PARTS}`, { mode: 0o700 }).catch(unless('EEXIST'))
    })
    return this.within([PARTS], run)
  }

  /** A file to be read, which the caller closes. @throws FileFailed `path`; errors of the system. */
  async file(filepath: unknown): Promise<SharedFile> {
    const { handle } = await openInside(this.path, namesIn(filepath), { links: 'none' })
    try {
      return await SharedFile.of(handle)
    } catch (error) {
      await handle.close()
      throw error
    }
  }

  /**
   * Moves a complete file from the parts to its path; a file that exists there is replaced.
   *
   * @returns bytes of the file that was replaced.
   * @throws FileFailed `path`; errors of the system.
   */
  async place(part: string, filepath: string): Promise<number> {
    const names = namesIn(filepath)
    return this.within(names.slice(0, -1), ({ entry, handle }) =>
      this.withinParts(async parts => {
        const replaced = await sizeAt(`${entry}/${names.at(-1)}`)
        await rename(`${parts.entry}/${part}`, `${entry}/${names.at(-1)}`)
        await handle.sync()
        return replaced
      }),
    )
  }

  /** Checks before the bytes arrive that a file can be placed there. @throws as `place`. */
  async check(filepath: unknown): Promise<void> {
    const names = namesIn(filepath)
    await this.within(names.slice(0, -1), ({ entry }) => sizeAt(`${entry}/${names.at(-1)}`))
  }
}

/** 0: nothing is there. @throws FileFailed: it is no file, but a link or a folder. */
async function sizeAt(path: string): Promise<number> {
  const stats = await lstat(path).catch(unless('ENOENT'))
  if (stats === undefined) return 0
  if (!stats.isFile()) throw new FileFailed('path', 'what is there is no file')
  return stats.size
}

/** Ignores one failure. */
export function unless(code: string): (error: unknown) => undefined {
  return error => {
    if ((error as NodeJS.ErrnoException).code !== code) throw error
    return undefined
  }
}
