/** Entries: an attacker of more addresses than that is not stopped by counting addresses. */
const MAX = 100_000

/** What was used last, by key; past its bound the oldest is forgotten. */
export class Recent<V> {
  readonly #max: number
  readonly #entries = new Map<string, V>()

  constructor(max = MAX) {
    this.#max = max
  }

  get size(): number {
    return this.#entries.size
  }

  /** The value of this key, made if there is none. */
  use(key: string, make: () => V): V {
    const value = this.#entries.get(key) ?? make()
    // Last in the map's order.
    this.#entries.delete(key)
    this.#entries.set(key, value)
    if (this.#entries.size > this.#max) this.#entries.delete(this.#entries.keys().next().value!)
    return value
  }

  /** Forgets what is as good as new. */
  sweep(isIdle: (value: V) => boolean): void {
    for (const [key, value] of this.#entries) if (isIdle(value)) this.#entries.delete(key)
  }
}
