import type { Access, Client } from '../contract/client.ts'
import { isPromise } from '../contract/deadline.ts'
import { FwsError } from '../contract/errors.ts'
import type { Handlers } from '../contract/filter.ts'
import { PRESENCE } from '../contract/streams.ts'
import type { ChainHost, Registered } from './chain.ts'

type Permit = Exclude<NonNullable<Handlers['permit']>, readonly unknown[]>

interface Step {
  readonly filter: string
  readonly run: Permit
}

/** The `permit` handlers of all filters: an action is allowed if all of them return true, or if there are none. */
export class Permits {
  readonly #steps: readonly Step[]
  readonly #host: Pick<ChainHost, 'report'>

  constructor(filters: readonly Registered[], host: Pick<ChainHost, 'report'>) {
    this.#steps = filters.flatMap(({ name: filter, handlers }) =>
      [handlers.permit ?? []].flat().map(run => ({ filter, run: run as Permit })),
    )
    this.#host = host
  }

  get empty(): boolean {
    return this.#steps.length === 0
  }

  /**
   * A handler that throws refuses. Clients that may join TOPIC may join and read `@presence/TOPIC`; no client may publish to it.
   */
  allow(access: Access, client: Client): boolean {
    const watched = access.topic?.startsWith(PRESENCE) ? access.topic.slice(PRESENCE.length) : undefined
    if (watched === undefined) return this.#steps.every(step => this.#ask(step, access, client))
    // Topics that begin with @ belong to filters, and have no presence.
    if (access.action === 'publish' || watched.startsWith('@')) return false
    const join: Access = { action: 'join', topic: watched }
    return this.#steps.every(step => this.#ask(step, join, client))
  }

  /** @throws FwsError `ERR_FORBIDDEN`. */
  check(access: Access, client: Client): void {
    if (!this.allow(access, client)) throw forbidden(access)
  }

  #ask({ filter, run }: Step, access: Access, client: Client): boolean {
    try {
      const verdict: unknown = run(access, client)
      if (typeof verdict === 'boolean') return verdict
      // The promise is not awaited: its rejection must not end the process.
      if (isPromise(verdict)) verdict.then(undefined, () => {})
      throw new FwsError('ERR_VERDICT', `returned ${typeof verdict}; a permit handler returns true or false`)
    } catch (error) {
      this.#host.report(error, { chain: 'permit', filter, id: client.id })
      return false
    }
  }
}

const VERBS = { join: 'join', read: 'read', publish: 'publish to' } as const

/** Characters of a topic in an error. */
const SHOWN = 100

function forbidden({ action, topic }: Access): FwsError {
  const cut = topic !== undefined && topic.length > SHOWN ? `${topic.slice(0, SHOWN)}…` : topic
  const where = cut === undefined ? 'everyone' : JSON.stringify(cut)
  return new FwsError('ERR_FORBIDDEN', `not allowed to ${VERBS[action]} ${where}`)
}
