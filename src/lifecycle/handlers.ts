import { CHAIN_NAMES } from '../chain/chains.ts'
import type { Server } from '../contract/client.ts'
import type { Awaitable } from '../contract/deadline.ts'
import type { Handlers } from '../contract/filter.ts'

/** The handlers that a module exports and, after them, those that its setup returned. */
export function mergeHandlers(exported: Handlers, returned: Handlers): Handlers {
  const handlers: Record<string, unknown> = {}
  for (const key of [...CHAIN_NAMES, 'permit', 'retain', 'joined', 'left'] as const) {
    const both = [exported[key] ?? [], returned[key] ?? []].flat()
    if (both.length > 0) handlers[key] = both
  }
  const starts = [exported, returned].filter(own => own.start !== undefined)
  const reloads = [exported, returned].filter(own => own.reload !== undefined)
  const stops = [returned, exported].filter(own => own.stop !== undefined)
  return {
    ...handlers,
    ...(starts.length > 0 && { start: (server: Server) => inTurn(starts.map(own => () => own.start!(server))) }),
    ...(reloads.length > 0 && { reload: () => asOne(reloads.map(own => own.reload!())) }),
    ...(stops.length > 0 && { stop: () => inTurn(stops.map(own => () => own.stop!())) }),
  }
}

async function inTurn(steps: readonly (() => Awaitable<void>)[]): Promise<void> {
  for (const step of steps) await step()
}

/** The functions that several `reload` handlers of one module returned, as one. */
function asOne(uses: readonly ((() => void) | undefined)[]): () => void {
  const wrong = uses.find(use => use !== undefined && typeof use !== 'function')
  if (wrong !== undefined) throw new Error(`it must return a function, received ${typeof wrong}`)
  return () => {
    for (const use of uses) use?.()
  }
}
