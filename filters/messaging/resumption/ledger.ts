import { setTimeout as sleep } from 'node:timers/promises'
import type { Awaitable, Values } from 'filtered-websocket'
import { answerInTime, isPromise, type Leases } from 'filtered-websocket/kit'
import type { Outcome } from '../rpc/outcome.ts'
import { Budget } from './budget.ts'
import { begun, done, doneOnly, forgotten, type Note, noteIn, numberIn } from './note.ts'
import type { Noted, Run } from './run.ts'
import { Whole } from './whole.ts'

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
  /** Bytes of what this node notes. */
  readonly maxBytes: number
  readonly leases: Leases
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
  readonly #budget: Budget
  readonly #whole: Whole
  /** The storage does not answer at once. */
  #isElsewhere = false

  constructor(options: LedgerOptions) {
    this.#options = options
    this.#budget = new Budget(options.maxBytes)
    this.#whole = new Whole(options)
  }

  get window(): number {
    return this.#options.window
  }

  /** Takes up a run of a peer. */
  resume(run: Run): void {
    this.#whole.find(run)
  }

  /** Keeps what is known of a run, which the peer may continue. */
  remember(run: Run): Promise<void> {
    return this.#whole.renew(run)
  }

  /** What is noted of a run goes; what is said again of it is told as `repeated` from now on. */
  forget(run: Run): void {
    this.#giveUp(run, this.#budget.empty(run))
  }

  /** What was noted of a run has gone by itself. */
  release(run: Run): void {
    this.#budget.release(run)
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
      if (before === undefined ? isResent : before.by !== node) return this.#beginLater(run, n, isResent, doing, key)
      const repeated = before !== undefined
      if (!repeated) this.#whole.begin(run, n)
      this.#count(run, n, begun(n, node))
      const recorded = values.set(key, begun(n, node), { ttlMs: rememberMs })
      return isPromise(recorded)
        ? answerInTime(recorded).then(
            () => this.#do(run, n, repeated, doing, key),
            error => this.#unavailable(error),
          )
        : this.#do(run, n, repeated, doing, key)
    } catch (error) {
      return this.#unavailable(error)
    }
  }

  async #beginLater(run: Run, n: number, isResent: boolean, doing: Doing, key: string): Promise<Outcome> {
    const { node, leases } = this.#options
    try {
      await run.ready
      if (!isResent) this.#whole.begin(run, n)
      let repeated = false
      for (let tries = 0; tries < MAX_TRIES; ) {
        const found = await this.#claim(key, n)
        if (found === undefined) {
          this.#count(run, n, begun(n, node))
          // Not before: what is given up meanwhile is not whole any more.
          if (isResent) repeated ||= await this.#whole.lacks(run, n)
          return this.#do(run, n, repeated, doing, key)
        }
        if (found.n > n) return forgotten()
        if (found.outcome !== undefined) return found.outcome
        // What this node has begun, and does not work on, was not noted when it was done.
        if (found.by !== node && (await leases.isAlive(found.by))) {
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
      const [isFirst, found] = await answerInTime(
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
    return answerInTime(this.#options.values.take(key))
  }

  /** What another node has noted meanwhile; what it has noted since stays. */
  #putBack(key: string, text: string): Promise<boolean> {
    const { values, rememberMs } = this.#options
    return answerInTime(values.set(key, text, { ttlMs: rememberMs, ifAbsent: true }))
  }

  #count(run: Run, n: number, text: string): void {
    this.#budget.count(run, n % this.#options.window, n, Buffer.byteLength(text))
    while (this.#budget.isOver) {
      const given = this.#budget.giveUp()
      if (given === undefined) return
      this.#giveUp(given.run, given.noted)
    }
  }

  #giveUp(run: Run, noted: readonly Noted[]): void {
    if (noted.length === 0) return
    const gone = [this.#whole.end(run), ...noted.map(({ n }) => this.#delete(this.#keyOf(run, n), n))]
    for (const one of gone) one.catch(error => this.#options.failed(error))
  }

  /** What another node has noted in the slot since stays, unless it does so right now. */
  async #delete(key: string, n: number): Promise<void> {
    const { values } = this.#options
    const found = await answerInTime(values.get(key))
    if (found !== undefined && numberIn(found) === n) await answerInTime(values.delete(key))
  }

  #do(run: Run, n: number, repeated: boolean, doing: Doing, key: string): Awaitable<Outcome> {
    const outcome = doing(repeated)
    return isPromise(outcome)
      ? outcome.then(late => this.#noteLate(run, n, late, key))
      : this.#note(run, n, outcome, key)
  }

  /** Its peer may have given it up meanwhile and gone on elsewhere, or another node has taken this one for dead. */
  async #noteLate(run: Run, n: number, outcome: Outcome, key: string): Promise<Outcome> {
    const { values, node, failed } = this.#options
    try {
      const found = await answerInTime(values.get(key))
      const isOurs = found === undefined || numberIn(found) < n || found === begun(n, node)
      return isOurs ? await this.#note(run, n, outcome, key) : outcome
    } catch (error) {
      failed(error)
      return outcome
    }
  }

  #note(run: Run, n: number, outcome: Outcome, key: string): Awaitable<Outcome> {
    const { values, rememberMs, window, failed } = this.#options
    // Its peer has given it up, or it would not have gone on: the slot is another's.
    if (run.latest >= n + window) return outcome
    const answer = done(n, outcome)
    const text = run.mayKeep(Buffer.byteLength(answer)) ? answer : doneOnly(n)
    try {
      this.#count(run, n, text)
      const recorded = values.set(key, text, { ttlMs: rememberMs })
      if (!isPromise(recorded)) return outcome
      return answerInTime(recorded).then(
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

function gone(): Outcome {
  return { error: { code: 'gone', message: 'nobody waits for this any more' } }
}
