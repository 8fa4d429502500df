import { isInside } from './kit/is-inside.ts'
import type { UntrustedFolder, UntrustedFolders } from './types.ts'

/** The folders of one server that hold files of clients. */
export class FolderRegistry implements UntrustedFolders {
  readonly #folders: UntrustedFolder[] = []

  add(path: string, option: string): void {
    this.#folders.push({ path, option })
  }

  contains(path: string): boolean {
    return this.#folders.some(folder => isInside(folder.path, path))
  }

  overlapping(path: string): readonly UntrustedFolder[] {
    return this.#folders.filter(folder => isInside(folder.path, path) || isInside(path, folder.path))
  }
}
