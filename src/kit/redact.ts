import { readJson } from './json.ts'

const REDACTED = '[redacted]'
/** Parts of the names of fields that hold secrets, and whole names. */
const PARTS =
  'token|secret|passw(?:or)?d|pass[-_]?phrase|authorization|cookie|(?:api|private|access)[-_]?key|credential|session[-_]?id'
const WHOLE = 'auth|jwt|pwd|sid|bearer'
/** A JSON Web Token (RFC 7519): its header is an object, in base64url. */
const JWT = /(?<![\w-])eyJ[\w-]+\.[\w-]+(?:\.[\w-]*)*/g
const SCHEME = /\b(bearer|basic) +[\w.~+/=-]+/gi
/** Up to the closing quote, or the end; without a quote up to a space or a separator. */
const VALUE = `(?:\\[redacted]|\\\\?"(?:\\\\.|[^"\\\\])*"?|'[^']*'?|[^\\s"'&,;)}\\]]+)`

/**
 * Makes a function that replaces secrets in the text of a message by `[redacted]`: values of fields such as `token`, `password` or `auth`,
 * in JSON at any depth and in text such as `token=x`; JSON Web Tokens and `Bearer x` everywhere. Text without secrets is returned
 * unchanged. A secret that has neither such a name nor such a form is not found.
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
    `(?<![\\w-])((\\\\?["']?)(?:[\\w-]{0,64}(?:${PARTS})[\\w-]{0,64}|${whole})\\2\\s{0,8}[:=]\\s{0,8})${VALUE}`,
    'gi',
  )

  const inText = (text: string): string =>
    text.replace(JWT, REDACTED).replace(SCHEME, `$1 ${REDACTED}`).replace(assignment, `$1${REDACTED}`)

  const inValue = (value: unknown): unknown => {
    if (typeof value === 'string') return redact(value)
    if (typeof value !== 'object' || value === null) return value
    if (Array.isArray(value)) return value.map(inValue)
    return Object.fromEntries(
      Object.entries(value).map(([key, its]) => [key, mayHide(its) && name.test(key) ? REDACTED : inValue(its)]),
    )
  }

  const inJson = (text: string): string | undefined => {
    if (!/^\s*[[{"]/.test(text)) return undefined
    try {
      const value = readJson(text)
      const [before, after] = [JSON.stringify(value), JSON.stringify(inValue(value))]
      return before === after ? text : after
    } catch {
      return undefined
    }
  }

  // Some protocols send several documents in a message, one a line.
  const inLines = (text: string) =>
    text
      .split('\n')
      .map(line => inJson(line) ?? inText(line))
      .join('\n')

  const redact = (text: string): string => inJson(text) ?? inLines(text)
  return redact
}

/**
 * Makes a pattern for binary payloads as latin1: the names of fields that hold secrets, at any place, and the start of a JSON Web Token.
 *
 * @param names - of further fields, as for `redactor`.
 */
export function secretPattern(names: readonly string[] = []): RegExp {
  return new RegExp([PARTS, 'eyJ', ...names.map(patternOf)].join('|'), 'i')
}

/** Whether a value can be a secret. */
function mayHide(value: unknown): boolean {
  return value !== null && value !== '' && typeof value !== 'boolean'
}

function patternOf(name: string): string {
  const letters = [...name.replace(/[-_]/g, '')]
  return letters.map(letter => letter.replace(/[^\w]/, '\\$&')).join('[-_]?')
}
