import { type JsonBounds, readJson as read } from 'filtered-websocket/kit'
import { Malformed, tooLarge } from './malformed.ts'

/** JSON of this server and its nodes: its size is theirs to bound. */
export const TRUSTED: JsonBounds = {
  maxLength: Number.POSITIVE_INFINITY,
  maxElements: Number.POSITIVE_INFINITY,
  allowNaN: true,
}

/** JSON of peers, which may have NaN, as Python writes it. */
export const OF_PEERS: JsonBounds = { allowNaN: true }

/**
 * The value of a JSON text, its objects without prototype: in them `__proto__` or `constructor` is a key like any other.
 *
 * @param what - names the text in errors.
 * @throws Malformed: 1009 beyond the bounds, 1007 when it is no JSON.
 */
export function readJson(text: string, bounds: JsonBounds, what: string): unknown {
  try {
    return bare(read(text, bounds))
  } catch (error) {
    if (error instanceof RangeError) throw tooLarge(`${what}: ${error.message}`)
    throw new Malformed(`${what} is no JSON`)
  }
}

/** In place, as a copy takes four times the memory. Reading has bounded its depth. */
export function bare(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) {
    for (const item of value) bare(item)
    return value
  }
  for (const item of Object.values(value)) bare(item)
  return Object.setPrototypeOf(value, null)
}
