import { FwsError } from '../contract/errors.ts'
import type { Frame } from '../fanout/wire.ts'

/** The position while no filter handles an event of the client. */
export const NO_FILTER = -1

/** Where a call comes from: the filter that handles an event of the client now. */
export interface Caller {
  readonly id: string
  /** Its place in `-f`, or `NO_FILTER`. */
  readonly position: number
  /** Its handler has returned and its promise is awaited: a call now could come from anywhere. */
  readonly waiting: boolean
}

/** A client that is pending: the filters that hold it, and the frames that wait for its admission. */
export class Pending {
  /** Place in `-f` of the last filter that the client's messages reach: the first holder. */
  reach = Number.POSITIVE_INFINITY
  /** Bytes in the frames that wait. */
  bytes = 0
  #holders: readonly number[] = []
  #frames: Frame[] = []
  #timer: NodeJS.Timeout | undefined

  /** Whether the call comes from a filter that its messages reach: such a filter may send to the client. */
  isReached({ position, waiting }: Caller): boolean {
    return position !== NO_FILTER && position <= this.reach && !waiting
  }

  /** @throws FwsError `ERR_STATE`: no filter handles an event of this client. */
  hold({ id, position }: Caller): void {
    if (position === NO_FILTER) {
      const message = `hold() works while a filter handles an event of this client; client ${id} has none under way`
      throw new FwsError('ERR_STATE', message)
    }
    if (!this.#holders.includes(position)) this.#change([...this.#holders, position])
  }

  /**
   * Ends the hold of the calling filter, or of the only one. Returns whether the client is admitted.
   *
   * @throws FwsError `ERR_STATE`: several filters hold it and the caller is not known.
   */
  admit({ id, position, waiting }: Caller): boolean {
    const only = this.#holders.length === 1 ? this.#holders[0] : undefined
    const holder = position === NO_FILTER || waiting ? (only ?? position) : position
    if (!this.#holders.includes(holder)) {
      if (holder !== NO_FILTER) return false
      const message = `client ${id} is held by several filters: admit() it in a handler of the one that holds it`
      throw new FwsError('ERR_STATE', message)
    }
    this.#change(this.#holders.filter(other => other !== holder))
    return this.#holders.length === 0
  }

  /** Keeps a frame until the admission. */
  keep(frame: Frame): void {
    this.#frames.push(frame)
    this.bytes += frame.length
  }

  /** Runs `onLate` once after `ms` milliseconds unless it is stopped before. 0 disables. */
  startTimer(ms: number, onLate: () => void): void {
    if (this.#timer !== undefined || ms === 0) return
    this.#timer = setTimeout(onLate, ms)
    this.#timer.unref()
  }

  /** Stops the timer; returns the frames that waited. */
  stop(): readonly Frame[] {
    clearTimeout(this.#timer)
    const frames = this.#frames
    this.#frames = []
    this.bytes = 0
    return frames
  }

  #change(holders: readonly number[]): void {
    this.#holders = holders
    this.reach = Math.min(...holders)
  }
}
