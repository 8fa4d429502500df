import type { Logger } from 'pino'
import type { Counters } from './types.ts'

/** Lines in the log for one filter's errors in one second; all are counted. */
const LINES_PER_SECOND = 5

/** The one way of errors that filters make: counted, logged with who and where, and no flood of the log. */
export class ErrorReport {
  readonly #log: Logger
  readonly #counters: Counters
  readonly #recent = new Map<string, { second: number; lines: number; suppressed: number }>()

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
    const key = `${where.filter} ${where.chain}`
    const second = Math.floor(Date.now() / 1000)
    let recent = this.#recent.get(key)
    if (recent === undefined || recent.second !== second) {
      const suppressed = recent?.suppressed ?? 0
      if (suppressed > 0)
        this.#log.error({ filter: where.filter, chain: where.chain, suppressed }, 'more errors of the same filter')
      recent = { second, lines: 0, suppressed: 0 }
      this.#recent.set(key, recent)
    }
    if (recent.lines++ >= LINES_PER_SECOND) recent.suppressed++
    else this.#write(error, where)
  }

  /** Anything may be thrown, even what throws again when it is looked at. */
  #write(error: unknown, where: { readonly filter: string; readonly chain: string }): void {
    const text = `filter ${where.filter} failed in its ${where.chain} handler`
    try {
      this.#log.error({ ...where, err: error }, text)
    } catch {
      this.#log.error(where, `${text}, with an error that cannot be shown`)
    }
  }
}
