import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** The repository, from its sources and from their compiled copy in `.build` alike. */
export const root = rootAbove(import.meta.dirname)

function rootAbove(folder: string): string {
  return existsSync(join(folder, 'package-lock.json')) ? folder : rootAbove(dirname(folder))
}
