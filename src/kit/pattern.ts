import { type Claims, claimString } from './claims.ts'

/** Whether a topic matches. @param parts - see `topicParts`. @param claims - values of `{claim}`. Default: none. */
export type Pattern = (parts: readonly string[], claims?: Claims) => boolean

/** Characters of a topic; longer topics match no pattern. */
const MAX_TOPIC = 1024
/** Begins the topics that belong to filters, such as `@everyone`. */
const RESERVED = '@'
const NO_CLAIMS: Claims = {}

/** A literal string, or the name of a claim that is replaced by its value. */
type Piece = string | { readonly claim: string }
/** Pieces between two wildcards. */
type Literal = readonly Piece[]

/** The parts of a topic, to match it with several patterns. Empty, which no pattern matches, for more than 1,024 characters. */
export function topicParts(topic: string): readonly string[] {
  return topic.length > MAX_TOPIC ? [] : topic.split('/')
}

/**
 * Parses a pattern of topics. `/` separates parts; `*` matches any characters within a part, `**` at the end one or more parts,
 * `{claim}` the exact value of that claim. Topics that begin with `@` belong to filters: only a pattern that begins with `@` matches them.
 *
 * @throws Error with a message that describes the mistake.
 * @example
 * const matches = readPattern('chat/*')
 * matches(topicParts('chat/1')) // true
 */
export function readPattern(text: string): Pattern {
  const parts = partsIn(text)
  const hasRest = isDoubleStar(parts.at(-1)!)
  if (hasRest) parts.pop()
  if (parts.some(part => part.some((literal, i) => literal.length === 0 && i > 0 && i < part.length - 1)))
    throw new Error(`"**" is only valid as the last part, received "${text}"`)
  const isReserved = text.startsWith(RESERVED)
  return (given, claims = NO_CLAIMS) =>
    (isReserved || !given[0]?.startsWith(RESERVED)) &&
    (hasRest ? given.length > parts.length : given.length === parts.length) &&
    parts.every((part, i) => matchesPart(part, given[i]!, claims))
}

/** `**` parses to three empty literals. */
function isDoubleStar(part: readonly Literal[]): boolean {
  return part.length === 3 && part.every(literal => literal.length === 0)
}

/** Splits each part at `*` into literals. `/` and `*` inside braces are part of a claim's name. */
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
      throw new Error(`"${text}" has a brace without {CLAIM}`)
    } else {
      literal.push(token)
    }
  }
  return parts
}

/** Whether the literals occur in order. Takes at most the pattern's length times the part's. */
function matchesPart(part: readonly Literal[], given: string, claims: Claims): boolean {
  const wanted: string[] = []
  for (const literal of part) {
    const text = literalText(literal, claims)
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

/** `undefined` if a claim is missing, empty or contains `/`, which would match another part. */
function literalText(literal: Literal, claims: Claims): string | undefined {
  let text = ''
  for (const piece of literal) {
    const value = typeof piece === 'string' ? piece : claimString(claims, piece.claim)
    if (value === undefined || (typeof piece !== 'string' && value.includes('/'))) return undefined
    text += value
  }
  return text
}
