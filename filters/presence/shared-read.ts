/** A read that its callers share: one that comes during a read gets the result of the next one, which begins after that. */
export class SharedRead<T> {
  readonly #read: () => Promise<T>
  #current: Promise<T> | undefined
  #next: Promise<T> | undefined

  constructor(read: () => Promise<T>) {
    this.#read = read
  }

  get isRunning(): boolean {
    return this.#current !== undefined
  }

  run(): Promise<T> {
    if (this.#current === undefined) return this.#begin()
    const begin = () => this.#begin()
    this.#next ??= this.#current.then(begin, begin)
    return this.#next
  }

  #begin(): Promise<T> {
    this.#next = undefined
    const reading = this.#read()
    this.#current = reading
    const end = () => {
      if (this.#current === reading) this.#current = undefined
    }
    reading.then(end, end)
    return reading
  }
}
