import { link, lstat, open, rename, unlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { PART } from './path.ts'

/** Codes of systems and file systems without hard links. */
const NO_LINKS = ['EPERM', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP', 'EINVAL', 'EMLINK']

/**
 * Gives a complete part its name, in one step, unless a file has that name.
 *
 * @param makeLink - for tests: a system without links.
 * @returns `false`: a file has that name.
 */
export async function placeNew(part: string, path: string, makeLink = link): Promise<boolean> {
  try {
    await makeLink(part, path)
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException
    if (code === 'EEXIST') return false
    if (!NO_LINKS.includes(code)) throw error
    return renameClaimed(part, path)
  }
  // The file has its name, even if the other one cannot be removed.
  await unlink(part).catch(() => {})
  return true
}

/** `rename` would replace a file, so a second file claims the name while it is checked. */
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
