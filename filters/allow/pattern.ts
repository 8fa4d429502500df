/** The claims of a client. */
export type Claims = Readonly<Record<string, unknown>>

/** Whether a topic, split at `/`, is meant. */
export type Pattern = (parts: readonly string[], claims: Claims) => boolean

/** A text as it is, or the name of a claim whose value stands there. */
type Piece = string | { readonly claim: string }
/** Pieces between two `*`. */
type Literal = readonly Piece[]

/**
 * Reads a pattern: `/` parts a topic; `*` is any text within a part, `**` at the end one or more parts of any kind,
 * `{claim}` that claim's value, as it is and within a part.
 *
 * @throws Error that says what is wrong with it.
 */
export function readPattern(text: string): Pattern {
  const parts = partsIn(text)
  const isOpen = isAnything(parts.at(-1)!)
  if (isOpen) parts.pop()
  if (parts.some(part => part.some((literal, i) => literal.length === 0 && i > 0 && i < part.length - 1)))
    throw new Error(`"**" that is not the end of "${text}"`)
  return (given, claims) =>
    (isOpen ? given.length > parts.length : given.length === parts.length) &&
    parts.every((part, i) => isPart(part, given[i]!, claims))
}

/** `**`: three literals, all empty. */
function isAnything(part: readonly Literal[]): boolean {
  return part.length === 3 && part.every(literal => literal.length === 0)
}

/** The literals of each part, between its `*`. What stands in braces is neither parted nor a `*`. */
function partsIn(text: string): Literal[][] {
  let literal: Piece[] = []
  let part: Literal[] = [literal]
  const parts = [part]
  for (const [token] of text.matchAll(/\{[^{}]*\}|[^{}/*]+|./gs)) {
    if (token === '/') {
      literal = []
      part = [literal]
      parts.push(part)
    } else if (token === '*') {
      literal = []
      part.push(literal)
    } else if (/^\{.+\}$/.test(token)) {
      literal.push({ claim: token.slice(1, -1) })
    } else if (/^[{}]/.test(token)) {
      throw new Error(`a brace that encloses no claim in "${text}"`)
    } else {
      literal.push(token)
    }
  }
  return parts
}

/** Literals in order, anything between them: takes no longer than the pattern's length times the part's. */
function isPart(part: readonly Literal[], given: string, claims: Claims): boolean {
  const wanted: string[] = []
  for (const literal of part) {
    const text = textOf(literal, claims)
    if (text === undefined) return false
    wanted.push(text)
  }
  const first = wanted[0]!
  if (wanted.length === 1) return given === first
  const last = wanted.at(-1)!
  const end = given.length - last.length
  if (end < first.length || !given.startsWith(first) || !given.endsWith(last)) return false
  let at = first.length
  for (let i = 1; i < wanted.length - 1; i++) {
    const found = given.indexOf(wanted[i]!, at)
    if (found === -1 || found + wanted[i]!.length > end) return false
    at = found + wanted[i]!.length
  }
  return true
}

/** `undefined`: the client has no such claim, or one that would reach into another part. */
function textOf(literal: Literal, claims: Claims): string | undefined {
  let text = ''
  for (const piece of literal) {
    const value = typeof piece === 'string' ? piece : claimText(claims, piece.claim)
    if (value === undefined || (typeof piece !== 'string' && (value === '' || value.includes('/')))) return undefined
    text += value
  }
  return text
}

/** The value of a claim of the client's own as text; `undefined`: it has none, or one that is no single value. */
function claimText(claims: Claims, name: string): string | undefined {
  return Object.hasOwn(claims, name) ? plainText(claims[name]) : undefined
}

export function plainText(value: unknown): string | undefined {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
    ? String(value)
    : undefined
}
