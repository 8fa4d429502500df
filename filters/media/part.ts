import { type FileHandle, link, lstat, open, rename, unlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'

/** Begins the name of a file that is not whole yet. Names with a dot are never served. */
export const PART = '.part-'

/** What systems say on which a file has one name only. */
const NO_LINKS = ['EPERM', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP', 'EINVAL', 'EMLINK']

/** A file on its way to the disk, under a name of its own that nobody sees. */
export class Part {
  readonly path: string
  #file: FileHandle | undefined

  constructor(path: string) {
    this.path = path
  }

  /** Writes at the end; the file is made with the first bytes. Rejects as the system does. */
  async append(bytes: Buffer): Promise<void> {
    this.#file ??= await open(this.path, 'wx', 0o600)
    await this.#file.writeFile(bytes)
  }

  /** Writes over the beginning. */
  async overwrite(bytes: Buffer): Promise<void> {
    await this.#file!.write(bytes, 0, bytes.length, 0)
  }

  /** On the disk, readable, and no longer open. */
  async complete(): Promise<void> {
    const file = this.#file!
    await file.chmod(0o644)
    await file.sync()
    this.#file = undefined
    await file.close()
  }

  /** Also of one that was never made. */
  async discard(): Promise<void> {
    await this.#file?.close().catch(() => {})
    await unlink(this.path).catch(ignoreMissing)
  }
}

/**
 * Gives a complete part its name, in one step and over nothing.
 *
 * @param makeLink - for tests: a system without links.
 * @returns `false`: the name is taken.
 */
export async function place(part: string, path: string, makeLink = link): Promise<boolean> {
  try {
    await makeLink(part, path)
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException
    if (code === 'EEXIST') return false
    if (!NO_LINKS.includes(code)) throw error
    return renameClaimed(part, path)
  }
  // It is a file already, whatever becomes of its other name.
  await unlink(part).catch(() => {})
  return true
}

/** A renaming would overwrite: whoever holds the claim to the name may look whether it is free. */
async function renameClaimed(part: string, path: string): Promise<boolean> {
  const claim = join(dirname(path), `${PART}${basename(path)}`)
  try {
    await (await open(claim, 'wx', 0o600)).close()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
  try {
    if (await exists(path)) return false
    await rename(part, path)
    return true
  } finally {
    await unlink(claim).catch(ignoreMissing)
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path)
    return true
  } catch (error) {
    ignoreMissing(error)
    return false
  }
}

function ignoreMissing(error: unknown): void {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
}
