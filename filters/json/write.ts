/** Characters up to which a text gets its blanks: whoever reads more of it does not miss them. */
const MAX_SPACED = 65_536
/** A text in quotes, or what stands between two values. */
const TOKEN = /"[^"\\]*(?:\\.[^"\\]*)*"|[,:]/g

/**
 * JSON with a blank behind each comma and colon, byte for byte what Python's `json.dumps` writes of the same text, object
 * or list; without the blanks beyond 65,536 characters. What JSON cannot say is as in `JSON.stringify`: NaN and infinite
 * numbers are null.
 *
 * @throws TypeError for what is nothing in JSON, such as a function, and for a BigInt.
 */
export function writeJson(value: unknown): string {
  const text: string | undefined = JSON.stringify(value)
  if (text === undefined) throw new TypeError(`JSON cannot say ${typeof value}`)
  // Not by indentation, which a deep list would multiply by its depth.
  return text.length > MAX_SPACED ? text : text.replace(TOKEN, spaced)
}

function spaced(token: string): string {
  return token === ',' || token === ':' ? `${token} ` : token
}
