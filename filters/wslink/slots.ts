/** Milliseconds that a call waits for one before it to end. */
const WAIT = 10_000

/** How many calls of one client may be under way. */
export class Slots {
  readonly #size: number
  #taken = 0
  #waiting: ((isFree: boolean) => void)[] = []

  constructor(size: number) {
    this.#size = size
  }

  get isFull(): boolean {
    return this.#taken >= this.#size
  }

  take(): void {
    this.#taken++
  }

  free(): void {
    this.#taken--
    this.#waiting.shift()?.(true)
  }

  /** Whether there is room now; false after 10 seconds without any. */
  async room(): Promise<boolean> {
    if (!this.isFull) return true
    let timer: NodeJS.Timeout | undefined
    const isFree = await new Promise<boolean>(resolve => {
      timer = setTimeout(() => {
        this.#waiting = this.#waiting.filter(waiting => waiting !== resolve)
        resolve(false)
      }, WAIT)
      this.#waiting.push(resolve)
    })
    clearTimeout(timer)
    return isFree
  }
}
