import { breach, isObject, Malformed, tooLarge } from './malformed.ts'

/** What a reader accepts. */
export interface Limits {
  /** Bytes of the content of a frame, and characters of a message in text form. */
  readonly maxContent: number
  /** The same for a file. Default: `maxContent`. */
  readonly maxFile?: number
  /** Reads JSON. Throws a RangeError beyond its bounds. */
  parse(text: string): unknown
}

/**
 * The object that a JSON text states. It and all in it have no prototype: `__proto__` or `constructor` is a key like any
 * other.
 *
 * @param what - names the text in errors.
 * @throws Malformed: 1009 beyond the bounds, 1007 when it is not the JSON of an object.
 */
export function readObject(text: string, parse: Limits['parse'], what: string): Record<string, unknown> {
  let value: unknown
  try {
    value = bare(parse(text))
  } catch (error) {
    if (error instanceof RangeError) throw tooLarge(`${what}: ${error.message}`)
    throw new Malformed(`${what} is no JSON`)
  }
  if (!isObject(value)) throw breach(`${what} is an object`, value)
  return value
}

/** In place, as a copy takes four times the memory. A RangeError: nested too deep for the stack. */
export function bare<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) {
    for (const item of value) bare(item)
    return value
  }
  for (const item of Object.values(value)) bare(item)
  return Object.setPrototypeOf(value, null)
}
