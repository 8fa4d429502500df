import { constants, type Stats } from 'node:fs'
import { type FileHandle, lstat, open, readlink, realpath } from 'node:fs/promises'
import { join, relative, sep } from 'node:path'
import { isInside } from './is-inside.ts'

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants
/** The suffix that Linux gives to the path of an open file that has been deleted or replaced. */
const DELETED = ' (deleted)'

export interface OpenInsideOptions {
  /** Flags of open(2). Default: `O_RDONLY`. */
  readonly flags?: number
  /** `inside`: symbolic links may be followed if they stay in the root (default); `none`: no link is followed. */
  readonly links?: 'inside' | 'none'
  /** Whether names that begin with a dot are allowed below the root, also where a link leads. Default: true. */
  readonly hidden?: boolean
}

/** An open file or folder; the caller closes `handle`. */
export interface OpenFile {
  readonly handle: FileHandle
  readonly stats: Stats
  /** Real path at the time of opening. */
  readonly path: string
  /** `/proc/self/fd/N` on Linux: leads to the open file or folder even after a rename. Elsewhere `path`. */
  readonly entry: string
}

/**
 * Opens a file or folder below a root, then checks what was opened, so that a rename between check and use has no effect.
 * A named pipe or a device does not block; the caller decides by `stats` what it accepts.
 *
 * Outside of Linux the opened file is compared by device and inode with the file at its real path: an attacker that can
 * rename folders of the root three times within microseconds can defeat this.
 *
 * @param root - real path of a folder.
 * @param names - of the folders below it, and last of the file; none: the root itself.
 * @throws Error with the `code` of open(2); `EACCES`: outside of the root, or hidden; `ENOTDIR`: a link where a folder should be.
 * @example
 * const { handle, stats } = await openInside('/srv/site', ['css', 'page.css'])
 */
export async function openInside(
  root: string,
  names: readonly string[],
  { flags = O_RDONLY, links = 'inside', hidden = true }: OpenInsideOptions = {},
): Promise<OpenFile> {
  const asked = join(root, ...names)
  const handle = await open(asked, flags | O_NONBLOCK | (links === 'none' ? O_NOFOLLOW : 0))
  try {
    const where = (await openedPath(handle)) ?? (await samePath(handle, asked))
    const { path } = where
    if (links === 'none' && path !== asked)
      throw failure('ENOTDIR', `"${asked}" leads to "${path}": links are not followed here`)
    if (!isInside(root, path) || (!hidden && relative(root, path).split(sep).some(isHidden)))
      throw failure('EACCES', `"${asked}" leads to "${path}", which is hidden or outside of "${root}"`)
    return { handle, stats: await handle.stat(), ...where }
  } catch (error) {
    await handle.close()
    throw error
  }
}

/** Whether a name begins with a dot and is not `.well-known` (RFC 8615). */
export function isHidden(name: string): boolean {
  return name.startsWith('.') && name !== '.well-known'
}

/** `undefined`: the system has no `/proc`. */
async function openedPath(handle: FileHandle): Promise<Pick<OpenFile, 'path' | 'entry'> | undefined> {
  const entry = `/proc/self/fd/${handle.fd}`
  const path = await readlink(entry).catch(() => undefined)
  if (path === undefined) return undefined
  const isDeleted = path.endsWith(DELETED) && !(await isAt(handle, path))
  return { path: isDeleted ? path.slice(0, -DELETED.length) : path, entry }
}

/** The real path of a path, if the open file is there. For systems without `/proc`. */
export async function samePath(handle: FileHandle, asked: string): Promise<Pick<OpenFile, 'path' | 'entry'>> {
  const path = await realpath(asked)
  if (!(await isAt(handle, path))) throw failure('ENOENT', `"${asked}" was replaced while it was opened`)
  return { path, entry: path }
}

async function isAt(handle: FileHandle, path: string): Promise<boolean> {
  const there = await lstat(path, { bigint: true }).catch(() => undefined)
  if (there === undefined) return false
  const { dev, ino } = await handle.stat({ bigint: true })
  return there.dev === dev && there.ino === ino
}

function failure(code: string, message: string): Error {
  return Object.assign(new Error(message), { code })
}
