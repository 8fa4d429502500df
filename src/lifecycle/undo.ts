import type { Logger } from 'pino'
import { logError } from '../chain/report.ts'
import { type Awaitable, withDeadline } from '../contract/deadline.ts'

/** Milliseconds that a step has in addition to the drain time: a filter ends its program after that. */
const EXTRA = 3000

/** Steps that undo a start. They run in reverse order, each with a deadline, even when others fail. */
export class Undo {
  readonly #log: Logger
  readonly #deadlineMs: number
  readonly #steps: { readonly what: string; readonly end: () => Awaitable<void> }[] = []

  constructor(log: Logger, deadlineMs: number) {
    this.#log = log
    this.#deadlineMs = deadlineMs + EXTRA
  }

  /** @param what - names the step in the log when it fails. */
  add(what: string, end: () => Awaitable<void>): void {
    this.#steps.push({ what, end })
  }

  async run(): Promise<void> {
    for (const { what, end } of this.#steps.splice(0).reverse()) {
      try {
        await withDeadline(end(), this.#deadlineMs, what)
      } catch (error) {
        logError(this.#log, 'error', error, `${what} failed`)
      }
    }
  }
}
