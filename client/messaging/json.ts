/** A text in quotes, or what Python writes for numbers that JSON does not have. */
const TOKEN = /"(?:[^"\\]|\\.)*"|-?\b(?:NaN|Infinity)\b/g

/**
 * An object in JSON, null for the NaN and Infinity of real peers. Its objects have no prototype: `__proto__` is a name like any
 * other in them. Throws an `Error` for what is none.
 */
export function readObject(text: string): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    value = JSON.parse(text.replace(TOKEN, token => (token[0] === '"' ? token : 'null')))
  }
  if (!isObject(value)) throw new Error('JSON that is no object')
  return bare(value)
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** In place. What is nested too deep for the stack throws. */
function bare<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value
  Object.values(value).forEach(bare)
  return Array.isArray(value) ? value : Object.setPrototypeOf(value, null)
}
