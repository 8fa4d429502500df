import { randomUUID } from 'node:crypto'
import type { Client } from 'filtered-websocket'
import { type CallOptions, isPromise, type Leases } from 'filtered-websocket/kit'
import type { PeerCalls } from '../rpc/peer-calls.ts'
import type { Session } from '../rpc/session.ts'
import type { Args, Failure, Kwargs } from '../wire/message.ts'
import type { Link, News } from './link.ts'
import type { Present } from './present.ts'
import { Pump, type PumpOptions } from './pump.ts'
import type { Queue } from './queue.ts'
import type { Answer, Question } from './roll.ts'
import type { RollCall } from './roll-call.ts'

/** A peer by its id, wherever it is and whenever it comes. */
export interface RemotePeer {
  readonly id: string
  /** Its connection to this node, the last one of several. */
  readonly client: Client | undefined
  /**
   * Tells it to do something. Kept in storage until the peer has answered it; an original peer, which answers nothing, has it when
   * it has gone to the operating system.
   *
   * @param when - `at`: when it is to be done, in seconds since 1970 on the server's clock.
   * @throws (rejects) CallFailed `full`: too much is kept for it; `unavailable`: the storage does not answer.
   */
  emit(action: string, args?: Args, kwargs?: Kwargs, when?: { readonly at?: number | undefined }): Promise<void>
  /**
   * Asks it, on whichever node it is; if it is away, or goes, when it comes back within the timeout: under the same id then.
   *
   * @throws (rejects) CallFailed, or the signal's reason.
   */
  call(name: string, args?: Args, kwargs?: Kwargs, options?: CallOptions): Promise<unknown>
}

export interface PeersOptions extends Pick<PumpOptions, 'window' | 'maxAgeMs' | 'failed'> {
  readonly queue: Queue
  readonly present: Present
  readonly link: Link
  readonly leases: Leases
  readonly calls: PeerCalls
  readonly rollCall: RollCall
  /** Hears why a peer could not do something. */
  refused(peer: string, name: string, why: Failure): void
}

/** The peers of all nodes: who is here, what is kept for them, what they are asked. */
export class Peers {
  readonly #options: PeersOptions

  constructor(options: PeersOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    await this.#options.link.start((news, node) => this.#hear(news, node))
    await this.#options.rollCall.start()
  }

  async stop(): Promise<void> {
    try {
      await this.#options.rollCall.stop()
    } finally {
      await this.#options.link.stop()
    }
  }

  /**
   * Does again what the loss of a message between nodes, or of the storage, may have prevented.
   *
   * @param part - for every so many-th peer, of `parts`: all at once would be too much for a storage.
   */
  async lookAgain(part: number, parts: number): Promise<void> {
    let i = 0
    for (const session of this.#options.present.all()) if (i++ % parts === part) session.pump?.wake()
    if (part > 0) return
    this.#options.calls.retry()
    await this.#options.link.renew()
    await this.#missDead()
  }

  /** What is kept for a peer comes to an older connection when the node that had the last one is dead. */
  async #missDead(): Promise<void> {
    const { present, leases, calls } = this.#options
    for (const node of present.nodes) {
      if (await leases.isAlive(node)) continue
      for (const peer of present.ended(node)) {
        this.#pump(peer)
        calls.retry(peer)
      }
    }
  }

  /** What is too old goes. */
  async sweep(): Promise<void> {
    await this.#options.queue.sweep()
  }

  /** A client says who it is, or that it answers actions, too. */
  enter(peer: string, session: Session): void {
    if (session.peer === undefined) this.#options.present.enter(peer, session)
    session.peer = peer
    session.pump?.stop()
    session.pump = undefined
    const turn = this.#options.link.turn()
    if (isPromise(turn)) void turn.then(late => this.#entered(peer, session, late))
    else this.#entered(peer, session, turn)
  }

  leave(session: Session): void {
    const { present, link, calls } = this.#options
    const { peer, turn } = session
    if (peer === undefined) return
    session.pump?.stop()
    present.leave(peer, session)
    if (Number.isFinite(turn)) link.send({ type: 'left', peer, turn })
    // Another connection of it may be there.
    this.#pump(peer)
    calls.retry(peer)
  }

  #entered(peer: string, session: Session, turn: number): void {
    const { present, link, calls } = this.#options
    if (!present.of(peer).includes(session)) return
    session.turn = turn
    this.#pump(peer)
    link.send({ type: 'came', peer, turn })
    calls.retry(peer)
  }

  /** As `MessagingApi.callAll`, on every node. */
  callAll(pattern: string, question: Question, options?: CallOptions): Promise<readonly Answer[]> {
    return this.#options.rollCall.call(pattern, question, options)
  }

  of(id: string): RemotePeer {
    const { queue, present, link, calls } = this.#options
    return {
      id,
      get client() {
        return present.of(id).at(-1)?.client
      },
      emit: async (name, args = [], kwargs = {}, { at } = {}) => {
        const when = at !== undefined && { at }
        await queue.append(id, { type: 'message', id: randomUUID(), name, args, kwargs, ...when })
        const here = present.newest(id)
        if (here !== undefined) here.pump?.wake()
        else link.send({ type: 'kept', peer: id })
      },
      call: (name, args = [], kwargs = {}, options) => calls.call(id, { name, args, kwargs }, options),
    }
  }

  #hear(news: News, node: string): void {
    const { present, calls, rollCall } = this.#options
    switch (news.type) {
      case 'ask':
        calls.forward(news, node)
        break
      case 'answer':
        calls.answered(news)
        break
      case 'kept':
        this.#pump(news.peer)
        break
      case 'came':
        present.cameElsewhere(news.peer, news.turn, node)
        this.#pump(news.peer)
        calls.retry(news.peer)
        break
      case 'left':
        present.leftElsewhere(news.peer, news.turn, node)
        this.#pump(news.peer)
        break
      default:
        rollCall.hear(news, node)
    }
  }

  /** What is kept goes to the connection that came last, on whatever node, and to no other. */
  #pump(peer: string): void {
    const { queue, present, window, maxAgeMs, failed, refused } = this.#options
    const newest = present.newest(peer)
    for (const session of present.of(peer)) {
      if (session === newest) continue
      session.pump?.stop()
      session.pump = undefined
    }
    if (newest === undefined) return
    newest.pump ??= new Pump(newest, {
      queue,
      peer,
      window,
      maxAgeMs,
      failed,
      refused: (name, why) => refused(peer, name, why),
      answers: newest.incarnation !== undefined,
    })
    newest.pump.wake()
  }
}
