import { isHidden, type OpenFile, openInside } from './open-inside.ts'

/** A folder that is served under a path. */
export interface Mount {
  /** Ends with `/`. */
  readonly url: string
  /** Real path. */
  readonly folder: string
}

/** The result of `locate`. The caller closes the file. */
export type Found =
  | { readonly kind: 'file'; readonly file: OpenFile }
  | { readonly kind: 'folder' }
  | { readonly kind: 'missing' }
  /** The path is not percent-encoded UTF-8, or has an encoded `/`, `\` or NUL. */
  | { readonly kind: 'malformed' }

const MISSING: Found = { kind: 'missing' }

/**
 * Opens the file that a request path names, in the mount with the longest matching URL. The file may be behind a link
 * that stays in the folder of its mount. Names that begin with a dot are missing, `.well-known` (RFC 8615) excepted, in
 * the request path and in the real path.
 *
 * @param pathname - as in the request, percent-encoded, without the query. With a `/` at the end it names a folder.
 * @example
 * const found = await locate([{ url: '/', folder: '/srv/site' }], '/css/page.css')
 */
export async function locate(mounts: readonly Mount[], pathname: string): Promise<Found> {
  const [mount] = mounts.filter(({ url }) => pathname.startsWith(url)).toSorted((a, b) => b.url.length - a.url.length)
  if (mount === undefined) return MISSING
  const names = namesIn(pathname.slice(mount.url.length))
  if (names === undefined) return { kind: 'malformed' }
  const file = await openVisible(mount.folder, names)
  if (file?.stats.isFile() && !pathname.endsWith('/')) return { kind: 'file', file }
  await file?.handle.close()
  return file?.stats.isDirectory() ? { kind: 'folder' } : MISSING
}

/** `undefined`: it does not exist, may not be read or served, or its name is too long. */
async function openVisible(folder: string, names: readonly string[]): Promise<OpenFile | undefined> {
  if (names.some(isHidden)) return undefined
  return openInside(folder, names, { hidden: false }).catch(() => undefined)
}

/** Decoded; `undefined`: malformed. */
function namesIn(path: string): readonly string[] | undefined {
  try {
    const names = path.split('/').map(decodeURIComponent)
    return names.some(name => /[/\\\0]/.test(name)) ? undefined : names.filter(name => name !== '')
  } catch {
    return undefined
  }
}
