import type { Access, Client, Host, OptionSpecs } from 'filtered-websocket'
import { type Claims, topicParts } from 'filtered-websocket/kit'
import { allows, readRule } from './allow/rule.ts'

export const describe = 'Permit identities to join, read and publish to topics by rules'

export const stage = 'guard'

export const options = {
  'allow-rules': {
    type: 'array',
    refuseEmpty: true,
    separator: ';',
    demandOption: true,
    describe:
      'Rules "CLIENTS ACTIONS TOPICS", such as "user join,publish chat/*". Actions that no rule allows are refused',
  },
} as const satisfies OptionSpecs

/** Permits joining, reading and publishing to a topic if a rule allows it. */
export const setup = ({ options: chosen }: Host<typeof options>) => {
  const rules = chosen['allow-rules'].map(readRule)
  return {
    permit({ action, topic }: Access, client: Client): boolean {
      const parts = topic === undefined ? undefined : topicParts(topic)
      const claims = claimsOf(client)
      return rules.some(rule => allows(rule, action, parts, claims))
    },
  }
}

/** Claims of the user set by an authenticating filter. `sub` is always the client's identity. */
function claimsOf({ identity, state }: Client): Claims {
  const { user } = state as { user?: Claims }
  return { ...user, sub: identity }
}
