import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** The root of the repository, from the sources and from `.build`. */
export const root = rootAbove(import.meta.dirname)

function rootAbove(folder: string): string {
  return existsSync(join(folder, 'package-lock.json')) ? folder : rootAbove(dirname(folder))
}
