import { fileURLToPath } from 'node:url'
import { FwsError } from '../contract/errors.ts'
import { EXTENSION, ROOT } from '../root.ts'

/** A line of a stack with a file; those of Node's own modules have none. */
export interface Frame {
  /** The line itself. */
  readonly text: string
  /** Absolute. */
  readonly path: string
  /** From 1. */
  readonly line: number
  /** See `oursOf`. */
  readonly ours: string | undefined
}

/** Lines of a shortened stack, and causes that are shortened. */
const MAX_FRAMES = 5
const MAX_CAUSES = 5
const FRAME = /^ {4}at (?:.* \()?(?:async )?((?:file:|\/|[A-Za-z]:\\).*?):(\d+):\d+\)?$/
const CODE = /^(?:bin|src|filters|storage)[/\\]/
/** Folders of this package: the running one and, with source maps, that of the source. */
const HOMES = (EXTENSION === '.ts' ? [ROOT] : [ROOT, new URL('../', ROOT)]).map(url => fileURLToPath(url))

/** The frames of an error, innermost first; an empty array for a value without a stack that can be read. */
export function framesOf(error: unknown): readonly Frame[] {
  return stackOf(error)
    .split('\n')
    .flatMap(text => {
      const [, place, line] = FRAME.exec(text) ?? []
      const path = place && pathOf(place)
      return path === undefined ? [] : [{ text, path, line: Number(line), ours: oursOf(path) }]
    })
}

/**
 * The error of a filter with a stack that ends where the core has called the filter: at most five lines, without those of the
 * core and of Node. An error without other lines keeps its stack, unless it is an FwsError, whose message is complete.
 */
export function shortened(error: unknown): unknown {
  try {
    return shorten(error, MAX_CAUSES)
  } catch {
    return error
  }
}

function shorten(error: unknown, causes: number): unknown {
  const stack = stackOf(error)
  const header = stack.search(/^ {4}at /m)
  if (header === -1 || causes === 0) return error
  const frames = framesOf(error)
  const caller = frames.findIndex(({ ours }) => ours?.startsWith('src/chain/'))
  const own = frames.slice(0, caller === -1 ? frames.length : caller).filter(({ ours }) => !ours?.startsWith('src/'))
  if (own.length === 0 && !(error instanceof FwsError)) return error
  const lines = [stack.slice(0, header).trimEnd(), ...own.slice(0, MAX_FRAMES).map(({ text }) => text)]
  const { cause } = error as Error
  // Not assigned: the error belongs to the filter.
  return Object.create(error as Error, {
    stack: { value: lines.join('\n') },
    ...(cause !== undefined && { cause: { value: shorten(cause, causes - 1) } }),
  })
}

/** Reading a stack may run code of a filter. */
function stackOf(error: unknown): string {
  try {
    const { stack } = error as { stack?: unknown }
    return typeof stack === 'string' ? stack : ''
  } catch {
    return ''
  }
}

function pathOf(place: string): string | undefined {
  try {
    return place.startsWith('file:') ? fileURLToPath(place) : place
  } catch {
    return undefined
  }
}

/** A path within this package, such as `src/chain/chain.js`; `undefined` for other code. */
export function oursOf(path: string): string | undefined {
  return HOMES.flatMap(home => (path.startsWith(home) ? path.slice(home.length) : [])).find(inside => CODE.test(inside))
}
