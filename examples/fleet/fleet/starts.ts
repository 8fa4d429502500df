import { numberIn } from './roster.ts'

/** Milliseconds for the reports of copters after the start time. */
const REPORT_TIMEOUT = 5000

/** Result of a start. */
export interface Started {
  /** Start time in seconds since 1970 on the server's clock. */
  readonly at: number
  /** Milliseconds of delay by copter, on its clock. */
  readonly late: Readonly<Record<string, number>>
  /** Milliseconds between the first and the last copter. */
  readonly skew: number
  /** The same by the common clock of the machine; valid if all copters run on it. */
  readonly truth: number
}

/** Collects the reports of copters about a start. */
export class Starts {
  #onReport: ((id: string, kwargs: Readonly<Record<string, unknown>>) => void) | undefined

  /** Handles a report; one about another start is ignored. */
  report(id: string, kwargs: Readonly<Record<string, unknown>>): void {
    this.#onReport?.(id, kwargs)
  }

  /** Settles after the last report or the timeout. @throws Error `busy`: another start is pending. */
  collect(at: number, ids: readonly string[], now: () => number): Promise<Started> {
    if (this.#onReport !== undefined) throw Object.assign(new Error('another start is pending'), { code: 'busy' })
    return new Promise(resolve => {
      const late = new Map<string, number>()
      const instants: number[] = []
      const end = () => {
        clearTimeout(timer)
        this.#onReport = undefined
        resolve({ at, late: Object.fromEntries(late), skew: spread([...late.values()]), truth: spread(instants) })
      }
      const timer = setTimeout(end, (at - now()) * 1000 + REPORT_TIMEOUT)
      this.#onReport = (id, { at: start, late: delay, monotonic }) => {
        const [lateBy, instant] = [numberIn(delay), numberIn(monotonic)]
        if (start !== at || lateBy === null || instant === null || !ids.includes(id) || late.has(id)) return
        late.set(id, lateBy)
        instants.push(instant)
        if (late.size === ids.length) end()
      }
    })
  }
}

function spread(values: readonly number[]): number {
  return values.length === 0 ? 0 : Math.max(...values) - Math.min(...values)
}
