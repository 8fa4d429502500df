import type { Client } from '../contract/client.ts'
import { type Deadlines, isPromise } from '../contract/deadline.ts'
import { DROP, type Drop } from '../contract/drop.ts'
import { FwsError, isForbidden } from '../contract/errors.ts'
import type { Handlers } from '../contract/filter.ts'

/** A handler failed; it has been reported. None of the three outcomes of a filter. */
export const FAILED: unique symbol = Symbol('failed')

export type ChainName = 'connect' | 'open' | 'data' | 'message' | 'disconnect' | 'consumer' | 'request'
export type Outcome<V> = V | Drop | typeof FAILED

// biome-ignore lint/suspicious/noExplicitAny: the erased seam of the chain; handlers of every signature run through one loop, and types.ts gives filters the real ones
export type Handler = (value: any, a: any, b: any) => unknown

/** One handler on a chain, and what came of it. */
export interface Step {
  /** The filter's name as the operator wrote it. */
  readonly filter: string
  /** Its place in `-f`, counted from 0. */
  readonly order: number
  readonly run: Handler
  calls: number
  rewritten: number
  dropped: number
  failed: number
}

/** The client that a chain runs for, as far as the chain is concerned. */
export interface Subject {
  readonly id: string
  /** Order of the filter whose handler runs now; -1: none. */
  position: number
  /** Whether that handler has returned and its promise is awaited. */
  waiting: boolean
  /** Order of the last filter that this client's messages reach. */
  readonly reach: number
  /** It wanted what it may not. */
  tellForbidden(why: string): void
}

/** A client as the chains see it. */
export type ChainClient = Client & Subject

/** A filter as far as the chains are concerned. */
export interface Registered {
  readonly name: string
  readonly handlers: Handlers
}

/** How one chain differs from the others. */
export interface ChainKind<V> {
  readonly name: ChainName
  /** Whose chain it is: the client, where there is one. */
  subject?(value: V, a: unknown): Subject
  /** Who is named when a handler fails. */
  id(value: V, a: unknown): string | undefined
  /** The value that a verdict makes of the current one; `undefined`: no verdict that this chain takes. Absent: takes none. */
  rewrite?(value: V, verdict: unknown): V | undefined
  /** Whether DROP ends the chain; otherwise it is as good as nothing. */
  readonly drops: boolean
  /** What such a verdict may be, for the error. */
  readonly takes: string
  /** Whether a failed handler ends the chain; otherwise the next one runs. */
  readonly endsOnError: boolean
  /** Whether a client on hold stops here at its holder. */
  readonly gated?: true
}

export interface ChainHost {
  /** Milliseconds that a handler's promise may take; 0: for ever. */
  readonly deadline: number
  readonly deadlines: Deadlines
  /** A message goes no further: its client is on hold, or being closed. */
  held(subject: Subject): void
  report(error: unknown, where: { chain: ChainName | 'permit'; filter: string; id: string | undefined }): void
}

/**
 * The handlers of all filters for one kind of event, in `-f` order, compiled once.
 *
 * A handler that answers `undefined` passes, one that answers a value rewrites, one that answers `DROP` ends the chain.
 * As long as no handler answers a promise, none is made.
 */
export class Chain<V> {
  readonly steps: readonly Step[]
  readonly #kind: ChainKind<V>
  readonly #host: ChainHost

  constructor(kind: ChainKind<V>, steps: readonly Step[], host: ChainHost) {
    this.#kind = kind
    this.steps = steps
    this.#host = host
  }

  get name(): ChainName {
    return this.#kind.name
  }

  get empty(): boolean {
    return this.steps.length === 0
  }

  /** Never throws and never rejects. */
  run(value: V, a?: unknown, b?: unknown): Outcome<V> | Promise<Outcome<V>> {
    return this.steps.length === 0 ? value : this.#from(0, value, a, b)
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
    return this.#from(i + 1, outcome === FAILED ? value : (outcome as V), a, b)
  }

  #judge(step: Step, verdict: unknown, value: V, a: unknown): Outcome<V> {
    if (verdict === DROP) {
      if (!this.#kind.drops) return value
      step.dropped++
      return DROP
    }
    const next = this.#kind.rewrite?.(value, verdict)
    if (next === undefined) {
      const message = `returned ${nameOf(verdict)}; a ${this.name} handler returns ${this.#kind.takes}`
      return this.#fail(step, new FwsError('ERR_VERDICT', message), value, a)
    }
    step.rewritten++
    return next
  }

  /** A client that wants what it may not is no failure of the filter. */
  #fail(step: Step, error: unknown, value: V, a: unknown): Drop | typeof FAILED {
    const subject = this.#kind.subject?.(value, a)
    if (subject !== undefined && isForbidden(error)) {
      step.dropped++
      subject.tellForbidden(error.message)
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
