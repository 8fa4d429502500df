import type { Access, Client, Host, OptionSpecs } from 'filtered-websocket'
import { type Claims, readRule } from './allow/rule.ts'

export const stage = 'guard'

export const options = {
  'allow-rules': {
    type: 'array',
    demandOption: true,
    describe: 'who may do what with which topics, such as "user join,publish chat/*"; all else is refused',
  },
} as const satisfies OptionSpecs

/** Lets clients join topics, and publish to them, as far as a rule says so. */
export const setup = ({ options: chosen }: Host<typeof options>) => {
  const rules = chosen['allow-rules'].map(readRule)
  return {
    permit(access: Access, client: Client): boolean {
      const claims = claimsOf(client)
      return rules.some(rule => rule.allows(access, client, claims))
    },
  }
}

/** What a filter that authenticates has left on the client. */
function claimsOf({ identity, state }: Client): Claims {
  const { user } = state as { user?: Claims }
  return identity === undefined ? { ...user } : { ...user, sub: identity }
}
