import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { CALL_TIMEOUT, CallFailed, type CallOptions, MAX_TIMEOUT, PendingCalls } from 'filtered-websocket/kit'
import { shown } from '../../../protocols/clever-show/malformed.ts'
import type { Question } from '../rpc/ask-clients.ts'
import { failureIn, type Outcome } from '../rpc/outcome.ts'
import type { OutgoingRequest, Session } from '../rpc/session.ts'
import type { PeersContext } from './context.ts'
import { type LocalPeer, partsOf } from './local-peer.ts'

/** Milliseconds after which a node is asked again, since a message between nodes may be lost: at first, and at most. */
const ASK_FIRST_MS = 1000
export const ASK_AGAIN_MS = 5000
/** Milliseconds for which an answer is kept for a node that asks again. */
const KEPT_MS = 2 * ASK_AGAIN_MS
/** Milliseconds until the storage is tried again. */
const RETRY_MS = 500
/** Milliseconds by which a connection is waited for longer than by the caller. */
const MARGIN_MS = 1000

/** A request to a connection of any node. */
export interface ClientQuestion extends OutgoingRequest {
  /** Id of the client. */
  readonly client: string
  /** Id of the request, equal on all connections. */
  readonly id: string
  /** Milliseconds until the caller stops waiting. */
  readonly ms: number
}

/** `null`: the connection has ended. */
type ClientAnswer = Outcome | null

interface Call {
  readonly id: string
  readonly question: Question
  /** In milliseconds of `performance.now`. */
  readonly deadline: number
  readonly ended: AbortSignal
  /** The connection that is asked. */
  active: string | undefined
  /** The peer may have received it. */
  resend: boolean
}

/** Calls of this node to peers on any node, and those of other nodes to connections of this one. */
export class PeerCalls {
  readonly #context: PeersContext
  readonly #calls: PendingCalls
  /** Answers of a connection, by the id of the request, which is sent to it once however often it is asked. */
  readonly #asked = new WeakMap<Session, Map<string, Promise<ClientAnswer>>>()

  constructor(context: PeersContext) {
    this.#context = context
    this.#calls = new PendingCalls(context.maxCalls, '--messaging-max-calls')
  }

  /**
   * Sends a request to the active connection of a peer, and again to each one that becomes active until there is an answer.
   *
   * @throws (rejects) CallFailed; TypeError: JSON cannot represent the arguments; the signal's reason.
   */
  async call(peer: LocalPeer, question: Question, options: CallOptions = {}): Promise<unknown> {
    const ended = new AbortController()
    const call: Call = {
      id: randomUUID(),
      // A copy, as the arguments may change before a resend.
      question: JSON.parse(JSON.stringify(question)),
      deadline: performance.now() + (options.timeout ?? CALL_TIMEOUT),
      ended: ended.signal,
      active: undefined,
      resend: false,
    }
    const route = (active: string) => {
      if (active === call.active) return
      call.active = active
      void this.#send(call, active)
    }
    const named = { callee: `peer ${JSON.stringify(peer.id)}`, name: question.name }
    try {
      return await this.#calls.start(call.id, named, () => peer.addCall(route), options)
    } finally {
      peer.removeCall(route)
      ended.abort()
    }
  }

  /** Asks a connection of this node. Never rejects. */
  async answer({ client, id, ms, ...request }: ClientQuestion, signal?: AbortSignal): Promise<ClientAnswer> {
    const found = this.#context.server.clients.get(client)
    const session = found && this.#context.sessions.get(found)
    if (session === undefined) return null
    const asked = this.#asked.get(session) ?? new Map<string, Promise<ClientAnswer>>()
    this.#asked.set(session, asked)
    let answer = asked.get(id)
    if (answer === undefined) {
      answer = ask(session, id, request, { timeout: Math.min(ms + MARGIN_MS, MAX_TIMEOUT), signal })
      asked.set(id, answer)
      // A call of this node gets it at once; another node asks again if the answer was lost.
      const keptMs = signal === undefined ? KEPT_MS : 0
      void answer.then(() => setTimeout(() => asked.delete(id), keptMs).unref())
    }
    return answer
  }

  /** Asks a connection until it has answered or ended, or another one is active. */
  async #send(call: Call, active: string): Promise<void> {
    for (let wait = ASK_FIRST_MS; call.active === active && !call.ended.aborted; wait *= 2) {
      try {
        const answer = await this.#ask(call, active, Math.min(wait, ASK_AGAIN_MS))
        const { value, error } = answer ?? {}
        if (error !== undefined) this.#calls.reject(call.id, new CallFailed(error.code, error.message))
        else if (answer !== null) this.#calls.resolve(call.id, value)
        return
      } catch (error) {
        if (await mayAskAgain(error)) continue
        // Another connection takes over from one of a dead node.
        if ((error as CallFailed).code === 'gone') call.active = undefined
        else this.#calls.reject(call.id, error)
        return
      }
    }
  }

  /** @throws (rejects) as `NodeCalls.ask` does. */
  #ask(call: Call, active: string, wait: number): Promise<ClientAnswer> {
    const { registry, nodes } = this.#context
    const [node, client] = partsOf(active)
    const ms = Math.max(1, Math.ceil(call.deadline - performance.now()))
    const question: ClientQuestion = { ...call.question, client, id: call.id, resend: call.resend, ms }
    call.resend = true
    if (registry.isOwn(node)) return this.answer(question, call.ended)
    const options = { timeout: Math.min(ms, wait), signal: call.ended }
    return nodes.ask(node, question, options) as Promise<ClientAnswer>
  }
}

/** Whether a node that could not be asked may be asked again: a message was lost, or the storage has failed. */
export async function mayAskAgain(error: unknown): Promise<boolean> {
  if (error instanceof CallFailed) return error.code === 'timeout'
  await sleep(RETRY_MS, undefined, { ref: false })
  return true
}

async function ask(
  session: Session,
  id: string,
  request: OutgoingRequest,
  options: CallOptions,
): Promise<ClientAnswer> {
  try {
    return { value: await session.ask(id, request, options) }
  } catch (error) {
    const isLost = error instanceof CallFailed && error.code === 'gone' && session.client.signal.aborted
    return isLost ? null : { error: failureIn(`request ${shown(request.name)}`, error) }
  }
}
