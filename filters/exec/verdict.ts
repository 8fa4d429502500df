import { type Client, DROP, type Verdict } from 'filtered-websocket'
import { payloadIn, visible } from 'filtered-websocket/kit'
import { excerpt, type Line, type ProgramEvent } from './protocol.ts'

/** Characters of the reason of a drop, which labels a counter. */
const MAX_REASON = 64

/**
 * Carries out the verdict of a program: one field next to `id` (of `refuse` also `reason`), or none to pass.
 *
 * @throws Error: the program reports an error, or the verdict is malformed. A field that is not known could mean a refusal.
 */
export function carryOut(event: ProgramEvent, client: Client | undefined, verdict: Line): Verdict {
  const kinds = Object.keys(verdict).filter(key => key !== 'id' && !(key === 'reason' && 'refuse' in verdict))
  if (kinds.length === 0) return
  const [kind] = kinds
  const value = verdict[kind!]
  if (kinds.length === 1) {
    if (kind === 'pass' && value === true) return
    if (kind === 'error' && typeof value === 'string') throw new Error(visible(excerpt(value)))
    if (event === 'connect') {
      if (kind === 'refuse' && typeof value === 'number') return client!.refuse(value, reasonIn(verdict))
      if (kind === 'identity' && typeof value === 'string') {
        client!.identity = value
        return
      }
    } else if (kind === 'data' || kind === 'binary') {
      return payloadIn(verdict)
    } else if (kind === 'drop' && (value === true || typeof value === 'string')) {
      const reason = value === true || value === '' ? undefined : visible(value.slice(0, MAX_REASON))
      return client === undefined ? DROP : client.drop(reason)
    }
  }
  throw new Error(`the program answered a question of ${event} with ${visible(excerpt(verdict))}`)
}

function reasonIn({ reason }: Line): string | undefined {
  return typeof reason === 'string' ? reason : undefined
}
