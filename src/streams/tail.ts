import type { StreamEntry } from '../contract/streams.ts'

const MAX_ENTRIES = 256
const MAX_BYTES = 1_048_576
/** Memory of an entry in addition to its payload. */
const ENTRY_BYTES = 200

/** The memory of all tails of a node. */
export class TailBudget {
  bytes = 0
  readonly max: number

  /** @param max - bytes. */
  constructor(max = 67_108_864) {
    this.max = max
  }
}

/** The last entries that a node has delivered on one topic: at most 256, 1 MiB, and what the budget allows. */
export class Tail {
  readonly #budget: TailBudget
  /** Undefined before `#start`: these are dropped. */
  #entries: (StreamEntry | undefined)[] = []
  #start = 0
  #bytes = 0
  /** Results of `after` since the last entry. */
  readonly #slices = new Map<number, readonly StreamEntry[]>()

  constructor(budget: TailBudget) {
    this.#budget = budget
  }

  /** @param entry - the one that follows the last one. */
  push(entry: StreamEntry): void {
    this.#entries.push(entry)
    this.#add(sizeOf(entry))
    while (this.#isTooLarge && this.#start < this.#entries.length) {
      this.#add(-sizeOf(this.#entries[this.#start]!))
      this.#entries[this.#start++] = undefined
    }
    this.#slices.clear()
    if (this.#start <= this.#entries.length / 2) return
    this.#entries = this.#entries.slice(this.#start)
    this.#start = 0
  }

  /** @param entries - consecutive, up to the last one that is here. */
  extend(entries: readonly StreamEntry[]): void {
    const [oldest] = entries
    if (oldest === undefined || this.has(oldest.offset)) return
    this.clear()
    for (const entry of entries.slice(-MAX_ENTRIES)) this.push(entry)
  }

  /** The entries behind an offset; `undefined` if the first of them is not here. Equal arrays for equal offsets. */
  after(offset: number): readonly StreamEntry[] | undefined {
    const first = this.#entries[this.#start]
    if (first === undefined || offset < first.offset - 1) return undefined
    const known = this.#slices.get(offset)
    if (known !== undefined) return known
    const slice = this.#entries.slice(this.#start + offset - first.offset + 1) as StreamEntry[]
    this.#slices.set(offset, slice)
    return slice
  }

  has(offset: number): boolean {
    return this.#at(offset) !== undefined
  }

  /** Whether an entry with this offset is here, and another call has appended it. */
  isOther({ offset, origin }: StreamEntry): boolean {
    const own = this.#at(offset)
    return own !== undefined && own.origin !== origin
  }

  clear(): void {
    this.#add(-this.#bytes)
    this.#entries = []
    this.#start = 0
    this.#slices.clear()
  }

  #at(offset: number): StreamEntry | undefined {
    const first = this.#entries[this.#start]
    return first === undefined || offset < first.offset ? undefined : this.#entries[this.#start + offset - first.offset]
  }

  get #isTooLarge(): boolean {
    return (
      this.#entries.length - this.#start > MAX_ENTRIES ||
      this.#bytes > MAX_BYTES ||
      this.#budget.bytes > this.#budget.max
    )
  }

  #add(bytes: number): void {
    this.#bytes += bytes
    this.#budget.bytes += bytes
  }
}

export function sizeOf({ payload }: Pick<StreamEntry, 'payload'>): number {
  return ENTRY_BYTES + Buffer.byteLength(payload)
}
