/**
 * JSON with a blank behind each comma and colon, byte for byte what Python's `json.dumps` writes of the same text, object
 * or list. What JSON cannot say is as in `JSON.stringify`: NaN and infinite numbers are null.
 *
 * @throws TypeError for what is nothing in JSON, such as a function, and for a BigInt.
 */
export function writeJson(value: unknown): string {
  const text: string | undefined = JSON.stringify(value, undefined, 1)
  if (text === undefined) throw new TypeError(`JSON cannot say ${typeof value}`)
  // A line break in a text is written as \n: those that are left are between the lines.
  return text.replaceAll(/,\n */g, ', ').replaceAll(/\n */g, '')
}
