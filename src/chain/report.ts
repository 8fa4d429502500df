import type { Logger } from 'pino'
import type { Counters } from '../contract/metrics.ts'
import { LogLimit } from '../kit/rate-limited-log.ts'
import { shortened } from './stack.ts'

/** Log lines per second for the errors of one filter; all errors are counted. */
const LINES_PER_SECOND = 5

/** Logs any thrown value, even one that throws again while it is serialized. */
export function logError(
  log: Logger,
  level: 'error' | 'fatal',
  error: unknown,
  text: string,
  where: Readonly<Record<string, unknown>> = {},
): void {
  try {
    log[level]({ ...where, err: error }, text)
  } catch {
    log[level](where, `${text}, with an error that cannot be shown`)
  }
}

/** Counts the errors of filters and logs them with their source, rate-limited. */
export class ErrorReport {
  readonly #log: Logger
  readonly #counters: Counters
  readonly #limit = new LogLimit(LINES_PER_SECOND, 1000)

  constructor(log: Logger, counters: Counters) {
    this.#log = log
    this.#counters = counters
  }

  /** @param where - source of the error; lines are limited per `filter` and `chain`. */
  add(
    error: unknown,
    where: { readonly filter: string; readonly chain: string; readonly id?: string | undefined },
  ): void {
    this.#counters.errors++
    const { filter, chain } = where
    const { isOver, suppressed } = this.#limit.take(`${filter} ${chain}`)
    if (suppressed > 0) this.#log.error({ filter, chain, suppressed }, 'more errors of the same filter')
    if (!isOver)
      logError(this.#log, 'error', shortened(error), `filter ${filter} failed in its ${chain} handler`, where)
  }
}
