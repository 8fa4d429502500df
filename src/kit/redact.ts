import { readJson } from './json.ts'

const REDACTED = '[redacted]'
/** Parts of the names of fields that hold secrets, and whole names. */
const PARTS =
  'token|secret|passw(?:or)?d|pass[-_]?phrase|authorization|cookie|(?:api|private|access)[-_]?key|credential|session[-_]?id'
const WHOLE = 'auth|jwt|pwd|pass|sid|bearer'
/** A JSON Web Token (RFC 7519), also behind a prefix such as `jwt-`: its header is an object, in base64url. */
const JWT = /(?<![\w-])([\w-]{0,64}?)eyJ[\w-]+\.[\w-]+(?:\.[\w-]*)*/g
const SCHEME = /\b(bearer|basic) +[\w.~+/=-]+/gi
/** A query parameter, whose value may have any separators but `&` and `#`. */
const PARAMETER = /([?&])([^\s"'=&#?]{1,256})=([^\s"'&#\\]+)/g
/** In a line: with its quote, up to the closing one; an array or object up to its end; else up to a space or a separator. */
const VALUE = [
  '\\[redacted]',
  '(\\\\?")(?:\\\\.|[^"\\\\\\n])*"?',
  "(')[^'\\n]*'?",
  '\\[[^\\]\\n]*]?',
  '\\{[^}\\n]*}?',
  '(?!(?:true|false|null)(?:[\\s,;)}\\]&]|$))[^\\s"\'&,;)}\\]]+',
].join('|')
/** A line that begins as JSON. */
const JSON_LINE = /(?<=^|\n)[^\S\n]*[[{"][^\n]*/g
/** JSON documents in a message, those in strings included, and wrong ones, beyond which all is text: these cost 15 µs each. */
const [MAX_DOCUMENTS, MAX_WRONG] = [1000, 10]
const STRING = /"(?:\\.|[^"\\])*"/g

/**
 * Makes a function that replaces secrets in the text of a message by `[redacted]`: values of fields such as `token`, `password` or `auth`,
 * in JSON at any depth, in query parameters and in text such as `token=x`; JSON Web Tokens and `Bearer x` everywhere. Text without secrets
 * is returned unchanged. A secret that has neither such a name nor such a form is not found.
 *
 * @param names - of further fields; case, `-` and `_` do not matter.
 * @example
 * const redact = redactor(['iban'])
 * redact('{"auth":"eyJhbGciOi..."}') // '{"auth":"[redacted]"}'
 */
export function redactor(names: readonly string[] = []): (text: string) => string {
  const whole = [WHOLE, ...names.map(patternOf)].join('|')
  const name = new RegExp(`${PARTS}|^(?:${whole})$`, 'i')
  const assignment = new RegExp(
    `(?<![\\w-])((\\\\?["']?)(?:[\\w-]{0,64}(?:${PARTS})[\\w-]{0,64}|${whole})\\2\\s{0,8}[:=]\\s{0,8})(?:${VALUE})`,
    'gi',
  )
  /** In the message that is searched. */
  let documents = 0
  let wrong = 0

  const isTooMuch = () => documents >= MAX_DOCUMENTS || wrong >= MAX_WRONG

  const inParameter = (all: string, start: string, key: string) =>
    partsOf(key).some(part => name.test(part)) ? `${start}${key}=${REDACTED}` : all

  const inText = (text: string): string =>
    text
      .replace(JWT, `$1${REDACTED}`)
      .replace(SCHEME, `$1 ${REDACTED}`)
      .replace(PARAMETER, inParameter)
      .replace(assignment, (_, start: string, _name, double = '', single = '') => {
        const quote = double + single
        return start + quote + REDACTED + quote
      })

  const inValue = (value: unknown): unknown => {
    if (typeof value === 'string') return inMessage(value)
    if (typeof value !== 'object' || value === null) return value
    if (Array.isArray(value)) return value.map(inValue)
    return Object.fromEntries(
      Object.entries(value).map(([key, its]) => [key, mayHide(its) && name.test(key) ? REDACTED : inValue(its)]),
    )
  }

  const inJson = (text: string): string | undefined => {
    if (!/^\s*[[{"]/.test(text) || isTooMuch()) return undefined
    documents++
    try {
      const value = readJson(text)
      const [before, after] = [JSON.stringify(value), JSON.stringify(inValue(value))]
      return before === after && stringsIn(text) === stringsIn(before) ? text : after
    } catch {
      wrong++
      return undefined
    }
  }

  // Some protocols send several documents in a message, one a line.
  const inLines = (text: string): string => {
    let redacted = ''
    let at = 0
    for (const { 0: line, index } of text.matchAll(JSON_LINE)) {
      if (isTooMuch()) break
      const its = inJson(line)
      if (its === undefined) continue
      redacted += inText(text.slice(at, index)) + its
      at = index + line.length
    }
    return redacted + inText(text.slice(at))
  }

  const inMessage = (text: string): string => inJson(text) ?? inLines(text)

  return text => {
    documents = 0
    wrong = 0
    return inMessage(text)
  }
}

/**
 * Makes a function that says whether bytes may hold a secret: they have the name of a field that holds one, as in msgpack, or a secret in
 * text.
 *
 * @param names - of further fields.
 * @example
 * mayHoldSecret()(Buffer.from('\xa5token\xa1x', 'latin1')) // true
 */
export function mayHoldSecret(names: readonly string[] = []): (bytes: Buffer) => boolean {
  const redact = redactor(names)
  const own = names.map(patternOf)
  // Shorter names are in many images.
  const name = new RegExp([PARTS, '(?<![\\w-])(?:auth|pass|bearer)(?![\\w-])', ...own].join('|'), 'i')
  return bytes => {
    const text = bytes.toString('latin1')
    return name.test(text) || redact(text) !== text
  }
}

/** The names in that of a query parameter, such as `user[password]`. */
function partsOf(key: string): readonly string[] {
  try {
    return decodeURIComponent(key).split(/[[\]]+/)
  } catch {
    return [key]
  }
}

/** Number of strings: of fields with the same name, JSON.parse keeps only the last one. */
function stringsIn(json: string): number {
  return json.match(STRING)?.length ?? 0
}

/** Whether a value can be a secret. */
function mayHide(value: unknown): boolean {
  return value !== null && value !== '' && typeof value !== 'boolean'
}

function patternOf(name: string): string {
  const letters = [...name.replace(/[-_]/g, '')]
  return letters.map(letter => letter.replace(/[^\w]/, '\\$&')).join('[-_]?')
}
