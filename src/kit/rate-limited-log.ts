import type { Logger } from 'pino'

interface Window {
  number: number
  lines: number
  suppressed: number
}

/**
 * Counts the lines of each kind in a window of time.
 *
 * @example
 * const limit = new LogLimit(5, 1000)
 * if (!limit.take('refused').isOver) log.warn('peer refused')
 */
export class LogLimit {
  readonly #lines: number
  readonly #windowMs: number
  /** By kind, of which there MUST be a bounded number. */
  readonly #windows = new Map<string, Window>()

  /** @param lines - of each kind, in `windowMs` milliseconds. */
  constructor(lines: number, windowMs: number) {
    this.#lines = lines
    this.#windowMs = windowMs
  }

  /** Counts a line. `isOver`: the limit of the window is exceeded; `suppressed`: for the first line of a window, lines over the limit before. */
  take(kind = ''): { readonly isOver: boolean; readonly suppressed: number } {
    const number = Math.floor(Date.now() / this.#windowMs)
    const last = this.#windows.get(kind)
    if (last?.number !== number) {
      this.#windows.set(kind, { number, lines: 1, suppressed: 0 })
      return { isOver: false, suppressed: last?.suppressed ?? 0 }
    }
    const isOver = last.lines++ >= this.#lines
    if (isOver) last.suppressed++
    return { isOver, suppressed: 0 }
  }
}

/**
 * A log for events that peers can cause at will: at most `lines` lines of each kind in `windowMs` milliseconds, default 5
 * per second. The first line of the next window has the number of the others as `suppressed`.
 *
 * @example
 * const log = new RateLimitedLog(host.log)
 * log.add('warn', { remote: client.remote }, 'message refused')
 */
export class RateLimitedLog {
  readonly #log: Logger
  readonly #limit: LogLimit

  constructor(log: Logger, lines = 5, windowMs = 1000) {
    this.#log = log
    this.#limit = new LogLimit(lines, windowMs)
  }

  /** @param kind - lines of other kinds are counted apart; of a bounded number, never made up by a peer. Default: the level. */
  add(level: 'warn' | 'error', fields: object, text: string, kind: string = level): void {
    const { isOver, suppressed } = this.#limit.take(kind)
    if (!isOver) this.#log[level](suppressed > 0 ? { ...fields, suppressed } : fields, text)
  }
}
