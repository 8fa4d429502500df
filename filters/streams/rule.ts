import { EVERYONE, type Retention } from 'filtered-websocket'
import { optionError, type Pattern, readPattern } from 'filtered-websocket/kit'

/** A parsed rule such as `chat/** size=500 ttl=5m`. */
export interface Rule {
  readonly pattern: string
  readonly matches: Pattern
  readonly retention: Retention
}

/** Settings that all rules share. */
export type Defaults = Pick<Retention, 'away' | 'waitMs' | 'recoverBytes'>

const MAX_SIZE = 100_000
const MAX_BYTES = 1_000_000_000
/** Milliseconds. */
const UNITS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const MAX_TTL_MS = 365 * UNITS.d!
const TRIM_OR_REFUSE = ['trim', 'refuse']
const NUMBERS = { size: [MAX_SIZE, 'entries'], bytes: [MAX_BYTES, 'bytes'] } as const
const EXAMPLE = 'write a rule like "chat/** size=500 ttl=5m"'

/** A mistake at a place of a rule. */
class Mistake extends Error {
  readonly column: number

  /** @param column - from 1. */
  constructor(message: string, column: number) {
    super(message)
    this.column = column
  }
}

interface Word {
  readonly text: string
  readonly column: number
}

/** @throws Error `ERR_OPTION` with the rule, and the column of its mistake. */
export function readRules(texts: readonly string[], defaults: Defaults): readonly Rule[] {
  const places = new Map<string, number>()
  return texts.map((text, i) => {
    try {
      const rule = readRule(text, defaults)
      const earlier = places.get(rule.pattern)
      if (earlier !== undefined) {
        const message = `rule ${earlier} has the pattern ${rule.pattern} too, so this one never holds`
        throw new Mistake(message, text.indexOf(rule.pattern) + 1)
      }
      places.set(rule.pattern, i + 1)
      return rule
    } catch (error) {
      if (!(error instanceof Mistake)) throw error
      const where = `rule ${i + 1}, "${cut(text)}", column ${error.column}`
      throw optionError(`--streams-rules: ${where}: ${error.message}; ${EXAMPLE}`)
    }
  })
}

/** A rule with all its settings, for `--explain`. */
export function describeRule({ pattern, retention }: Rule): string {
  const { size, bytes, ttlMs, full, away, waitMs, recoverBytes } = retention
  return `${pattern} size=${size}${bytes === undefined ? '' : ` bytes=${bytes}`} ttl=${ttlOf(ttlMs)} full=${full} away=${away} wait=${waitMs! / 1000}s recover=${recoverBytes}`
}

/** Parses `TOPICS size=ENTRIES ttl=TIME bytes=BYTES full=trim|refuse`: a pattern, then its settings in any order. */
function readRule(text: string, defaults: Defaults): Rule {
  const words = Array.from(text.matchAll(/\S+/g), ({ 0: word, index }): Word => ({ text: word, column: index + 1 }))
  const [pattern, ...rest] = words
  if (pattern === undefined) throw new Mistake('a pattern of topics is missing', 1)
  const settings = new Map<string, Word>()
  for (const { text: word, column } of rest) {
    const [, name, value] = /^(size|ttl|bytes|full)=(.*)$/.exec(word) ?? []
    if (name === undefined) throw new Mistake(`"${cut(word)}" is not size=, ttl=, bytes= or full=`, column)
    if (settings.has(name)) throw new Mistake(`${name}= is there twice`, column)
    settings.set(name, { text: value!, column: column + name.length + 1 })
  }
  const of = (name: string): Word => {
    const word = settings.get(name)
    if (word === undefined) throw new Mistake(`${name}= is missing`, text.length + 1)
    return word
  }
  const bytes = settings.get('bytes')
  const full = settings.get('full')
  if (full !== undefined && !TRIM_OR_REFUSE.includes(full.text))
    throw new Mistake(`full= takes trim or refuse, received "${cut(full.text)}"`, full.column)
  return {
    pattern: pattern.text,
    matches: patternOf(pattern),
    retention: {
      size: numberOf('size', of('size')),
      ...(bytes !== undefined && { bytes: numberOf('bytes', bytes) }),
      ttlMs: ttlMsOf(of('ttl')),
      full: full?.text === 'refuse' ? 'refuse' : 'trim',
      ...defaults,
    },
  }
}

function patternOf({ text, column }: Word): Pattern {
  if (text.startsWith('@') && text !== EVERYONE)
    throw new Mistake(
      `"${cut(text)}": topics that begin with @ belong to filters; only ${EVERYONE} can be kept`,
      column,
    )
  const brace = text.search(/[{}]/)
  if (brace !== -1) throw new Mistake('braces stand for claims, which topics do not have; use *', column + brace)
  try {
    return readPattern(text)
  } catch (error) {
    throw new Mistake((error as Error).message, column)
  }
}

function numberOf(name: keyof typeof NUMBERS, { text, column }: Word): number {
  const [max, unit] = NUMBERS[name]
  const number = /^\d{1,10}$/.test(text) ? Number(text) : 0
  if (number >= 1 && number <= max) return number
  throw new Mistake(`${name}= takes a number of ${unit} from 1 to ${max}, received "${cut(text)}"`, column)
}

function ttlMsOf({ text, column }: Word): number {
  const [, number, unit] = /^(\d{1,9})([smhd])$/.exec(text) ?? []
  const ttlMs = number === undefined ? 0 : Number(number) * UNITS[unit!]!
  if (ttlMs >= 1 && ttlMs <= MAX_TTL_MS) return ttlMs
  throw new Mistake(`ttl= takes a time from 1s to 365d with the unit s, m, h or d, received "${cut(text)}"`, column)
}

/** In the largest unit without a fraction. */
function ttlOf(ttlMs: number): string {
  const [unit, ms] = Object.entries(UNITS).findLast(([, ms]) => ttlMs % ms === 0)!
  return `${ttlMs / ms}${unit}`
}

/** Bounds the length of an error. */
function cut(text: string): string {
  return text.length > 100 ? `${text.slice(0, 100)}…` : text
}
