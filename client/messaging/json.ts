/**
 * A text in quotes, or what Python writes for numbers that JSON does not have. A text without an end is one, too: else each
 * quote in it would be looked behind anew.
 */
const TOKEN = /"(?:[^"\\]|\\.)*"?|-?\b(?:NaN|Infinity)\b/g

/**
 * What JSON says, null for the NaN and Infinity of real peers. Its objects have no prototype: `__proto__` is a name like any
 * other in them. Throws an `Error` for what is no JSON, or nested too deep for the stack.
 */
export function readJson(text: string): Record<string, unknown> {
  try {
    return bare(JSON.parse(text))
  } catch {
    return bare(JSON.parse(text.replace(TOKEN, token => (token[0] === '"' ? token : 'null'))))
  }
}

/** In place. */
function bare<T>(value: T): T {
  if (value !== Object(value)) return value
  Object.values(value as object).forEach(bare)
  return Array.isArray(value) ? value : Object.setPrototypeOf(value, null)
}
