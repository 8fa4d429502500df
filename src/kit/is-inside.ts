import { sep } from 'node:path'

/**
 * Whether a path is a folder or leads below it. Both are absolute, without links, `..` or a final slash.
 *
 * @example
 * isInside('/srv/site', '/srv/site/a.html') // true
 * isInside('/srv/site', '/srv/site-2/a.html') // false
 */
export function isInside(folder: string, path: string): boolean {
  return path === folder || path.startsWith(folder.endsWith(sep) ? folder : folder + sep)
}
