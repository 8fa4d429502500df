import type { Access } from 'filtered-websocket'
import { optionError } from 'filtered-websocket/kit'
import { type Claims, type Pattern, plainText, readPattern } from './pattern.ts'

/** How a broadcast to everyone is written where a topic stands. */
const EVERYONE = '@everyone'
const ACTIONS: readonly string[] = ['join', 'publish']

/** One sentence such as `role=admin join,publish room/*`, understood. */
export interface Rule {
  readonly actions: readonly string[]
  /** Whether it speaks of a client with these claims. */
  readonly isAbout: (claims: Claims) => boolean
  readonly everyone: boolean
  readonly patterns: readonly Pattern[]
}

/**
 * Reads `WHO ACTIONS TOPICS`. WHO: `anyone`, `user` (has an identity), or `CLAIM=VALUE` (is the value, or a list that
 * holds it). ACTIONS: `join`, `publish`, or both with a comma. TOPICS: patterns, or `@everyone`, apart by blanks.
 *
 * @throws Error that says what is wrong with it.
 */
export function readRule(text: string): Rule {
  try {
    const [who = '', actions = '', ...topics] = text.trim().split(/\s+/)
    const isAbout = readWho(who)
    const wanted = actions.split(',')
    const wrong = wanted.find(action => !ACTIONS.includes(action))
    if (wrong !== undefined) throw new Error(`"${wrong}" is neither join nor publish`)
    if (topics.length === 0) throw new Error('no topic')
    const everyone = topics.includes(EVERYONE)
    if (everyone && wanted.includes('join')) throw new Error(`${EVERYONE} cannot be joined`)
    return { actions: wanted, isAbout, everyone, patterns: topics.filter(topic => topic !== EVERYONE).map(readPattern) }
  } catch (error) {
    const { message } = error as Error
    const example = 'a rule is such as "user join,publish chat/*"'
    throw optionError(`--allow-rules: ${message} in "${text}"; ${example}`)
  }
}

/** @param parts - of the topic; `undefined`: everyone. */
export function allows(rule: Rule, action: Access['action'], parts: readonly string[] | undefined, claims: Claims) {
  if (!rule.actions.includes(action) || !rule.isAbout(claims)) return false
  return parts === undefined ? rule.everyone : rule.patterns.some(isMeant => isMeant(parts, claims))
}

function readWho(word: string): Rule['isAbout'] {
  if (word === 'anyone') return () => true
  if (word === 'user') return ({ sub }) => sub !== undefined
  const [, name, wanted] = /^([^=]+)=(.+)$/.exec(word) ?? []
  if (name === undefined) throw new Error(`"${word}" is none of anyone, user, CLAIM=VALUE`)
  return claims => Object.hasOwn(claims, name) && [claims[name]].flat().some(value => plainText(value) === wanted)
}
