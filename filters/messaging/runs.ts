import { Refused } from './refused.ts'
import { Run } from './run.ts'

/** The runs of peers' programs that have connected to this node, and for a while those that have left. */
export class Runs {
  readonly #max: number
  readonly #rememberMs: number
  readonly #runs = new Map<string, Run>()

  /** @param rememberMs - for which what a run has done is known after it left. */
  constructor(max: number, rememberMs: number) {
    this.#max = max
    this.#rememberMs = rememberMs
  }

  /**
   * A further connection of a run.
   *
   * @throws Refused `busy`
   */
  enter(peer: string, epoch: string): Run {
    const key = `${peer} ${epoch}`
    let run = this.#runs.get(key)
    if (run === undefined) {
      if (this.#runs.size >= this.#max) this.#forgetOldest()
      if (this.#runs.size >= this.#max)
        throw new Refused('busy', `${this.#max} peers are remembered here already, try again later`)
      run = new Run(peer, epoch)
      this.#runs.set(key, run)
    }
    run.connections++
    return run
  }

  leave(run: Run): void {
    run.connections--
    run.leftAt = performance.now()
  }

  /** Those that are connected. */
  *present(): Iterable<Run> {
    for (const run of this.#runs.values()) if (!run.isGone) yield run
  }

  /** Who comes and goes again and again must not keep others out. What is noted of a run stays in storage. */
  #forgetOldest(): void {
    for (const [key, run] of this.#runs) {
      if (!run.isGone || run.underWay.size > 0) continue
      this.#runs.delete(key)
      return
    }
  }

  /** Forgets those that left long ago. */
  sweep(): void {
    const oldest = performance.now() - this.#rememberMs
    for (const [key, run] of this.#runs) {
      if (run.isGone && run.leftAt < oldest && run.underWay.size === 0) this.#runs.delete(key)
    }
  }
}
