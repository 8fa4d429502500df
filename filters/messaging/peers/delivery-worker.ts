import type { Position, ReadRange, StreamEntry, StreamPage } from 'filtered-websocket'
import type { Session } from '../rpc/session.ts'
import type { Response } from '../wire/message.ts'
import type { PeersContext } from './context.ts'
import { readQueued } from './queues.ts'

/** Entries and bytes of one read. */
const PAGE_ENTRIES = 100
const PAGE_BYTES = 262_144

/** A connection of a peer to this node. */
export interface PeerConnection {
  readonly session: Session
  /** Whether the peer answers actions. For one that does not, an action is done when the connection has accepted it. */
  readonly answers: boolean
}

/** Up to which offset actions may have been sent, as this node knows it. */
export interface SentMark {
  position: Position | undefined
}

interface Sent {
  readonly position: Position
  readonly name: string
  isAnswered: boolean
}

/**
 * Sends the queued actions of a peer to its active connection, in order, and deletes those that are done.
 *
 * The attribute `sent` of the queue is the offset up to which actions may have been sent to any connection; they are sent again with
 * `resend`. It is set before they are sent, and only while this connection is active. The node remembers it too, since a Redis that comes
 * back older may have an older one.
 */
export class DeliveryWorker {
  readonly connection: PeerConnection
  readonly #context: PeersContext
  readonly #peer: string
  readonly #topic: string
  /** Up to here actions were sent to this connection; `undefined`: the oldest one is next. */
  #cursor: Position | undefined
  /** Sent and not deleted, by id, in order. */
  readonly #sent = new Map<string, Sent>()
  /** Up to here actions are done and not deleted. */
  #done: Position | undefined
  readonly #mark: SentMark
  #isSending = false
  #isTrimming = false
  #isStopped = false

  constructor(connection: PeerConnection, peer: string, topic: string, mark: SentMark, context: PeersContext) {
    this.connection = connection
    this.#context = context
    this.#peer = peer
    this.#topic = topic
    this.#mark = mark
  }

  /** The entries for `send`; `undefined`: none now. */
  get wanted(): ReadRange | undefined {
    const entries = Math.min(this.#context.window - this.#sent.size, PAGE_ENTRIES)
    if (this.#isSending || entries <= 0) return undefined
    const from = this.#cursor === undefined ? ({ from: 'oldest' } as const) : { after: this.#cursor }
    return { ...from, entries, bytes: PAGE_BYTES }
  }

  stop(): void {
    this.#isStopped = true
  }

  /**
   * Sends a page that was read as `wanted`, and whose attributes name this connection as active. Returns whether to read again.
   *
   * @throws (rejects) Error: the storage does not answer; to be read again later.
   */
  async send(page: StreamPage): Promise<boolean> {
    this.#isSending = true
    try {
      return await this.#send(page)
    } finally {
      this.#isSending = false
    }
  }

  /** Handles an answer; returns whether an action waited for it. An error is an answer. */
  answered({ id, name, error }: Response): boolean {
    const sent = this.#sent.get(String(id))
    if (sent === undefined || sent.name !== name) return false
    if (error !== undefined && !sent.isAnswered) this.#context.refused(this.#peer, name, error)
    sent.isAnswered = true
    for (const [first, { position, isAnswered }] of this.#sent) {
      // Those that are answered out of order wait for the ones before them.
      if (!isAnswered) break
      this.#sent.delete(first)
      this.#done = position
    }
    return true
  }

  /** Deletes the actions that are done. @throws (rejects) as `send` does. */
  async trim(): Promise<void> {
    if (this.#isTrimming) return
    this.#isTrimming = true
    try {
      while (this.#done !== undefined) {
        const upTo = this.#done
        await this.#context.server.trim(this.#topic, upTo)
        if (this.#done === upTo) this.#done = undefined
      }
    } finally {
      this.#isTrimming = false
    }
  }

  async #send({ entries, floor, attributes, lost }: StreamPage): Promise<boolean> {
    if (lost !== undefined) {
      if (lost !== 'trimmed') this.#sent.clear()
      this.#cursor = undefined
      return true
    }
    for (const [id, { position }] of this.#sent) if (position.offset <= floor.offset) this.#sent.delete(id)
    const stored = Number(attributes.sent ?? 0)
    const { position } = this.#mark
    const sent = Math.max(stored, position?.epoch === floor.epoch ? position.offset : 0)
    const upTo = { ...floor, offset: entries.at(-1)?.offset ?? Math.max(floor.offset, this.#cursor?.offset ?? 0) }
    if (upTo.offset > stored) {
      const mark = { ...floor, offset: Math.max(upTo.offset, sent) }
      const how = { when: { active: attributes.active! }, set: { sent: String(mark.offset) } }
      // Another connection has become active.
      if ('refused' in (await this.#context.server.append(this.#topic, [], how))) return false
      if (floor.offset > sent) this.#context.expired(this.#peer, floor.offset - sent)
      this.#mark.position = mark
    }
    if (this.#isStopped || !entries.every(entry => this.#sendOne(entry, floor.epoch, sent))) return false
    this.#cursor = upTo
    const { session, answers } = this.connection
    await session.client.drained()
    if (!answers && entries.length > 0 && !session.client.signal.aborted) {
      this.#done = upTo
      await this.trim()
    }
    return entries.length > 0 || upTo.offset > stored
  }

  /** Returns `false` if a client that does not answer has not accepted it: one that is being closed does not. */
  #sendOne({ offset, payload }: StreamEntry, epoch: string, sent: number): boolean {
    const { session, answers } = this.connection
    const action = readQueued(payload)
    if (action === undefined) return true
    const { id, ...withoutId } = action
    const before = session.client.buffered
    const resend = offset <= sent && ({ resend: true } as const)
    session.send({ type: 'message', ...withoutId, ...(answers && { id }), ...resend })
    // The system may have accepted a large action at once, so this is no sign for others.
    if (!answers) return session.client.buffered !== before
    this.#sent.set(id, { position: { epoch, offset }, name: action.name, isAnswered: false })
    return true
  }
}
