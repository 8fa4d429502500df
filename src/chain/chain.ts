import type { Client } from '../contract/client.ts'
import { type Deadlines, isPromise } from '../contract/deadline.ts'
import { DROP, type Drop } from '../contract/drop.ts'
import { FwsError, isForbidden } from '../contract/errors.ts'
import type { Handlers } from '../contract/filter.ts'
import type { HandlerCall } from '../contract/observer.ts'
import type { Payload } from '../contract/payload.ts'
import type { Observers } from './observers.ts'

/** Outcome of a chain in which a handler failed; the error has been reported. */
export const FAILED: unique symbol = Symbol('failed')

export type ChainName =
  | 'accept'
  | 'connect'
  | 'open'
  | 'data'
  | 'message'
  | 'disconnect'
  | 'consumer'
  | 'request'
  | 'publish'
/** Handlers that are called outside of a chain. */
export type SyncHandler = 'permit' | 'retain' | 'joined' | 'left'
export type Outcome<V> = V | Drop | typeof FAILED

// biome-ignore lint/suspicious/noExplicitAny: the erased seam of the chain; handlers of every signature run through one loop, and types.ts gives filters the real ones
export type Handler = (value: any, a: any, b: any) => unknown

/** One handler on a chain, with its counts. */
export interface Step {
  /** The filter's name as in `-f`. */
  readonly filter: string
  /** Position of the filter in `-f`, from 0. */
  readonly order: number
  readonly run: Handler
  calls: number
  rewritten: number
  dropped: number
  failed: number
}

/** The state of a client that a chain uses. */
export interface Subject {
  readonly id: string
  /** Order of the filter whose handler runs; -1 if none does. */
  position: number
  /** Whether the promise of that handler is pending. */
  waiting: boolean
  /** Order of the last filter that this client's messages reach. */
  readonly reach: number
  /** Sends the client the reason of a refused action. */
  notifyForbidden(why: string): void
}

/** A client with the state that chains use. */
export type ChainClient = Client & Subject

/** A filter with its handlers. */
export interface Registered {
  readonly name: string
  readonly handlers: Handlers
}

/** How one chain differs from the others. */
export interface ChainKind<V> {
  readonly name: ChainName
  /** The client that the chain runs for; absent on chains without a client. */
  subject?(value: V, a: unknown): Subject
  /** Id for error reports. */
  id(value: V, a: unknown): string | undefined
  /** The id is not that of a client. */
  readonly isClientless?: true
  /** The payload in a value, for observers; absent on chains without payloads. */
  payload?(value: V): Payload
  /** The rewritten value, or `undefined` for an invalid verdict; absent if the chain does not rewrite. */
  rewrite?(value: V, verdict: unknown): V | undefined
  /** Whether DROP ends the chain; otherwise it is ignored. */
  readonly drops: boolean
  /** The valid verdicts, for error messages. */
  readonly takes: string
  /** Whether a failed handler ends the chain; otherwise the next one runs. */
  readonly endsOnError: boolean
  /** Whether messages of a client on hold stop at the holder. */
  readonly gated?: true
}

export interface ChainHost {
  /** Milliseconds for a handler's promise; 0 disables the deadline. */
  readonly deadline: number
  readonly deadlines: Deadlines
  /** Called for a message that stops because its client is on hold or closing. */
  held(subject: Subject): void
  report(error: unknown, where: { chain: ChainName | SyncHandler; filter: string; id: string | undefined }): void
}

/**
 * The handlers of all filters for one kind of event, in `-f` order, compiled once.
 *
 * A handler that returns `undefined` passes, a value rewrites, `DROP` ends the chain. The chain creates a promise only after
 * a handler returned one.
 */
export class Chain<V> {
  readonly steps: readonly Step[]
  readonly #kind: ChainKind<V>
  readonly #host: ChainHost
  readonly #observers: Observers | undefined

  constructor(kind: ChainKind<V>, steps: readonly Step[], host: ChainHost, observers?: Observers) {
    this.#kind = kind
    this.steps = steps
    this.#host = host
    this.#observers = observers
  }

  get name(): ChainName {
    return this.#kind.name
  }

  /** The same chain with the handlers of some filters; both count in the same steps. */
  only(has: (order: number) => boolean): Chain<V> {
    return new Chain(
      this.#kind,
      this.steps.filter(({ order }) => has(order)),
      this.#host,
      this.#observers,
    )
  }

  get empty(): boolean {
    return this.steps.length === 0
  }

  /**
   * Never throws and never rejects.
   *
   * @param after - order of the filter behind which the chain begins.
   */
  run(value: V, a?: unknown, b?: unknown, after = -1): Outcome<V> | Promise<Outcome<V>> {
    if (this.steps.length === 0) return value
    const first = after < 0 ? 0 : this.steps.filter(({ order }) => order <= after).length
    return this.#observers?.isOn ? this.#observed(first, value, a, b) : this.#from(first, value, a, b)
  }

  /** Each handler runs as a separate chain with its own counts, so that runs without an observer measure nothing. */
  #observed(i: number, value: V, a: unknown, b: unknown): Outcome<V> | Promise<Outcome<V>> {
    const step = this.steps[i]
    if (step === undefined) return this.#end(this.#kind.subject?.(value, a), value)
    const one = { ...step, calls: 0, rewritten: 0, dropped: 0, failed: 0 }
    const began = performance.now()
    const outcome = new Chain({ ...this.#kind, endsOnError: true }, [one], this.#host).run(value, a, b)
    step.calls += one.calls
    const goOn = (late: Outcome<V>) => {
      const nanoseconds = Math.round((performance.now() - began) * 1e6)
      step.rewritten += one.rewritten
      step.dropped += one.dropped
      step.failed += one.failed
      // The client is on hold or closing: no handler was called.
      if (one.calls === 0) return late
      this.#observers!.notify(this.#describe(one, nanoseconds, value, late, a))
      if (late === DROP || (late === FAILED && this.#kind.endsOnError)) return late
      return this.#observed(i + 1, late === FAILED ? value : (late as V), a, b)
    }
    return isPromise(outcome) ? (outcome as Promise<Outcome<V>>).then(goOn) : goOn(outcome as Outcome<V>)
  }

  #describe(
    { filter, order, rewritten, dropped, failed }: Step,
    nanoseconds: number,
    value: V,
    outcome: Outcome<V>,
    a: unknown,
  ): HandlerCall {
    const { name: chain, isClientless, id, payload } = this.#kind
    return {
      chain,
      filter,
      order,
      client: isClientless ? undefined : id(value, a),
      verdict: failed > 0 ? 'fail' : dropped > 0 ? 'drop' : rewritten > 0 ? 'rewrite' : 'pass',
      nanoseconds,
      before: payload?.(value),
      after: outcome === DROP || outcome === FAILED ? undefined : payload?.(outcome as V),
    }
  }

  #from(first: number, start: V, a: unknown, b: unknown): Outcome<V> | Promise<Outcome<V>> {
    const { steps } = this
    const kind = this.#kind
    const subject = kind.subject?.(start, a)
    let value = start
    let i = first
    for (; i < steps.length; i++) {
      const step = steps[i]!
      if (subject !== undefined) {
        if (kind.gated && step.order > subject.reach) {
          this.#host.held(subject)
          break
        }
        subject.position = step.order
      }
      let verdict: unknown
      let waits = false
      step.calls++
      try {
        verdict = step.run(value, a, b)
        if (verdict === undefined) continue
        waits = isPromise(verdict)
      } catch (error) {
        const outcome = this.#fail(step, error, value, a)
        if (kind.endsOnError) return this.#end(subject, outcome)
        continue
      }
      if (waits) return this.#wait(i, verdict as PromiseLike<unknown>, value, a, b)
      const outcome = this.#judge(step, verdict, value, a)
      if (outcome === DROP) return this.#end(subject, DROP)
      if (outcome !== FAILED) value = outcome as V
      else if (kind.endsOnError) return this.#end(subject, FAILED)
    }
    return this.#end(subject, i < steps.length ? DROP : value)
  }

  async #wait(i: number, promise: PromiseLike<unknown>, value: V, a: unknown, b: unknown): Promise<Outcome<V>> {
    const step = this.steps[i]!
    const kind = this.#kind
    const subject = kind.subject?.(value, a)
    if (subject !== undefined) subject.waiting = true
    let outcome: Outcome<V> = FAILED
    try {
      const verdict = await this.#host.deadlines.wait(promise, this.#host.deadline, 'its promise')
      outcome = verdict === undefined ? value : this.#judge(step, verdict, value, a)
    } catch (error) {
      outcome = this.#fail(step, error, value, a)
    }
    if (subject !== undefined) subject.waiting = false
    if (outcome === DROP || (outcome === FAILED && kind.endsOnError)) return this.#end(subject, outcome)
    const next = outcome === FAILED ? value : (outcome as V)
    return this.#observers?.isOn ? this.#observed(i + 1, next, a, b) : this.#from(i + 1, next, a, b)
  }

  #judge(step: Step, verdict: unknown, value: V, a: unknown): Outcome<V> {
    if (verdict === DROP) {
      if (!this.#kind.drops) return value
      step.dropped++
      return DROP
    }
    const next = this.#kind.rewrite?.(value, verdict)
    if (next === undefined) {
      const article = /^[ao]/.test(this.name) ? 'an' : 'a'
      const message = `returned ${nameOf(verdict)}; ${article} ${this.name} handler returns ${this.#kind.takes}`
      return this.#fail(step, new FwsError('ERR_VERDICT', message), value, a)
    }
    step.rewritten++
    return next
  }

  /** A refused permit drops the message; all other errors are failures of the filter. */
  #fail(step: Step, error: unknown, value: V, a: unknown): Drop | typeof FAILED {
    const subject = this.#kind.subject?.(value, a)
    if (subject !== undefined && isForbidden(error)) {
      step.dropped++
      subject.notifyForbidden(error.message)
      return DROP
    }
    step.failed++
    this.#host.report(error, { chain: this.name, filter: step.filter, id: this.#kind.id(value, a) })
    return FAILED
  }

  #end(subject: Subject | undefined, outcome: Outcome<V>): Outcome<V> {
    if (subject !== undefined) subject.position = -1
    return outcome
  }
}

function nameOf(value: unknown): string {
  if (value === null) return 'null'
  if (typeof value === 'function') return 'a function'
  if (typeof value !== 'object') return `${typeof value} ${String(value)}`
  try {
    return `an object (${value.constructor?.name ?? 'no prototype'})`
  } catch {
    return 'an object'
  }
}
