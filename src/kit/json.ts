/** Levels of arrays and objects in JSON and msgpack. Recursive code needs no other guard against its stack. */
export const MAX_JSON_DEPTH = 100
/** Default maximum of characters of JSON from a peer. */
export const MAX_JSON_LENGTH = 1_048_576
const MAX_ELEMENTS = 100_000
/** Characters up to which written JSON gets spaces; longer JSON is read by programs only. */
const MAX_SPACED = 65_536
const [QUOTE, COMMA, MINUS, COLON] = [0x22, 0x2c, 0x2d, 0x3a]
const [I, N, BACKSLASH] = [0x49, 0x4e, 0x5c]
/** `{` and `}`, and what `[` and `]` become with this bit. */
const [OPENING, CLOSING, BRACE_BIT] = [0x7b, 0x7d, 0x20]

/** How much one JSON text may cost. */
export interface JsonBounds {
  /** Characters. Default: 1,048,576. */
  readonly maxLength?: number
  /** Levels of arrays and objects. Default: 100. */
  readonly maxDepth?: number
  /** Commas and opening brackets outside of strings; a document has at most one more value than this. Default: 100,000. */
  readonly maxElements?: number
  /** Accept NaN, Infinity and -Infinity as numbers, as Python writes them. Default: false. */
  readonly allowNaN?: boolean
}

/**
 * The value of a JSON text from a peer, at a bounded cost.
 *
 * Depth and elements are counted before anything is allocated. With the default bounds a text costs at most about 100 ms
 * of CPU and 32 MiB of memory. `__proto__` becomes an own property, as with `JSON.parse`; of equal keys the last counts.
 *
 * @throws RangeError beyond a bound; SyntaxError when it is not JSON (RFC 8259).
 * @example
 * const { name } = readJson(payload, { maxLength: 8192 }) as { name?: unknown }
 */
export function readJson(text: string, bounds: JsonBounds = {}): unknown {
  checkJson(text, bounds)
  try {
    return JSON.parse(text)
  } catch (error) {
    if (bounds.allowNaN !== true || !/NaN|Infinity/.test(text)) throw error
    return readWithSpecials(text)
  }
}

function checkJson(
  text: string,
  { maxLength = MAX_JSON_LENGTH, maxDepth = MAX_JSON_DEPTH, maxElements = MAX_ELEMENTS }: JsonBounds,
): void {
  if (text.length > maxLength) throw new RangeError(`JSON has at most ${maxLength} characters, received ${text.length}`)
  // Most texts cannot exceed the bounds: an element takes a character, a level a bracket.
  if (text.length <= maxElements && count('[', text, maxDepth) + count('{', text, maxDepth) <= maxDepth) return
  let depth = 0
  let elements = 0
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code === QUOTE) i = stringEnd(text, i)
    else if (code === COMMA || (code | BRACE_BIT) === OPENING) {
      if (++elements > maxElements) throw new RangeError(`JSON has at most ${maxElements} elements, received more`)
      if (code !== COMMA && ++depth > maxDepth)
        throw new RangeError(`JSON has at most ${maxDepth} levels, received more`)
    } else if ((code | BRACE_BIT) === CLOSING) depth--
  }
}

/** How often a character is in a text, strings included; not further than one more than `max`. */
function count(character: string, text: string, max: number): number {
  let found = 0
  for (let i = text.indexOf(character); i !== -1 && found <= max; i = text.indexOf(character, i + 1)) found++
  return found
}

/** Index of the quote that ends the string, or of the end of the text. `indexOf` skips long strings 20 times faster. */
function stringEnd(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end !== -1; end = text.indexOf('"', end + 1)) {
    let first = end
    while (text.charCodeAt(first - 1) === BACKSLASH) first--
    if ((end - first) % 2 === 0) return end
  }
  return text.length
}

/**
 * JSON has no token for NaN, so strings that no peer can guess stand for the three numbers until the text is parsed. Not
 * by a reviver, which is called for every value of the text.
 */
function readWithSpecials(text: string): unknown {
  const mark = crypto.randomUUID()
  const specials = new Map([
    [`${mark}0`, Number.NaN],
    [`${mark}1`, Number.POSITIVE_INFINITY],
    [`${mark}2`, Number.NEGATIVE_INFINITY],
  ])
  const parts: string[] = []
  let from = 0
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code === QUOTE) i = stringEnd(text, i)
    else if (code === N || code === I || code === MINUS) {
      const kind = WORDS.findIndex(word => text.startsWith(word, i))
      if (kind === -1) continue
      parts.push(text.slice(from, i), `"${mark}${kind}"`)
      from = i + WORDS[kind]!.length
      i = from - 1
    }
  }
  return restored(JSON.parse(parts.join('') + text.slice(from)), specials)
}

/** In the order of their marks. */
const WORDS = ['NaN', 'Infinity', '-Infinity']

/** In place. Its depth is bounded. */
function restored(value: unknown, specials: ReadonlyMap<unknown, number>): unknown {
  if (typeof value === 'string') return specials.get(value) ?? value
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) value[i] = restored(value[i], specials)
    return value
  }
  const fields = value as Record<string, unknown>
  for (const key of Object.keys(fields)) {
    if (specials.has(key)) throw new SyntaxError('a key of a JSON object is a string, received NaN or Infinity')
    const field = fields[key]
    if (typeof field === 'string' || typeof field === 'object') fields[key] = restored(field, specials)
  }
  return value
}

/**
 * JSON with a space after each comma and colon, byte for byte what Python's `json.dumps` writes for strings, objects and
 * arrays; without these spaces beyond 65,536 characters. NaN and infinite numbers become null, as in `JSON.stringify`.
 *
 * @throws TypeError for a value that JSON has no form for, such as a function or a BigInt.
 * @example
 * writeJson({ a: [1, 2] }) // '{"a": [1, 2]}'
 */
export function writeJson(value: unknown): string {
  const text: string | undefined = JSON.stringify(value)
  if (text === undefined) throw new TypeError(`JSON cannot express ${typeof value}`)
  // Not by indentation, which a deep array would multiply by its depth.
  return typeof value !== 'object' || text.length > MAX_SPACED ? text : spaced(text)
}

/** By hand, as a regular expression that calls back for each mark takes four times as long. */
function spaced(text: string): string {
  let out = ''
  let end = 0
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code === QUOTE) i = stringEnd(text, i)
    else if (code === COMMA || code === COLON) {
      out += `${text.slice(end, i + 1)} `
      end = i + 1
    }
  }
  return out + text.slice(end)
}
