import type { Noted, Run } from './run.ts'

/** How much this node has noted, and of which runs it is given up when that is too much. */
export class Budget {
  readonly #max: number
  /** Those of which something is noted. */
  readonly #runs = new Set<Run>()
  #bytes = 0

  /** @param max - bytes of all notes. */
  constructor(max: number) {
    this.#max = max
  }

  get isOver(): boolean {
    return this.#bytes > this.#max
  }

  /** A note takes its slot, and the place of what was there. */
  count(run: Run, slot: number, n: number, size: number): void {
    this.#bytes -= run.bytes
    run.hold(slot, n, size)
    this.#bytes += run.bytes
    this.#runs.add(run)
  }

  /** A run whose notes have ended by themselves. */
  release(run: Run): void {
    this.#bytes -= run.bytes
    this.#runs.delete(run)
  }

  /**
   * What is to be given up next: all of the run that left longest ago; when none has left, the older half of that which has
   * most. What is worked on stays: it would be done twice at a time. `undefined`: there is nothing else.
   */
  giveUp(): { readonly run: Run; readonly noted: readonly Noted[] } | undefined {
    let run: Run | undefined
    for (const other of this.#runs)
      if (other.noted > other.underWay.size && (run === undefined || isBefore(other, run))) run = other
    return run && { run, noted: this.empty(run, run.isGone ? run.noted : Math.ceil(run.noted / 2)) }
  }

  /** Takes so many notes of a run, the oldest, for given up. */
  empty(run: Run, count = run.noted): readonly Noted[] {
    this.#bytes -= run.bytes
    const noted = run.letGo(count)
    this.#bytes += run.bytes
    if (run.noted === 0) this.#runs.delete(run)
    return noted
  }
}

function isBefore(one: Run, other: Run): boolean {
  if (one.isGone && other.isGone) return one.leftAt < other.leftAt
  return one.isGone === other.isGone ? one.bytes > other.bytes : one.isGone
}
