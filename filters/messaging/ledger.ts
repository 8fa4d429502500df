import { setTimeout as sleep } from 'node:timers/promises'
import type { Awaitable, Values } from 'filtered-websocket'
import { begun, done, doneOnly, forgotten, type Note, noteIn, numberIn } from './note.ts'
import type { Outcome } from './outcome.ts'
import type { Run } from './run.ts'
import { within } from './within.ts'
import { isPromise } from './work.ts'

/** Milliseconds between two looks at what another node works on. */
const PAUSE = 200
/** Times that a slot may be found changed between two looks. */
const MAX_TRIES = 10

export interface LedgerOptions {
  readonly values: Values
  /** Names this node. */
  readonly node: string
  /** Requests and actions of a peer that may be unanswered: as many slots there are. */
  readonly window: number
  /** Milliseconds that a note is kept. */
  readonly rememberMs: number
  /** Milliseconds after which a node that says nothing is taken for dead. */
  readonly leaseMs: number
  /** Hears of what could not be noted. */
  failed(error: unknown): void
}

/** Does a thing; `repeated`: it may have been done before. */
export type Doing = (repeated: boolean) => Awaitable<Outcome>

/**
 * What has been done for peers that come back, in storage, so that it is done once however often they ask.
 *
 * Before its work each thing is noted as begun by this node, and before its answer as done. A repeat gets the noted answer. It
 * waits while a node works on it; it is done again, and is told so, only if that node ended between the two notes.
 */
export class Ledger {
  readonly #options: LedgerOptions
  /** The storage does not answer at once. */
  #isElsewhere = false

  constructor(options: LedgerOptions) {
    this.#options = options
  }

  get window(): number {
    return this.#options.window
  }

  /** Tells the other nodes that this one is alive; to be called three times a lease. */
  async renew(): Promise<void> {
    const { values, node, leaseMs } = this.#options
    await within(values.set(leaseOf(node), '', { ttlMs: leaseMs }))
  }

  /** Takes up a run of a peer: finds out from which number on all that it began is noted. */
  resume(run: Run): void {
    const { values } = this.#options
    const found = values.get(wholeOf(run))
    if (!isPromise(found)) run.wholeFrom = numberOf(found)
    else
      run.ready = within(found).then(
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

  /** Keeps what is known of a run, which the peer may continue. */
  async remember(run: Run): Promise<void> {
    const { values, rememberMs } = this.#options
    if (run.wholeFrom === undefined) return
    await within(values.set(wholeOf(run), String(run.wholeFrom), { ttlMs: rememberMs }))
  }

  /**
   * Does the `n`th thing of a run, once. Never throws; no promise where neither storage nor work make one.
   *
   * @param isResent - the peer has sent it before.
   */
  once(run: Run, n: number, isResent: boolean, doing: Doing): Awaitable<Outcome> {
    const underWay = run.underWay.get(n)
    if (underWay !== undefined) return underWay
    run.latest = Math.max(run.latest, n)
    const outcome = this.#begin(run, n, isResent, doing)
    if (isPromise(outcome)) run.follow(n, outcome)
    return outcome
  }

  #begin(run: Run, n: number, isResent: boolean, doing: Doing): Awaitable<Outcome> {
    const { values, node, rememberMs } = this.#options
    const key = this.#keyOf(run, n)
    try {
      if (this.#isElsewhere || run.ready !== undefined) return this.#beginLater(run, n, isResent, doing, key)
      const found = values.get(key)
      if (isPromise(found)) {
        this.#isElsewhere = true
        // It is asked again, together with what it is asked for.
        found.then(undefined, () => {})
        return this.#beginLater(run, n, isResent, doing, key)
      }
      if (found !== undefined && numberIn(found) > n) return forgotten()
      const before = found !== undefined && numberIn(found) === n ? noteIn(found) : undefined
      if (before?.outcome !== undefined) return before.outcome
      if (before !== undefined && before.by !== node) return this.#beginLater(run, n, isResent, doing, key)
      const noted = values.set(key, begun(n, node), { ttlMs: rememberMs })
      const repeated = before !== undefined || this.#isDoubtful(run, n, isResent)
      return isPromise(noted)
        ? within(noted).then(
            () => this.#do(run, n, repeated, doing, key),
            error => this.#unavailable(error),
          )
        : this.#do(run, n, repeated, doing, key)
    } catch (error) {
      return this.#unavailable(error)
    }
  }

  async #beginLater(run: Run, n: number, isResent: boolean, doing: Doing, key: string): Promise<Outcome> {
    try {
      await run.ready
      let repeated = this.#isDoubtful(run, n, isResent)
      for (let tries = 0; tries < MAX_TRIES; ) {
        const found = await this.#claim(key, n)
        if (found === undefined) return this.#do(run, n, repeated, doing, key)
        if (found.n > n) return forgotten()
        if (found.outcome !== undefined) return found.outcome
        if (await this.#isAlive(found.by)) {
          if (run.isGone) return gone()
          await sleep(PAUSE)
          continue
        }
        tries++
        // Of several who find it so exactly one takes it.
        const taken = await this.#take(key)
        if (taken === undefined) continue
        if (taken === begun(n, found.by)) repeated = true
        else await this.#putBack(key, taken)
      }
      throw new Error('a slot of the ledger is changed again and again')
    } catch (error) {
      return this.#unavailable(error)
    }
  }

  /** Notes that this node has begun, unless something is noted of this one or a later one; answers what. */
  async #claim(key: string, n: number): Promise<Note | undefined> {
    const { values, node, rememberMs } = this.#options
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const [isFirst, found] = await within(
        Promise.all([values.set(key, begun(n, node), { ttlMs: rememberMs, ifAbsent: true }), values.get(key)]),
      )
      if (isFirst) return undefined
      if (found === undefined) continue
      if (numberIn(found) >= n) return noteIn(found)
      const taken = await this.#take(key)
      if (taken !== undefined && numberIn(taken) >= n) await this.#putBack(key, taken)
    }
    throw new Error('a slot of the ledger is changed again and again')
  }

  #take(key: string): Promise<string | undefined> {
    return within(this.#options.values.take(key))
  }

  /** What another node has noted meanwhile; what it has noted since stays. */
  #putBack(key: string, text: string): Promise<boolean> {
    const { values, rememberMs } = this.#options
    return within(values.set(key, text, { ttlMs: rememberMs, ifAbsent: true }))
  }

  /** What this node has begun, and does not work on, was not noted when it was done. */
  async #isAlive(node: string): Promise<boolean> {
    const { values, node: self } = this.#options
    return node !== self && (await within(values.get(leaseOf(node)))) !== undefined
  }

  /** Sent before, to whom no notes are left of: a storage that has gone with its process, say. */
  #isDoubtful(run: Run, n: number, isResent: boolean): boolean {
    if (isResent) return run.wholeFrom === undefined || n < run.wholeFrom
    if (run.wholeFrom === undefined) {
      run.wholeFrom = n
      this.remember(run).catch(error => this.#options.failed(error))
    }
    return false
  }

  #do(run: Run, n: number, repeated: boolean, doing: Doing, key: string): Awaitable<Outcome> {
    const outcome = doing(repeated)
    return isPromise(outcome) ? outcome.then(late => this.#note(run, n, late, key)) : this.#note(run, n, outcome, key)
  }

  #note(run: Run, n: number, outcome: Outcome, key: string): Awaitable<Outcome> {
    const { values, rememberMs, window, failed } = this.#options
    // Its peer has given it up, or it would not have gone on: the slot is another's.
    if (run.latest >= n + window) return outcome
    const text = done(n, outcome)
    try {
      const noted = values.set(key, run.mayKeep(n % window, text.length) ? text : doneOnly(n), { ttlMs: rememberMs })
      if (!isPromise(noted)) return outcome
      return within(noted).then(
        () => outcome,
        error => {
          failed(error)
          return outcome
        },
      )
    } catch (error) {
      failed(error)
      return outcome
    }
  }

  #unavailable(error: unknown): Outcome {
    this.#options.failed(error)
    return { error: { code: 'unavailable', message: 'this server cannot note what it does; try again later' } }
  }

  #keyOf({ peer, epoch }: Run, n: number): string {
    return `messaging:done:${peer}:${epoch}:${n % this.#options.window}`
  }
}

function leaseOf(node: string): string {
  return `messaging:node:${node}`
}

function wholeOf({ peer, epoch }: Run): string {
  return `messaging:whole:${peer}:${epoch}`
}

function numberOf(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Number(text)
}

function gone(): Outcome {
  return { error: { code: 'gone', message: 'nobody waits for this any more' } }
}
