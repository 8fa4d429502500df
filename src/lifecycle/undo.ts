import type { Logger } from 'pino'
import { logError } from '../chain/report.ts'
import { type Awaitable, withDeadline } from '../contract/deadline.ts'

/** Milliseconds that a step has at least, however short the drain time. */
const LEAST = 1000

/** What has been begun and must be ended: in reverse order, every step whatever the others do, each with a deadline. */
export class Undo {
  readonly #log: Logger
  readonly #deadlineMs: number
  readonly #steps: { readonly what: string; readonly end: () => Awaitable<void> }[] = []

  constructor(log: Logger, deadlineMs: number) {
    this.#log = log
    this.#deadlineMs = Math.max(LEAST, deadlineMs)
  }

  /** @param what - for the log, should it fail. */
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
