import type { UntrustedFolder, UntrustedFolders } from '../contract/filter.ts'
import { isInside } from '../kit/is-inside.ts'

/** The folders of one server in which clients can write; none at first. */
export function createUntrustedFolders(): UntrustedFolders {
  const folders: UntrustedFolder[] = []
  return {
    add: (path, option) => void folders.push({ path, option }),
    contains: path => folders.some(folder => isInside(folder.path, path)),
    overlapping: path => folders.filter(folder => isInside(folder.path, path) || isInside(path, folder.path)),
  }
}
