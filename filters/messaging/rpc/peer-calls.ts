import { randomUUID } from 'node:crypto'
import { CALL_TIMEOUT, CallFailed, type CallOptions, type PendingCall, PendingCalls } from 'filtered-websocket/kit'
import { shown } from '../../../protocols/clever-show/malformed.ts'
import type { Link, News } from '../resumption/link.ts'
import type { Present } from '../resumption/present.ts'
import { failureIn } from './outcome.ts'
import type { OutgoingRequest, Session } from './session.ts'

/** The longest timeout, for calls that their signal ends. */
const NO_TIMEOUT = 2_147_483_647

type Ask = Extract<News, { type: 'ask' }>
type Answer = Extract<News, { type: 'answer' }>
type Result = Pick<Answer, 'value' | 'error'>

interface Call extends OutgoingRequest, PendingCall {
  readonly id: string
  readonly peer: string
  /** In milliseconds of `performance.now`. */
  readonly deadline: number
  /** Aborted when the call is settled. */
  readonly settled: AbortController
  /** The peer may have received it. */
  resend: boolean
  /** The connection of this node that it was sent to. */
  session: Session | undefined
}

/** Calls to peers on any node. A call is sent again, under the same id, to each connection that the peer opens until it is answered. */
export class PeerCalls {
  readonly #present: Present
  readonly #link: Link
  readonly #calls: PendingCalls<Call>
  /** Calls of other nodes that were sent to a peer of this node, by id. */
  readonly #forwarded = new WeakMap<Session, Map<string, { answer?: Answer }>>()

  /** @param max - calls of this node that may wait. */
  constructor(present: Present, link: Link, max: number) {
    this.#present = present
    this.#link = link
    this.#calls = new PendingCalls(max, '--messaging-max-calls')
  }

  /** @throws (rejects) CallFailed; TypeError for arguments that JSON cannot express; the signal's reason */
  async call(peer: string, request: Omit<OutgoingRequest, 'resend'>, options: CallOptions = {}): Promise<unknown> {
    const { timeout = CALL_TIMEOUT } = options
    const call: Call = {
      // A copy, as the arguments may change before a resend.
      ...(JSON.parse(JSON.stringify(request)) as typeof request),
      callee: `peer ${JSON.stringify(peer)}`,
      id: randomUUID(),
      peer,
      deadline: performance.now() + timeout,
      settled: new AbortController(),
      resend: false,
      session: undefined,
    }
    try {
      return await this.#calls.start(call.id, call, () => this.#send(call), options)
    } finally {
      call.settled.abort()
    }
  }

  /** Sends the calls to a peer that has a new connection; without `peer` all calls, as a message between nodes may be lost. */
  retry(peer?: string): void {
    for (const call of this.#calls.all()) if (peer === undefined || call.peer === peer) this.#send(call)
  }

  /** Handles the answer of another node; a late one has no effect. */
  answered({ id, value, error }: Omit<Answer, 'type'>): void {
    if (error === undefined) this.#calls.resolve(id, value)
    else this.#calls.reject(id, new CallFailed(error.code, error.message))
  }

  /** Sends a peer of this node the call of another node, once on each connection, and answers that node. */
  forward({ peer, id, ms, ...request }: Ask, node: string): void {
    const session = this.#present.newest(peer)
    if (session === undefined) return
    const forwarded = this.#forwarded.get(session) ?? new Map<string, { answer?: Answer }>()
    this.#forwarded.set(session, forwarded)
    const before = forwarded.get(id)
    if (before !== undefined) {
      if (before.answer !== undefined) this.#link.send(before.answer, node)
      return
    }
    const entry: { answer?: Answer } = {}
    forwarded.set(id, entry)
    // By then the other node waits no longer.
    setTimeout(() => forwarded.delete(id), ms).unref()
    void ask(session, id, request, { timeout: ms }).then(outcome => {
      if (outcome === undefined) return
      entry.answer = { type: 'answer', id, ...outcome }
      this.#link.send(entry.answer, node)
    })
  }

  #send(call: Call): void {
    const { id, peer, name, args, kwargs, resend, deadline, settled } = call
    const ms = Math.ceil(deadline - performance.now())
    const session = this.#present.newest(peer)
    if (ms < 1 || (session !== undefined && call.session === session)) return
    if (session === undefined) {
      if (this.#link.send({ type: 'ask', peer, id, name, args, kwargs, resend, ms })) call.resend = true
      return
    }
    call.session = session
    call.resend = true
    const options = { timeout: NO_TIMEOUT, signal: settled.signal }
    void ask(session, id, { name, args, kwargs, resend }, options).then(outcome => {
      if (outcome !== undefined) this.answered({ id, ...outcome })
      // The peer may return. If it has, the call was sent to its new connection.
      else if (call.session === session) call.session = undefined
    })
  }
}

/** Sends a request. Never rejects; `undefined`: the connection ended before the answer. */
async function ask(
  session: Session,
  id: string,
  request: OutgoingRequest,
  options: CallOptions,
): Promise<Result | undefined> {
  try {
    return { value: await session.ask(id, request, options) }
  } catch (error) {
    const isLost = error instanceof CallFailed && error.code === 'gone' && session.client.signal.aborted
    return isLost ? undefined : { error: failureIn(`request ${shown(request.name)}`, error) }
  }
}
