import type { Logger } from 'pino'
import type { Counters } from '../contract/metrics.ts'

/** Log lines per second for the errors of one filter; all errors are counted. */
const LINES_PER_SECOND = 5

/** Limits log lines per kind and time window, and counts the suppressed ones. */
export class LogLimit {
  readonly #lines: number
  readonly #windowMs: number
  readonly #recent = new Map<string, { window: number; lines: number; suppressed: number }>()

  constructor(lines: number, windowMs: number) {
    this.#lines = lines
    this.#windowMs = windowMs
  }

  /** Accounts for one line; the first line of a window gets the number of lines `suppressed` before it. */
  take(kind: string): { isOver: boolean; suppressed: number } {
    const window = Math.floor(Date.now() / this.#windowMs)
    const last = this.#recent.get(kind)
    if (last?.window !== window) {
      this.#recent.set(kind, { window, lines: 1, suppressed: 0 })
      return { isOver: false, suppressed: last?.suppressed ?? 0 }
    }
    const isOver = last.lines++ >= this.#lines
    if (isOver) last.suppressed++
    return { isOver, suppressed: 0 }
  }
}

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
    if (!isOver) logError(this.#log, 'error', error, `filter ${filter} failed in its ${chain} handler`, where)
  }
}
