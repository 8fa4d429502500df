import { FileError } from './file-error.ts'

/** Folder for incomplete files, which no path of a client names. */
export const PARTS = '.fws-parts'
/** Prefix of incomplete files in a store without that folder. Names that begin with a dot are not served. */
export const PART = '.part-'
/** Characters. */
const MAX_PATH = 1024
const MAX_SHOWN = 60

/**
 * The names in a path of a client: folders, and last the file.
 *
 * @throws FileError `path`
 */
export function namesIn(filepath: unknown): readonly string[] {
  const problem = problemOf(filepath)
  if (problem !== undefined) throw new FileError('path', `${problem}, received ${shown(filepath)}`)
  return (filepath as string).split('/')
}

function problemOf(filepath: unknown): string | undefined {
  if (typeof filepath !== 'string' || filepath === '') return 'a path is a string'
  if (filepath.length > MAX_PATH) return `a path has at most ${MAX_PATH} characters`
  if (/[\p{Cc}\\]/u.test(filepath)) return 'a path has no control characters and no \\'
  // The system would write another name.
  if (!filepath.isWellFormed()) return 'a path has no half characters (unpaired surrogates)'
  const names = filepath.split('/')
  if (names.some(name => name === '' || name === '.' || name === '..'))
    return 'a path is relative, with names between single slashes, none of them . or ..'
  // Some file systems ignore case or invisible characters.
  const first = names[0]!.normalize('NFKC').replace(/\p{Default_Ignorable_Code_Point}/gu, '')
  if (first.toLowerCase().startsWith(PARTS)) return `a path does not begin with ${PARTS}`
  return undefined
}

function shown(value: unknown): string {
  if (typeof value !== 'string') return typeof value === 'object' && value !== null ? 'an object' : String(value)
  return JSON.stringify(value.length > MAX_SHOWN ? `${value.slice(0, MAX_SHOWN)}...` : value)
}
