import type { Values } from 'filtered-websocket'
import { answerInTime, isPromise } from 'filtered-websocket/kit'
import type { Run } from './run.ts'

export interface WholeOptions {
  readonly values: Values
  /** Milliseconds that a note is kept. */
  readonly rememberMs: number
  /** Hears of what could not be kept. */
  failed(error: unknown): void
}

/** From which number on all that a run began is noted, in storage: what is sent again without a note was not begun then. */
export class Whole {
  readonly #options: WholeOptions

  constructor(options: WholeOptions) {
    this.#options = options
  }

  /** Finds out what is known of a run that this node takes up. */
  find(run: Run): void {
    const found = this.#options.values.get(keyOf(run))
    if (!isPromise(found)) run.wholeFrom = numberOf(found)
    else
      run.ready = answerInTime(found).then(
        text => {
          run.wholeFrom = numberOf(text)
          run.ready = undefined
        },
        error => {
          run.ready = undefined
          this.#options.failed(error)
        },
      )
  }

  /** The `n`th thing of a run is said for the first time, and noted. */
  begin(run: Run, n: number): void {
    if (run.wholeFrom !== undefined) return
    run.wholeFrom = n
    this.#set(run, n).catch(error => this.#options.failed(error))
  }

  /** Keeps it for as long as a note. What another node has ended meanwhile ends here too. */
  async renew(run: Run): Promise<void> {
    const from = numberOf(await answerInTime(this.#options.values.get(keyOf(run))))
    run.wholeFrom = from
    if (from !== undefined) await this.#set(run, from)
  }

  /** Whether the `n`th thing of a run may have been done though there is no note of it. */
  async lacks(run: Run, n: number): Promise<boolean> {
    const from = numberOf(await answerInTime(this.#options.values.get(keyOf(run))))
    return from === undefined || n < from
  }

  /** Notes of a run go. */
  async end(run: Run): Promise<void> {
    run.wholeFrom = undefined
    await answerInTime(this.#options.values.delete(keyOf(run)))
  }

  async #set(run: Run, from: number): Promise<void> {
    const { values, rememberMs } = this.#options
    await answerInTime(values.set(keyOf(run), String(from), { ttlMs: rememberMs }))
  }
}

function keyOf({ peer, epoch }: Run): string {
  return `messaging:whole:${peer}:${epoch}`
}

function numberOf(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Number(text)
}
