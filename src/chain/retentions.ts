import { FwsError, shown } from '../contract/errors.ts'
import type { Handlers } from '../contract/filter.ts'
import type { Retention } from '../contract/streams.ts'
import type { ChainHost, Registered } from './chain.ts'

type Retain = Exclude<NonNullable<Handlers['retain']>, readonly unknown[]>

interface Step {
  readonly filter: string
  readonly run: Retain
}

const FULL = ['trim', 'refuse']
const AWAY = ['wait', 'refuse', 'live', undefined]

/** The `retain` handlers of all filters: the first answer holds. */
export class Retentions {
  readonly #steps: readonly Step[]
  readonly #host: Pick<ChainHost, 'report'>

  constructor(filters: readonly Registered[], host: Pick<ChainHost, 'report'>) {
    this.#steps = filters.flatMap(({ name: filter, handlers }) =>
      [handlers.retain ?? []].flat().map(run => ({ filter, run: run as Retain })),
    )
    this.#host = host
  }

  get empty(): boolean {
    return this.#steps.length === 0
  }

  /** A handler that throws, or returns a wrong answer, is skipped. */
  of(topic: string): Retention | undefined {
    for (const { filter, run } of this.#steps) {
      try {
        const retention = run(topic)
        if (retention !== undefined) return check(retention)
      } catch (error) {
        this.#host.report(error, { chain: 'retain', filter, id: undefined })
      }
    }
    return undefined
  }
}

function check(retention: Retention): Retention {
  const { size, bytes = 1, ttlMs, full, away, waitMs = 1, recoverBytes = 1 } = retention
  const isRight =
    [size, bytes, ttlMs, waitMs, recoverBytes].every(number => Number.isSafeInteger(number) && number >= 1) &&
    FULL.includes(full) &&
    AWAY.includes(away)
  if (isRight) return retention
  throw new FwsError(
    'ERR_VERDICT',
    `returned ${shown(retention)}; a retain handler returns { size, ttlMs, full }, or nothing`,
  )
}
