import type { Logger } from 'pino'
import type { Counters } from '../contract/metrics.ts'

/** Lines in the log for one filter's errors in one second; all are counted. */
const LINES_PER_SECOND = 5

/** Room for so many lines of each kind in a window of time; the rest are counted. */
export class Quota {
  readonly #lines: number
  readonly #windowMs: number
  readonly #recent = new Map<string, { window: number; lines: number; suppressed: number }>()

  constructor(lines: number, windowMs: number) {
    this.#lines = lines
    this.#windowMs = windowMs
  }

  /** Whether there is no room; `suppressed`: with the first line of a window, for how many there was none before. */
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

/** Anything may be thrown, even what throws again when it is looked at. */
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

/** The one way of errors that filters make: counted, logged with who and where, and no flood of the log. */
export class ErrorReport {
  readonly #log: Logger
  readonly #counters: Counters
  readonly #quota = new Quota(LINES_PER_SECOND, 1000)

  constructor(log: Logger, counters: Counters) {
    this.#log = log
    this.#counters = counters
  }

  /** @param where - such as `{ chain, filter, id }`; `filter` and `chain` decide what counts as the same source. */
  add(
    error: unknown,
    where: { readonly filter: string; readonly chain: string; readonly id?: string | undefined },
  ): void {
    this.#counters.errors++
    const { filter, chain } = where
    const { isOver, suppressed } = this.#quota.take(`${filter} ${chain}`)
    if (suppressed > 0) this.#log.error({ filter, chain, suppressed }, 'more errors of the same filter')
    if (!isOver) logError(this.#log, 'error', error, `filter ${filter} failed in its ${chain} handler`, where)
  }
}
