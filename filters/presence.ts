import {
  DROP,
  type Drop,
  type Host,
  type OptionSpecs,
  PRESENCE,
  type Publication,
  type Retention,
} from 'filtered-websocket'
import { optionError, type Pattern, readPattern } from 'filtered-websocket/kit'
import { Presence } from './presence/presence.ts'

export type * from './presence/api.ts'

export const describe = 'Track the members of topics on all nodes'

export const needs = ['streams', 'values', 'sets'] as const

export const options = {
  'presence-topics': {
    type: 'array',
    demandOption: true,
    describe: 'Patterns of the topics with presence, such as "chat/**"',
  },
  'presence-grace': {
    type: 'number',
    default: 10,
    min: 0,
    max: 3600,
    describe: 'Seconds from the disconnect of the last client of a user to the leave of the user; 0: at once',
  },
  'presence-max': {
    type: 'number',
    default: 1000,
    min: 1,
    max: 100_000,
    integer: true,
    describe: 'Users of a topic above which joins and leaves are not announced, until there are fewer than 80 %',
  },
  'presence-lease': {
    type: 'number',
    default: 10,
    min: 0.5,
    max: 3600,
    describe:
      'Seconds for which the lease of a node is valid; clients of a node that does not renew it leave after two leases',
  },
} as const satisfies OptionSpecs

/** Of `@presence/TOPIC`: the changes that a client can recover. */
const RETENTION: Retention = { size: 1000, ttlMs: 300_000, full: 'trim', away: 'wait', waitMs: 5000 }

/** Keeps the members of the topics that a pattern matches, and announces their changes in `@presence/TOPIC`. */
export const setup = (host: Host<typeof options>) => {
  const { options: chosen } = host
  const topics = chosen['presence-topics']
  const presence = new Presence(host, {
    patterns: topics.map(patternOf),
    graceMs: chosen['presence-grace'] * 1000,
    leaseMs: chosen['presence-lease'] * 1000,
    max: chosen['presence-max'],
  })
  return {
    start: presence.start.bind(presence),
    stop: presence.stop.bind(presence),
    joined: presence.joined.bind(presence),
    left: presence.left.bind(presence),
    retain: (topic: string): Retention | undefined =>
      topic.startsWith(PRESENCE) && presence.covers(topic.slice(PRESENCE.length)) ? RETENTION : undefined,
    // The core refuses publications of clients to `@presence/TOPIC`, through `client.server` only if there is a permit.
    permit: () => true,
    publish: ({ topic }: Publication): Drop | undefined => (topic.startsWith(PRESENCE) ? DROP : undefined),
    api: presence,
    explain: topics,
  }
}

/** @throws Error `ERR_OPTION`. */
function patternOf(text: string): Pattern {
  const refuse = (why: string): never => {
    throw optionError(`--presence-topics: "${text.slice(0, 100)}": ${why}`)
  }
  if (text.startsWith('@')) refuse('topics that begin with @ belong to filters, and have no presence')
  if (/[{}]/.test(text)) refuse('braces stand for claims, which topics do not have; use *')
  try {
    return readPattern(text)
  } catch (error) {
    return refuse((error as Error).message)
  }
}
