import { breach, isObject, Malformed, tooLarge } from './malformed.ts'

/** Limits of received messages. */
export interface Limits {
  /** Bytes of the content of a frame, and characters of a message as a JSON string. */
  readonly maxContent: number
  /** Bytes of a file. Default: `maxContent`. */
  readonly maxFile?: number
  /** Parses JSON. Throws a RangeError beyond its bounds. */
  parse(text: string): unknown
}

/**
 * Parses a JSON object. It and the objects in it have no prototype, so `__proto__` and `constructor` are ordinary keys.
 *
 * @param what - subject of errors.
 * @throws Malformed with close code 1009 beyond the bounds, 1007 if it is not a JSON object.
 */
export function readObject(text: string, parse: Limits['parse'], what: string): Record<string, unknown> {
  let value: unknown
  try {
    value = bare(parse(text))
  } catch (error) {
    if (error instanceof RangeError) throw tooLarge(`${what}: ${error.message}`)
    throw new Malformed(`${what} is not JSON`)
  }
  if (!isObject(value)) throw breach(`${what} is an object`, value)
  return value
}

/** Removes the prototypes of all objects, in place, as a copy takes four times the memory. @throws RangeError: too deep for the stack */
export function bare<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) {
    for (const item of value) if (typeof item === 'object') bare(item)
    return value
  }
  for (const key in value) if (typeof value[key] === 'object') bare(value[key])
  return Object.setPrototypeOf(value, null)
}
