import { shown } from '../wire/malformed.ts'
import { FileFailed } from './failed.ts'

/** The folder in the root where files are until they are whole. No path leads there. */
export const PARTS = '.fws-parts'
/** Characters. */
const MAX_PATH = 1024

/**
 * The names in a path: folders, and last the file.
 *
 * @throws FileFailed `path`.
 */
export function namesIn(filepath: unknown): readonly string[] {
  const why = whyNot(filepath)
  if (why !== undefined) throw new FileFailed('path', `${why}, received ${shown(filepath)}`)
  return (filepath as string).split('/')
}

function whyNot(filepath: unknown): string | undefined {
  if (typeof filepath !== 'string' || filepath === '') return 'a path is a text'
  if (filepath.length > MAX_PATH) return `a path has at most ${MAX_PATH} characters`
  if (/[\p{Cc}\\]/u.test(filepath)) return 'a path has no control characters and no \\'
  // The system would write another name.
  if (!filepath.isWellFormed()) return 'a path has no half characters (unpaired surrogates)'
  const names = filepath.split('/')
  if (names.some(name => name === '' || name === '.' || name === '..'))
    return 'a path is relative, with names between single slashes, none of them . or ..'
  // Some systems do not tell capitals from small letters, or ignore what nobody sees.
  const first = names[0]!.normalize('NFKC').replace(/\p{Default_Ignorable_Code_Point}/gu, '')
  if (first.toLowerCase().startsWith(PARTS)) return `a path does not begin with ${PARTS}`
  return undefined
}
