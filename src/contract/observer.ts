import type { Payload } from './payload.ts'

/** One call of a handler, after its verdict. */
export interface HandlerCall {
  readonly chain: string
  /** The filter's name as in `-f`, and its position there, from 0. */
  readonly filter: string
  readonly order: number
  /** Id of the client; `undefined` on chains without clients: `accept`, `data`, `request`, `consumer`, and `publish` for the operator. */
  readonly client: string | undefined
  /** `fail` is an error or a missed deadline. */
  readonly verdict: 'pass' | 'rewrite' | 'drop' | 'fail'
  /** Time from the call to the verdict, including the wait for a promise. */
  readonly nanoseconds: number
  /** Payload that the handler got; `undefined` on chains without payloads. Not copied: a filter may change a Buffer. */
  readonly before: Payload | undefined
  /** Payload that the next handler gets; `undefined` after `drop` and `fail`. */
  readonly after: Payload | undefined
}

/** Called after each handler. MUST NOT change payloads. An error is reported, and ends neither the chain nor the observation. */
export type ChainObserver = (call: HandlerCall) => void
