import type { About } from '../contract/streams.ts'
import type { Batch } from './batch.ts'
import type { Outbox } from './outbox.ts'
import type { Wire } from './wire.ts'

/** The outbox of a client, with its topics. */
export type Member = Outbox<Topic>

/** A set of clients that get the same broadcasts. */
export class Topic {
  readonly name: string
  /** What codecs get with messages that have no position; `undefined`: they are for all clients. */
  readonly about: About | undefined
  /** Members with the `seq` at their join: they do not get earlier broadcasts of the turn. */
  readonly members = new Map<Member, number>()
  /** Number of members per wire. */
  readonly wires = new Map<Wire, number>()
  /** Broadcasts of this turn. */
  batch: Batch | undefined
  /** Broadcasts that are being written. */
  flushing: Batch | undefined

  constructor(name: string, about?: About) {
    this.name = name
    this.about = about
  }

  add(outbox: Member, seq: number): void {
    this.members.set(outbox, seq)
    // A literal has room for one element, an array after a push for 17.
    if (outbox.topics.length === 0) outbox.topics = [this]
    else outbox.topics.push(this)
    this.countWire(outbox.wire, 1)
  }

  /** Returns whether it was a member. */
  remove(outbox: Member): boolean {
    if (!this.members.delete(outbox)) return false
    const at = outbox.topics.indexOf(this)
    outbox.topics[at] = outbox.topics.at(-1)!
    outbox.topics.pop()
    this.countWire(outbox.wire, -1)
    return true
  }

  countWire(wire: Wire, by: number): void {
    const members = (this.wires.get(wire) ?? 0) + by
    if (members > 0) this.wires.set(wire, members)
    else this.wires.delete(wire)
  }
}
