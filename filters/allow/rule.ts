import type { Access, Client } from 'filtered-websocket'

/** How a broadcast to everyone is written where a topic stands. */
const EVERYONE = '@everyone'
const ACTIONS: readonly string[] = ['join', 'publish']

/** The claims of a client; `sub` is its identity, whatever has proven it. */
export type Claims = Readonly<Record<string, unknown>>

/** One sentence such as `role=admin join,publish room/*`, understood. */
export interface Rule {
  allows(access: Access, client: Client, claims: Claims): boolean
}

/**
 * Reads `WHO ACTIONS TOPICS`. WHO: `anyone`, `user` (has an identity), or `CLAIM=VALUE` (is the value, or a list that
 * holds it). ACTIONS: `join`, `publish`, or both with a comma. TOPICS: patterns, or `@everyone`.
 *
 * @throws Error that says what is wrong with it.
 */
export function readRule(text: string): Rule {
  const refuse = (why: string): never => {
    throw Object.assign(new Error(`--allow-rules: ${why} in "${text}"; a rule is such as "user join,publish chat/*"`), {
      code: 'ERR_OPTION',
    })
  }
  const [who = '', actions = '', ...topics] = text.trim().split(/\s+/)
  const isOne = whoOf(who) ?? refuse(`"${who}" is none of anyone, user, CLAIM=VALUE`)
  const wrong = actions.split(',').find(action => !ACTIONS.includes(action))
  if (wrong !== undefined) refuse(`"${wrong}" is neither join nor publish`)
  if (topics.length === 0) refuse('no topic')
  const patterns = topics.map(topic => patternOf(topic) ?? refuse(`"**" that is not the last of "${topic}"`))
  return {
    allows: ({ action, topic = EVERYONE }, client, claims) =>
      actions.split(',').includes(action) && isOne(client, claims) && patterns.some(pattern => pattern(topic, claims)),
  }
}

function whoOf(word: string): ((client: Client, claims: Claims) => boolean) | undefined {
  if (word === 'anyone') return () => true
  if (word === 'user') return client => client.identity !== undefined
  const [, name, wanted] = /^([^=]+)=(.+)$/.exec(word) ?? []
  if (name === undefined) return undefined
  return (_, claims) => [claimOf(claims, name)].flat().some(value => textOf(value) === wanted)
}

type Pattern = (topic: string, claims: Claims) => boolean

/** `/` parts a topic; `*` is any text within a part, `**` at the end any parts, `{claim}` that claim's value as it is. */
function patternOf(text: string): Pattern | undefined {
  if (text === EVERYONE) return topic => topic === EVERYONE
  const parts = text.split('/')
  const isOpen = parts.at(-1) === '**'
  if (isOpen) parts.pop()
  if (parts.some(part => part.includes('**'))) return undefined
  const matchers = parts.map(partOf)
  return (topic, claims) => {
    if (topic === EVERYONE) return false
    const given = topic.split('/')
    const isLength = isOpen ? given.length > matchers.length : given.length === matchers.length
    return isLength && matchers.every((matches, i) => matches(given[i]!, claims))
  }
}

/** Literals in order, what lies between them is anything: no pattern takes longer than its length times the topic's. */
function partOf(text: string): Pattern {
  const literals = text.split('*')
  return (given, claims) => {
    const wanted: string[] = []
    for (const literal of literals) {
      const filled = fill(literal, claims)
      if (filled === undefined) return false
      wanted.push(filled)
    }
    const first = wanted[0]!
    if (wanted.length === 1) return given === first
    const last = wanted.at(-1)!
    if (!given.startsWith(first) || !given.endsWith(last) || given.length < first.length + last.length) return false
    const end = given.length - last.length
    let at = first.length
    for (const literal of wanted.slice(1, -1)) {
      const found = given.indexOf(literal, at)
      if (found === -1 || found + literal.length > end) return false
      at = found + literal.length
    }
    return true
  }
}

/** `undefined`: the client has no such claim, or one that would reach into another part. */
function fill(literal: string, claims: Claims): string | undefined {
  let isComplete = true
  const filled = literal.replace(/\{([^{}]*)\}/g, (_, name: string) => {
    const value = textOf(claimOf(claims, name))
    if (value === undefined || value === '' || value.includes('/')) isComplete = false
    return value ?? ''
  })
  return isComplete ? filled : undefined
}

function claimOf(claims: Claims, name: string): unknown {
  return Object.hasOwn(claims, name) ? claims[name] : undefined
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
    ? String(value)
    : undefined
}
