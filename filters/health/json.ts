/** A value as JSON on one line. DEL and C1, control characters of a terminal that JSON does not escape, are escaped too. */
export function jsonLine(value: unknown): string {
  return JSON.stringify(value).replace(/[\x7f-\x9f]/g, code => `\\u00${code.charCodeAt(0).toString(16)}`)
}
