/**
 * What JSON says. Its objects have no prototype: `__proto__` is a name like any other in them. Throws an `Error` for what is
 * no JSON, or nested too deep for the stack.
 */
export function readJson(text: string): Record<string, unknown> {
  return bare(JSON.parse(text))
}

/** In place. */
function bare<T>(value: T): T {
  if (value !== Object(value)) return value
  Object.values(value as object).forEach(bare)
  return Array.isArray(value) ? value : Object.setPrototypeOf(value, null)
}
