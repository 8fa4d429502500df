import type { Access, Client, Host, OptionSpecs } from 'filtered-websocket'
import type { Claims } from './allow/pattern.ts'
import { allows, readRule } from './allow/rule.ts'

export const describe = 'Permit identities to join and publish to topics by rules'

export const stage = 'guard'

export const options = {
  'allow-rules': {
    type: 'array',
    separator: ';',
    demandOption: true,
    describe: 'who may do what with which topics, such as "user join,publish chat/*"; all else is refused',
  },
} as const satisfies OptionSpecs

/** Characters of a topic; a longer one is nobody's. */
const MAX_TOPIC = 1024

/** Lets clients join topics, and publish to them, as far as a rule says so. */
export const setup = ({ options: chosen }: Host<typeof options>) => {
  const rules = chosen['allow-rules'].map(readRule)
  return {
    permit({ action, topic }: Access, client: Client): boolean {
      if (topic !== undefined && topic.length > MAX_TOPIC) return false
      const parts = topic?.split('/')
      const claims = claimsOf(client)
      return rules.some(rule => allows(rule, action, parts, claims))
    },
  }
}

/** What a filter that authenticates has left on the client; `sub` is the identity, whatever else claims to be. */
function claimsOf({ identity, state }: Client): Claims {
  const { user } = state as { user?: Claims }
  return { ...user, sub: identity }
}
