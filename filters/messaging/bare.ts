import { Malformed } from './malformed.ts'

/** As in msgpack; Python's own limit is about ten times that. */
const MAX_DEPTH = 100
/** Each takes many times the memory of the two characters that it may have in a text. */
const MAX_OBJECTS = 250_000

/**
 * What JSON said, as it was parsed, its objects without their prototype: a name such as `__proto__` or `constructor` is one
 * like any other in them, and what a peer did not send is not there.
 *
 * @throws Malformed when it is nested deeper than 100, or has more than 250,000 objects and lists.
 */
export function bare(value: unknown): unknown {
  strip(value, 0, 0)
  return value
}

/** Answers how many objects and lists there are so far. In place, as a copy without prototypes takes four times the memory. */
function strip(value: unknown, depth: number, before: number): number {
  if (typeof value !== 'object' || value === null) return before
  if (depth >= MAX_DEPTH) throw new Malformed(`the content is nested deeper than ${MAX_DEPTH}`)
  let count = before + 1
  if (count > MAX_OBJECTS) throw new Malformed(`the content has more than ${MAX_OBJECTS} objects and lists`)
  if (Array.isArray(value)) {
    for (const item of value) count = strip(item, depth + 1, count)
    return count
  }
  for (const item of Object.values(value)) count = strip(item, depth + 1, count)
  Object.setPrototypeOf(value, null)
  return count
}
