/** Counts the clients or connections of each network. Networks without any take no memory. */
export class Occupancy {
  readonly #max: number
  readonly #counts = new Map<string, number>()

  /** @param max - per network. */
  constructor(max: number) {
    this.#max = max
  }

  get networks(): number {
    return this.#counts.size
  }

  /** Whether the network has less than the maximum. */
  hasRoom(network: string): boolean {
    return this.#countOf(network) < this.#max
  }

  add(network: string): void {
    this.#counts.set(network, this.#countOf(network) + 1)
  }

  remove(network: string): void {
    const count = this.#countOf(network) - 1
    if (count === 0) this.#counts.delete(network)
    else this.#counts.set(network, count)
  }

  #countOf(network: string): number {
    return this.#counts.get(network) ?? 0
  }
}
