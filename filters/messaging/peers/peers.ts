import { setTimeout as sleep } from 'node:timers/promises'
import type { Awaitable, Client } from 'filtered-websocket'
import { type CallOptions, inSlices } from 'filtered-websocket/kit'
import type { Answer, Question } from '../rpc/ask-clients.ts'
import type { Session } from '../rpc/session.ts'
import type { Args, Kwargs } from '../wire/message.ts'
import type { PeersContext } from './context.ts'
import { LocalPeer } from './local-peer.ts'
import { type ClientQuestion, PeerCalls } from './peer-calls.ts'
import { type PageQuestion, ScatterCalls, type ScatterQuestion } from './scatter-calls.ts'

/** Milliseconds that a stop waits for the storage. */
const STOP_MS = 1000

/** A peer by its id: connected to any node, or not. */
export interface RemotePeer {
  readonly id: string
  /** Its latest connection to this node. */
  readonly client: Client | undefined
  /**
   * Queues an action in the storage until the peer has answered it. A peer of clever-show answers no actions:
   * its action is done when the connection has accepted it.
   *
   * @param when - `at`: when the action is to run, in seconds since 1970 on the server's clock.
   * @throws (rejects) CallFailed `full`: it is not queued; `unavailable`: it may be queued, the storage does not answer.
   */
  emit(action: string, args?: Args, kwargs?: Kwargs, when?: { readonly at?: number | undefined }): Promise<void>
  /**
   * Sends a request to the peer on any node, and again, under the same id, when it reconnects within the timeout.
   *
   * @throws (rejects) CallFailed, or the signal's reason.
   */
  call(name: string, args?: Args, kwargs?: Kwargs, options?: CallOptions): Promise<unknown>
}

/** A question of another node. */
export type NodeQuestion = ClientQuestion | ScatterQuestion | PageQuestion

/** The peers that are connected to this node, or called by it. */
export class Peers {
  readonly #context: PeersContext
  readonly #peers = new Map<string, LocalPeer>()
  readonly #calls: PeerCalls
  readonly #scatter: ScatterCalls

  constructor(context: PeersContext) {
    this.#context = context
    this.#calls = new PeerCalls(context)
    this.#scatter = new ScatterCalls(context)
  }

  /** A client has the id of a peer. @param answers - whether it answers actions. */
  enter(id: string, session: Session, answers: boolean): void {
    this.#of(id).enter(session, answers)
  }

  leave(id: string, session: Session): void {
    this.#peers.get(id)?.leave(session)
  }

  remote(id: string): RemotePeer {
    const client = () => this.#peers.get(id)?.session?.client
    return {
      id,
      get client() {
        return client()
      },
      emit: async (name, args = [], kwargs = {}, { at } = {}) =>
        this.#context.queues.append(this.#context.server, id, { name, args, kwargs, ...(at !== undefined && { at }) }),
      call: async (name, args = [], kwargs = {}, options) =>
        this.#calls.call(this.#of(id), { name, args, kwargs }, options),
    }
  }

  /** As `MessagingApi.callAll`, on all nodes. */
  callAll(pattern: string, question: Question, options?: CallOptions): Promise<readonly Answer[]> {
    return this.#scatter.call(pattern, question, options)
  }

  /** Answers another node. */
  answer(question: NodeQuestion): Awaitable<unknown> {
    return 'client' in question ? this.#calls.answer(question) : this.#scatter.answer(question)
  }

  /** Nodes may have died, or this one may have a new id. */
  nodesChanged(): Promise<void> | undefined {
    return inSlices(this.#peers.values(), peer => peer.nodesChanged())
  }

  /** Removes unused peers; they are not removed at once, since the next call may come soon. */
  sweep(): Promise<void> | undefined {
    return inSlices(this.#peers.values(), peer => {
      if (peer.isUsed) return
      void peer.stop()
      this.#peers.delete(peer.id)
    })
  }

  /** Settles when no connection that has ended is active, after a second in any case. */
  async stop(): Promise<void> {
    const stopped = Promise.all(Array.from(this.#peers.values(), peer => peer.stop()))
    await Promise.race([stopped, sleep(STOP_MS, undefined, { ref: false })])
  }

  #of(id: string): LocalPeer {
    let peer = this.#peers.get(id)
    if (peer === undefined) {
      peer = new LocalPeer(id, this.#context)
      this.#peers.set(id, peer)
    }
    return peer
  }
}
