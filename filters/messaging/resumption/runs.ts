import { Refused } from '../rpc/refused.ts'
import { Run } from './run.ts'

/** Runs of one peer: a program that starts again and again has that many unanswered questions at most. */
const MAX_OF_PEER = 8

export interface RunsOptions {
  readonly max: number
  /** Milliseconds for which what a run has done is known after it left. */
  readonly rememberMs: number
  /** What is noted of a run has to go. */
  forget(run: Run): void
  /** What was noted of it has gone by itself. */
  release(run: Run): void
}

/** The runs of peers' programs that have connected to this node, and for a while those that have left. */
export class Runs {
  readonly #options: RunsOptions
  /** Those that have left stand in the order in which they did. */
  readonly #runs = new Map<string, Run>()
  /** How many there are of each peer. */
  readonly #counts = new Map<string, number>()

  constructor(options: RunsOptions) {
    this.#options = options
  }

  /**
   * A further connection of a run.
   *
   * @throws Refused `busy`
   */
  enter(peer: string, epoch: string): Run {
    const key = keyOf(peer, epoch)
    let run = this.#runs.get(key)
    if (run === undefined) {
      this.#makeRoom(peer)
      run = new Run(peer, epoch)
      this.#runs.set(key, run)
      this.#counts.set(peer, this.#countOf(peer) + 1)
    }
    run.connections++
    return run
  }

  leave(run: Run): void {
    run.connections--
    if (!run.isGone) return
    run.leftAt = performance.now()
    const key = keyOf(run.peer, run.epoch)
    this.#runs.delete(key)
    this.#runs.set(key, run)
  }

  /** Those that are connected. */
  *present(): Iterable<Run> {
    for (const run of this.#runs.values()) if (!run.isGone) yield run
  }

  /** Who comes and goes again and again must not keep others out. */
  #makeRoom(peer: string): void {
    const { max } = this.#options
    if (this.#countOf(peer) >= MAX_OF_PEER && !this.#forgetOldest(run => run.peer === peer))
      throw new Refused('busy', `${MAX_OF_PEER} programs with this id are connected here already`)
    if (this.#runs.size >= max && !this.#forgetOldest(() => true))
      throw new Refused('busy', `${max} peers are remembered here already, try again later`)
  }

  /** Of those that left, the one that did so longest ago; answers whether there is one. */
  #forgetOldest(isMeant: (run: Run) => boolean): boolean {
    for (const run of this.#runs.values()) {
      if (!run.isGone || run.underWay.size > 0 || !isMeant(run)) continue
      this.#remove(run)
      this.#options.forget(run)
      return true
    }
    return false
  }

  /** Forgets those that left long ago. */
  sweep(): void {
    const { rememberMs, release } = this.#options
    const oldest = performance.now() - rememberMs
    for (const run of this.#runs.values()) {
      if (!run.isGone || run.leftAt >= oldest || run.underWay.size > 0) continue
      this.#remove(run)
      release(run)
    }
  }

  #remove({ peer, epoch }: Run): void {
    this.#runs.delete(keyOf(peer, epoch))
    const left = this.#countOf(peer) - 1
    if (left > 0) this.#counts.set(peer, left)
    else this.#counts.delete(peer)
  }

  #countOf(peer: string): number {
    return this.#counts.get(peer) ?? 0
  }
}

function keyOf(peer: string, epoch: string): string {
  return `${peer} ${epoch}`
}
