import { randomUUID } from 'node:crypto'
import type { Payload, Retention, Server } from 'filtered-websocket'
import { CallFailed } from 'filtered-websocket/kit'
import { shown } from '../../../protocols/clever-show/malformed.ts'
import { MAX_TEXT } from '../../../protocols/clever-show/message.ts'
import type { Action } from '../wire/message.ts'

const PREFIX = '@messaging/'
/** Queues that are examined at a time when this node has added to too many. */
const EXAMINED = 8

/** An action in a queue. */
export type Queued = Pick<Action, 'name' | 'args' | 'kwargs' | 'at'> & { readonly id: string }

/** The topic of the queue of a peer. */
export function queueOf(peer: string): string {
  return PREFIX + peer
}

/** `undefined`: the entry has another format. */
export function readQueued(payload: Payload): Queued | undefined {
  try {
    return JSON.parse(String(payload))
  } catch {
    return undefined
  }
}

/** The queues of peers: kept topics from which an action is deleted when the peer has answered it. */
export class Queues {
  readonly #retention: Retention
  readonly #maxPeers: number
  /** Peers for which this node has queued actions. Those with an empty queue are removed when there are too many. */
  readonly #peers = new Set<string>()

  /**
   * @param bounds - of the queue of one peer.
   * @param maxPeers - peers with queued actions of this node.
   */
  constructor(bounds: Omit<Retention, 'full'>, maxPeers: number) {
    this.#retention = { ...bounds, full: 'refuse' }
    this.#maxPeers = maxPeers
  }

  /** The `retain` handler. */
  retain(topic: string): Retention | undefined {
    return topic.startsWith(PREFIX) ? this.#retention : undefined
  }

  /**
   * Queues an action under a new id.
   *
   * @throws (rejects) CallFailed `full`: it is not queued; `unavailable`: it may be queued, the storage does not answer. TypeError: JSON
   * cannot represent it, or its name is invalid.
   */
  async append(server: Server, peer: string, action: Omit<Queued, 'id'>): Promise<void> {
    const { size, bytes } = this.#retention
    const { name } = action
    // One that cannot be sent would block those behind it.
    if (typeof name !== 'string' || name === '' || name.length > MAX_TEXT)
      throw new TypeError(`an action is a string of 1 to ${MAX_TEXT} characters, received ${shown(name)}`)
    const text = JSON.stringify({ id: randomUUID(), ...action } satisfies Queued)
    const named = `peer ${JSON.stringify(peer)}`
    const added = this.#reserve(server, peer).then(() => server.append(queueOf(peer), text))
    const outcome = await added.catch(error => {
      if (error instanceof CallFailed) throw error
      throw new CallFailed('unavailable', `the action for ${named} may not be queued: ${error.message}`)
    })
    if ('position' in outcome) return
    const limits = `${size} actions (--messaging-queue), ${bytes} bytes (--messaging-queue-bytes)`
    throw new CallFailed('full', `the queue of ${named} is full, it has at most ${limits}`)
  }

  /** @throws (rejects) CallFailed `full`; Error: the storage does not answer. */
  async #reserve(server: Server, peer: string): Promise<void> {
    if (!this.#peers.has(peer) && this.#peers.size >= this.#maxPeers) {
      await this.#examine(server)
      const limit = `${this.#maxPeers} peers have queued actions of this node, --messaging-max-peers allows no more`
      if (this.#peers.size >= this.#maxPeers) throw new CallFailed('full', limit)
    }
    this.#peers.add(peer)
  }

  /** Removes the peers among the first few whose queues are empty; the others are examined again after all others. */
  async #examine(server: Server): Promise<void> {
    const peers = [...this.#peers].slice(0, EXAMINED)
    await Promise.all(
      peers.map(async peer => {
        const { top, floor } = await server.read(queueOf(peer), { from: 'oldest', entries: 0, bytes: 0 })
        this.#peers.delete(peer)
        if (floor.offset < top.offset) this.#peers.add(peer)
      }),
    )
  }
}
