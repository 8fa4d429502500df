import { realpath, stat } from 'node:fs/promises'
import { join, sep } from 'node:path'

/** A folder that is served under a path that ends with `/`. */
export interface Mount {
  readonly url: string
  /** Without links. */
  readonly folder: string
}

/** What a path leads to. A file has no link in its path that leads out of its folder. */
export type Found =
  | { readonly kind: 'file' | 'folder'; readonly path: string }
  | { readonly kind: 'nothing' | 'nonsense' }

const NOTHING: Found = { kind: 'nothing' }

/**
 * The file or folder that a request path names, in the mount with the longest matching URL. Names that begin with a dot
 * are nothing, `.well-known` (RFC 8615) excepted.
 *
 * @param pathname - as in the request, percent-encoded, without the query.
 */
export async function locate(mounts: readonly Mount[], pathname: string): Promise<Found> {
  const [mount] = mounts.filter(({ url }) => pathname.startsWith(url)).toSorted((a, b) => b.url.length - a.url.length)
  if (mount === undefined) return NOTHING
  const names = namesIn(pathname.slice(mount.url.length))
  if (names === undefined) return { kind: 'nonsense' }
  if (names.some(isHidden)) return NOTHING
  try {
    const path = await realpath(join(mount.folder, ...names))
    if (path !== mount.folder && !path.startsWith(mount.folder + sep)) return NOTHING
    const stats = await stat(path)
    if (stats.isFile()) return { kind: 'file', path }
    return stats.isDirectory() ? { kind: 'folder', path } : NOTHING
  } catch {
    // Not there, not ours to read, a name that is too long.
    return NOTHING
  }
}

/** Decoded; `undefined`: not an encoding of names. */
function namesIn(path: string): readonly string[] | undefined {
  try {
    const names = path.split('/').map(decodeURIComponent)
    return names.some(name => /[/\\\0]/.test(name)) ? undefined : names.filter(name => name !== '')
  } catch {
    return undefined
  }
}

function isHidden(name: string): boolean {
  return name.startsWith('.') && name !== '.well-known'
}
