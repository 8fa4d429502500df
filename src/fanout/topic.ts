import type { Batch } from './batch.ts'
import type { Outbox } from './outbox.ts'
import type { Wire } from './wire.ts'

/** A client in its topics: what waits for it, and where it is a member. */
export type Member = Outbox<Topic>

/** Clients that hear the same broadcasts. */
export class Topic {
  readonly name: string
  /** Each with the `seq` after which it became a member: earlier broadcasts of the turn are not for it. */
  readonly members = new Map<Member, number>()
  /** How many members there are of each kind. */
  readonly wires = new Map<Wire, number>()
  /** What this turn has broadcast so far. */
  batch: Batch | undefined
  /** What is being written right now. */
  flushing: Batch | undefined

  constructor(name: string) {
    this.name = name
  }

  add(outbox: Member, seq: number): void {
    this.members.set(outbox, seq)
    // An array that was pushed to has room for 17.
    if (outbox.topics.length === 0) outbox.topics = [this]
    else outbox.topics.push(this)
    this.countWire(outbox.wire, 1)
  }

  remove(outbox: Member): void {
    if (!this.members.delete(outbox)) return
    const at = outbox.topics.indexOf(this)
    outbox.topics[at] = outbox.topics.at(-1)!
    outbox.topics.pop()
    this.countWire(outbox.wire, -1)
  }

  countWire(wire: Wire, by: number): void {
    const members = (this.wires.get(wire) ?? 0) + by
    if (members > 0) this.wires.set(wire, members)
    else this.wires.delete(wire)
  }
}
