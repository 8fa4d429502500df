import { numberIn } from './roster.ts'

/** Milliseconds after the instant in which copters tell that they have started. */
const PATIENCE = 2000

/** What became of a start. */
export interface Started {
  /** The instant, in seconds since 1970 on the server's clock. */
  readonly at: number
  /** By copter: milliseconds after that, by its clock. */
  readonly late: Readonly<Record<string, number>>
  /** Milliseconds between the first and the last of them. */
  readonly skew: number
  /** The same by the clock that all processes of one machine share: what it was, if they are on one. */
  readonly truth: number
}

/** Waits for all copters to tell when they have started. */
export class Starts {
  #hear: ((id: string, kwargs: Readonly<Record<string, unknown>>) => void) | undefined

  /** A word of a copter; one about another start is ignored. */
  hear(id: string, kwargs: Readonly<Record<string, unknown>>): void {
    this.#hear?.(id, kwargs)
  }

  /** Settles when all have told, or soon after the instant. @throws Error while another one is awaited. */
  gather(at: number, ids: readonly string[], now: () => number): Promise<Started> {
    if (this.#hear !== undefined) throw Object.assign(new Error('a start is under way'), { code: 'busy' })
    return new Promise(resolve => {
      const late = new Map<string, number>()
      const instants: number[] = []
      const end = () => {
        clearTimeout(timer)
        this.#hear = undefined
        resolve({ at, late: Object.fromEntries(late), skew: spread([...late.values()]), truth: spread(instants) })
      }
      const timer = setTimeout(end, (at - now()) * 1000 + PATIENCE)
      this.#hear = (id, { at: its, late: by, monotonic }) => {
        const [lateBy, instant] = [numberIn(by), numberIn(monotonic)]
        if (its !== at || lateBy === null || instant === null || !ids.includes(id) || late.has(id)) return
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
