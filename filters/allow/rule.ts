import { type Access, EVERYONE } from 'filtered-websocket'
import { type Claims, claimStrings, optionError, type Pattern, readPattern } from 'filtered-websocket/kit'

const ACTIONS: readonly string[] = ['join', 'read', 'publish']

/** A parsed rule such as `role=admin join,publish room/*`. */
export interface Rule {
  readonly actions: readonly string[]
  /** Whether the rule applies to a client with these claims. */
  readonly appliesTo: (claims: Claims) => boolean
  readonly everyone: boolean
  readonly patterns: readonly Pattern[]
}

/**
 * Parses `CLIENTS ACTIONS TOPICS`. CLIENTS: `anyone`, `user` (has an identity), or `CLAIM=VALUE` (the claim is the value, or an
 * array or a scope that contains it; `a.b` is claim b in claim a). ACTIONS: `join`, `read` (the past of a
 * kept topic, which `join` does not permit) and `publish`, separated by commas. TOPICS: patterns or `@everyone`, separated by spaces.
 *
 * @throws Error `ERR_OPTION` with a message that describes the mistake.
 */
export function readRule(text: string): Rule {
  try {
    const [clients = '', actions = '', ...topics] = text.trim().split(/\s+/)
    const appliesTo = readClients(clients)
    const wanted = actions.split(',')
    const wrong = wanted.find(action => !ACTIONS.includes(action))
    if (wrong !== undefined) throw new Error(`"${wrong}" is not an action (${ACTIONS.join(', ')})`)
    if (topics.length === 0) throw new Error('a topic is missing')
    const everyone = topics.includes(EVERYONE)
    if (everyone && wanted.includes('join')) throw new Error(`${EVERYONE} cannot be joined`)
    return {
      actions: wanted,
      appliesTo,
      everyone,
      patterns: topics.filter(topic => topic !== EVERYONE).map(readPattern),
    }
  } catch (error) {
    const { message } = error as Error
    throw optionError(`--allow-rules: rule "${text}": ${message}; write a rule like "user join,publish chat/*"`)
  }
}

/** @param parts - parts of the topic; `undefined` for all clients. */
export function allows(rule: Rule, action: Access['action'], parts: readonly string[] | undefined, claims: Claims) {
  if (!rule.actions.includes(action) || !rule.appliesTo(claims)) return false
  return parts === undefined ? rule.everyone : rule.patterns.some(matches => matches(parts, claims))
}

function readClients(word: string): Rule['appliesTo'] {
  if (word === 'anyone') return () => true
  if (word === 'user') return ({ sub }) => sub !== undefined
  const [, name, wanted] = /^([^=]+)=(.+)$/.exec(word) ?? []
  if (name === undefined) throw new Error(`"${word}" is not anyone, user or CLAIM=VALUE`)
  return claims => claimStrings(claims, name).includes(wanted!)
}
