import { Refused } from './refused.ts'
import type { Upload } from './upload.ts'

/** One upload's place among those at a time. */
export interface Slot {
  upload?: Upload
  /** Its owner has gone: it must not begin. */
  isGone: boolean
  /** Also twice. */
  leave(): void
}

/** How many uploads there may be at a time, of one owner and of all. */
export class Slots {
  readonly #perOwner: number
  readonly #total: number
  readonly #taken = new Map<object, Set<Slot>>()

  constructor(perOwner: number, total: number) {
    this.#perOwner = perOwner
    this.#total = total
  }

  /** @throws Refused `busy`. */
  take(owner: object): Slot {
    const own = this.#taken.get(owner) ?? new Set()
    if (own.size >= this.#perOwner)
      throw new Refused('busy', `a client has at most ${this.#perOwner} uploads at a time`)
    if (this.#size >= this.#total)
      throw new Refused('busy', `there are ${this.#total} uploads under way, try again later`)
    const slot: Slot = {
      isGone: false,
      leave: () => {
        own.delete(slot)
        if (own.size === 0 && this.#taken.get(owner) === own) this.#taken.delete(owner)
      },
    }
    this.#taken.set(owner, own.add(slot))
    return slot
  }

  /** Settles when nothing is left of what they held; never rejects. */
  async end(owner: object, why: Refused): Promise<void> {
    const slots = [...(this.#taken.get(owner) ?? [])]
    for (const slot of slots) slot.isGone = true
    await Promise.all(slots.map(({ upload }) => upload?.cancel(why)))
  }

  async endAll(why: Refused): Promise<void> {
    await Promise.all([...this.#taken.keys()].map(owner => this.end(owner, why)))
  }

  get #size(): number {
    let size = 0
    for (const own of this.#taken.values()) size += own.size
    return size
  }
}
