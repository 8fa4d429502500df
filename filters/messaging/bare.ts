import { Malformed } from './malformed.ts'

/** As in msgpack; Python's own limit is about ten times that. */
const MAX_DEPTH = 100

/**
 * What JSON said, in objects without a prototype: a name such as `__proto__` or `constructor` is one like any other in
 * them, and what a peer did not send is not there.
 *
 * @throws Malformed when it is nested deeper than 100.
 */
export function bare(value: unknown, depth = 0): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (depth >= MAX_DEPTH) throw new Malformed(`the content is nested deeper than ${MAX_DEPTH}`)
  if (Array.isArray(value)) return value.map(item => bare(item, depth + 1))
  const object = Object.create(null)
  for (const key of Object.keys(value)) object[key] = bare((value as Record<string, unknown>)[key], depth + 1)
  return object
}
