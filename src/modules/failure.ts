import { framesOf, oursOf } from '../chain/stack.ts'
import { readRegular } from '../kit/regular-file.ts'
import { visible } from '../kit/visible.ts'

/** Characters of a line of code in an error; minified files have long ones. */
const MAX_WIDTH = 120

/** Where a module failed. */
export interface Failure {
  /** `FILE:LINE`; without a line if the module's own code is not on the stack. */
  readonly place: string
  /** The line before and the line itself, each after a line break; may be empty. */
  readonly code: string
}

/**
 * Where code of a module has thrown: the innermost line in its own package or project. A built-in module has no line: other lines are
 * of the program that starts the server.
 */
export function failureOf(file: string, error: unknown): Failure {
  if (oursOf(file) !== undefined) return { place: file, code: '' }
  const own = packageOf(file)
  const frame = framesOf(error).find(({ path, ours }) => ours === undefined && packageOf(path) === own)
  if (frame === undefined) return { place: file, code: '' }
  return { place: `${frame.path}:${frame.line}`, code: codeAt(frame.path, frame.line) }
}

/** A line of a file and the one before it, each after a line break; an empty string if it cannot be read. */
export function codeAt(path: string, line: number): string {
  let lines: readonly string[]
  try {
    lines = readRegular(path).split(/\r?\n/)
  } catch {
    return ''
  }
  const width = String(line).length
  return [line - 1, line]
    .filter(number => lines[number - 1] !== undefined)
    .map(number => {
      const code = visible(lines[number - 1]!.replaceAll('\t', '  ').slice(0, MAX_WIDTH))
      return `\n${number === line ? '>' : ' '} ${String(number).padStart(width)} | ${code}`.trimEnd()
    })
    .join('')
}

/** The folder in `node_modules` of the package that holds a file; an empty string for a file of a project. */
function packageOf(path: string): string {
  return /^.*[/\\]node_modules[/\\](?:@[^/\\]+[/\\])?[^/\\]+/.exec(path)?.[0] ?? ''
}
