import { AsyncLocalStorage } from 'node:async_hooks'
import type { ChainHost } from './chain.ts'
import type { Registered } from './chains.ts'
import { FwsError } from './errors.ts'
import type { Access, Client, Handlers } from './types.ts'

type Permit = Exclude<NonNullable<Handlers['permit']>, readonly unknown[]>

interface Step {
  readonly filter: string
  readonly run: Permit
}

/**
 * What clients may hear and say: every `permit` handler has to agree. Where there is none everything is allowed, and
 * costs nothing.
 */
export class Permits {
  readonly #steps: readonly Step[]
  readonly #host: Pick<ChainHost, 'report'>
  /** The client whose message is being handled, behind every `await` of its filters too. */
  readonly #speakers = new AsyncLocalStorage<Client>()

  constructor(filters: readonly Registered[], host: Pick<ChainHost, 'report'>) {
    this.#steps = filters.flatMap(({ name: filter, handlers }) =>
      [handlers.permit ?? []].flat().map(run => ({ filter, run: run as Permit })),
    )
    this.#host = host
  }

  get empty(): boolean {
    return this.#steps.length === 0
  }

  /** Whoever fails to agree refuses. */
  allows(access: Access, client: Client): boolean {
    return this.#steps.every(step => {
      try {
        const verdict = step.run(access, client)
        if (typeof verdict === 'boolean') return verdict
        throw new FwsError('ERR_VERDICT', `returned ${typeof verdict}; a permit handler returns true or false`)
      } catch (error) {
        this.#host.report(error, { chain: 'permit', filter: step.filter, id: client.id })
        return false
      }
    })
  }

  /** Runs the handlers of a client's message: what they broadcast, the client says. */
  speak<T>(client: Client, handle: () => T): T {
    return this.#speakers.run(client, handle)
  }

  /** @throws FwsError `ERR_FORBIDDEN` if a client is speaking that must not. */
  checkSpeaker(topic: string | undefined): void {
    const speaker = this.#speakers.getStore()
    if (speaker !== undefined && !this.allows({ action: 'publish', topic }, speaker))
      throw forbidden({ action: 'publish', topic })
  }
}

/** The error behind which a chain ends and its client is told; any other would be the filter's failure. */
export function forbidden({ action, topic }: Access): FwsError {
  const what = topic === undefined ? 'everyone' : JSON.stringify(topic.length > 100 ? `${topic.slice(0, 100)}…` : topic)
  return new FwsError('ERR_FORBIDDEN', `not allowed to ${action === 'join' ? 'join' : 'publish to'} ${what}`)
}

export function isForbidden(error: unknown): error is FwsError {
  return error instanceof FwsError && error.code === 'ERR_FORBIDDEN'
}
