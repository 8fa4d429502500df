import type { Client } from '../contract/client.ts'
import { isPromise } from '../contract/deadline.ts'
import { FwsError } from '../contract/errors.ts'
import type { Handlers } from '../contract/filter.ts'
import type { ChainHost, Registered } from './chain.ts'

type Membership = Exclude<NonNullable<Handlers['joined']>, readonly unknown[]>

interface Step {
  readonly filter: string
  readonly run: Membership
}

/** The `joined` and `left` handlers of all filters. Their errors are contained. */
export interface Memberships {
  joined(topic: string, client: Client): void
  left(topic: string, client: Client): void
}

/** `undefined` without handlers: joins cost nothing then. */
export function membershipsOf(
  filters: readonly Registered[],
  host: Pick<ChainHost, 'report'>,
): Memberships | undefined {
  const stepsOf = (key: 'joined' | 'left'): readonly Step[] =>
    filters.flatMap(({ name: filter, handlers }) =>
      [handlers[key] ?? []].flat().map(run => ({ filter, run: run as Membership })),
    )
  const callerOf = (chain: 'joined' | 'left', steps: readonly Step[]) => (topic: string, client: Client) => {
    for (const { filter, run } of steps) {
      try {
        const result: unknown = run(topic, client)
        if (!isPromise(result)) continue
        // The promise is not awaited: its rejection must not end the process.
        result.then(undefined, () => {})
        throw new FwsError('ERR_VERDICT', `returned a promise; a ${chain} handler is synchronous`)
      } catch (error) {
        host.report(error, { chain, filter, id: client.id })
      }
    }
  }
  const [joined, left] = [stepsOf('joined'), stepsOf('left')]
  if (joined.length + left.length === 0) return undefined
  return { joined: callerOf('joined', joined), left: callerOf('left', left) }
}
