import { constants, existsSync } from 'node:fs'
import { type FileHandle, lstat, mkdir, open, realpath, rename } from 'node:fs/promises'
import { optionError } from 'filtered-websocket/kit'
import { FileFailed } from './failed.ts'
import { namesIn, PARTS } from './path.ts'
import { SharedFile } from './shared-file.ts'

const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK } = constants
const FOLDER = O_RDONLY | O_DIRECTORY | O_NOFOLLOW
/** A pipe would wait for a writer. */
const FILE = O_RDONLY | O_NOFOLLOW | O_NONBLOCK
/** Where Linux has open files by their numbers: what is asked for in an open folder is in it, whatever becomes of its path. */
const OPEN_FILES = '/proc/self/fd'

/** A folder that is open: `path` leads into it. */
export interface OpenFolder {
  readonly path: string
  readonly handle: FileHandle
}

/** The folder in which all files are. Nothing is followed that is a link, at whatever moment it becomes one. */
export class Root {
  /** Absolute, without links. */
  readonly path: string
  readonly #hasNumbers = existsSync(OPEN_FILES)

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

  /** Runs something in a folder below the root. @throws what the system says. */
  async within<T>(names: readonly string[], run: (folder: OpenFolder) => Promise<T>): Promise<T> {
    let path = this.path
    let handle = await open(path, FOLDER)
    try {
      for (const name of names) {
        const next = `${this.#hasNumbers ? `${OPEN_FILES}/${handle.fd}` : path}/${name}`
        const inner = await open(next, FOLDER)
        await handle.close()
        handle = inner
        path = next
      }
      return await run({ path: this.#hasNumbers ? `${OPEN_FILES}/${handle.fd}` : path, handle })
    } finally {
      await handle.close()
    }
  }

  /** The same in the folder of files that are not whole, made if it is not there. */
  async withinParts<T>(run: (folder: OpenFolder) => Promise<T>): Promise<T> {
    await this.within([], async ({ path }) => {
      await mkdir(`${path}/${PARTS}`, { mode: 0o700 }).catch(unless('EEXIST'))
    })
    return this.within([PARTS], run)
  }

  /** A file to be read, which has to be closed. @throws FileFailed `path`; what the system says. */
  async file(filepath: unknown): Promise<SharedFile> {
    const names = namesIn(filepath)
    const handle = await this.within(names.slice(0, -1), ({ path }) => open(`${path}/${names.at(-1)}`, FILE))
    try {
      return await SharedFile.of(handle)
    } catch (error) {
      await handle.close()
      throw error
    }
  }

  /**
   * Gives a file of the parts its path, over what is there.
   *
   * @returns bytes of what it has replaced.
   * @throws FileFailed `path`; what the system says.
   */
  async place(part: string, filepath: string): Promise<number> {
    const names = namesIn(filepath)
    return this.within(names.slice(0, -1), ({ path, handle }) =>
      this.withinParts(async parts => {
        const replaced = await sizeAt(`${path}/${names.at(-1)}`)
        await rename(`${parts.path}/${part}`, `${path}/${names.at(-1)}`)
        await handle.sync()
        return replaced
      }),
    )
  }

  /** Whether a file could be placed there now, before its bytes come. @throws as `place`. */
  async check(filepath: unknown): Promise<void> {
    const names = namesIn(filepath)
    await this.within(names.slice(0, -1), ({ path }) => sizeAt(`${path}/${names.at(-1)}`))
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
