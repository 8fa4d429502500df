import { randomUUID } from 'node:crypto'
import type { Link, News } from '../resumption/link.ts'
import type { Present } from '../resumption/present.ts'
import type { Failure } from '../wire/message.ts'
import { CallFailed, type CallOptions, checkTimeout, MAX_TIMEOUT, TIMEOUT, wordOf } from './pending.ts'
import type { Asked, Session } from './session.ts'

type Ask = Extract<News, { type: 'ask' }>
type Told = Extract<News, { type: 'answer' }>

/** What a peer is asked for another node, and has answered. */
interface Asking {
  answer: Told | undefined
}

interface Call extends Omit<Asked, 'resend'> {
  readonly id: string
  readonly peer: string
  /** In milliseconds of `performance.now`. */
  readonly deadline: number
  /** Aborted when nobody waits any more. */
  readonly over: AbortController
  /** The peer may have heard it. */
  resend: boolean
  /** The connection of this node that has been asked. */
  asked: Session | undefined
  end(settle: () => void): void
  resolve(value: unknown): void
  reject(error: unknown): void
}

/** Calls to peers, on whichever node they are or come to: asked again, under the same id, until there is an answer. */
export class Calls {
  readonly #present: Present
  readonly #link: Link
  readonly #max: number
  readonly #waiting = new Map<string, Call>()
  /** What this node asks its peers for other nodes. */
  readonly #asking = new WeakMap<Session, Map<string, Asking>>()

  /** @param max - calls of this node that wait. */
  constructor(present: Present, link: Link, max: number) {
    this.#present = present
    this.#link = link
    this.#max = max
  }

  /** @throws (rejects) CallFailed; TypeError when JSON cannot say it; the signal's reason */
  async call(
    peer: string,
    said: Omit<Asked, 'resend'>,
    { timeout = TIMEOUT, signal }: CallOptions = {},
  ): Promise<unknown> {
    signal?.throwIfAborted()
    checkTimeout(timeout)
    if (this.#waiting.size >= this.#max)
      throw new CallFailed('busy', `${this.#max} calls to peers wait on this node, --messaging-max-calls is that`)
    // As it is now, whenever it is sent.
    const kept = JSON.parse(JSON.stringify(said)) as typeof said
    return new Promise((resolve, reject) => {
      const id = randomUUID()
      const abort = () => call.end(() => reject(signal!.reason))
      const late = () => call.end(() => reject(new CallFailed('timeout', unanswered(call, timeout))))
      const timer = setTimeout(late, timeout)
      const call: Call = {
        ...kept,
        id,
        peer,
        deadline: performance.now() + timeout,
        over: new AbortController(),
        resend: false,
        asked: undefined,
        resolve,
        reject,
        end: settle => {
          clearTimeout(timer)
          signal?.removeEventListener('abort', abort)
          this.#waiting.delete(id)
          settle()
          call.over.abort()
        },
      }
      this.#waiting.set(id, call)
      signal?.addEventListener('abort', abort)
      this.#try(call)
    })
  }

  /** A peer has come, to this node or to another. */
  came(peer: string): void {
    for (const call of [...this.#waiting.values()]) if (call.peer === peer) this.#try(call)
  }

  /** Asks again what may have been lost on its way between the nodes. */
  retry(): void {
    for (const call of [...this.#waiting.values()]) this.#try(call)
  }

  answered({ id, value, error }: Told): void {
    const call = this.#waiting.get(id)
    if (call !== undefined) this.#settle(call, value, error)
  }

  /** Asks a peer of this node for another one; on each connection once, however often that node says it. */
  ask({ peer, id, ms, ...asked }: Ask, node: string): void {
    const session = this.#present.newest(peer)
    if (session === undefined) return
    const asking = this.#asking.get(session) ?? new Map<string, Asking>()
    this.#asking.set(session, asking)
    const before = asking.get(id)
    if (before !== undefined) {
      if (before.answer !== undefined) this.#link.tell(before.answer, node)
      return
    }
    const mine: Asking = { answer: undefined }
    asking.set(id, mine)
    const tell = (what: Pick<Told, 'value' | 'error'>) => {
      mine.answer = { type: 'answer', id, ...what }
      this.#link.tell(mine.answer, node)
    }
    // Then nobody waits any more.
    setTimeout(() => asking.delete(id), ms).unref()
    session.ask(id, asked, { timeout: later(ms) }).then(
      value => tell({ value }),
      error => {
        if (!isLost(error, session)) tell({ error: wordOf(error) })
      },
    )
  }

  #try(call: Call): void {
    const { id, peer, name, args, kwargs, resend, deadline } = call
    const ms = Math.ceil(deadline - performance.now())
    const session = this.#present.newest(peer)
    if (ms < 1 || (session !== undefined && call.asked === session)) return
    if (session === undefined) {
      if (this.#link.tell({ type: 'ask', peer, id, name, args, kwargs, resend, ms })) call.resend = true
      return
    }
    call.asked = session
    call.resend = true
    session.ask(id, { name, args, kwargs, resend }, { timeout: later(ms), signal: call.over.signal }).then(
      value => this.#settle(call, value, undefined),
      error => {
        if (!isLost(error, session)) this.#settle(call, undefined, wordOf(error))
        // It may come back in time, or has, and has been asked there.
        else if (call.asked === session) call.asked = undefined
      },
    )
  }

  #settle(call: Call, value: unknown, error: Failure | undefined): void {
    if (this.#waiting.get(call.id) !== call) return
    call.end(() => {
      if (error === undefined) call.resolve(value)
      else call.reject(CallFailed.of(error))
    })
  }
}

/** With its connection, and not by its own word. */
function isLost(error: unknown, { client }: Session): boolean {
  return error instanceof CallFailed && error.code === 'gone' && client.signal.aborted
}

/** The call itself ends in time; this is for its connection to forget it. */
function later(ms: number): number {
  return Math.min(ms + 1000, MAX_TIMEOUT)
}

function unanswered({ peer, name }: Call, timeout: number): string {
  return `peer ${JSON.stringify(peer)} has not answered ${JSON.stringify(name)} within ${timeout} ms`
}
