import type { HandlerCall, Server } from 'filtered-websocket'

/** Milliseconds for which calls are measured after a sample. */
const WATCH_MS = 10_000

/** Calls of the handlers of a filter on a chain that were measured, and their time. */
export interface Timing {
  timed: number
  nanoseconds: number
}

const NONE: Readonly<Timing> = { timed: 0, nanoseconds: 0 }

/** Running totals of measured calls. Calls are measured only for 10 seconds after `watch`. */
export class Timings {
  readonly #server: Server
  /** By chain, then by the position of the filter. */
  readonly #totals = new Map<string, Timing[]>()
  #timer: NodeJS.Timeout | undefined
  #end: (() => void) | undefined

  constructor(server: Server) {
    this.#server = server
  }

  /** Measures for 10 seconds from now. */
  watch(): void {
    this.#end ??= this.#server.observe(call => this.#add(call))
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.stop(), WATCH_MS).unref()
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#end?.()
    this.#end = undefined
  }

  of(chain: string, order: number): Readonly<Timing> {
    return this.#totals.get(chain)?.[order] ?? NONE
  }

  #add({ chain, order, nanoseconds }: HandlerCall): void {
    let totals = this.#totals.get(chain)
    if (totals === undefined) {
      totals = []
      this.#totals.set(chain, totals)
    }
    totals[order] ??= { ...NONE }
    const timing = totals[order]
    timing.timed++
    timing.nanoseconds += nanoseconds
  }
}
