/** Milliseconds that a call waits for others to end. */
const WAIT = 10_000

/** How many calls of one client may be under way, and how many bytes they may take together. */
export class Slots {
  readonly #size: number
  readonly #maxBytes: number
  #taken = 0
  #bytes = 0
  #waiting: ((isFree: boolean) => void)[] = []

  /** @param maxBytes - one more call may begin as long as fewer are taken. */
  constructor(size: number, maxBytes: number) {
    this.#size = size
    this.#maxBytes = maxBytes
  }

  get isFull(): boolean {
    return this.#taken >= this.#size || this.#bytes >= this.#maxBytes
  }

  take(bytes: number): void {
    this.#taken++
    this.#bytes += bytes
  }

  free(bytes: number): void {
    this.#taken--
    this.#bytes -= bytes
    if (!this.isFull) this.#waiting.shift()?.(true)
  }

  /** An answer has to wait: its bytes count until it is sent. */
  hold(bytes: number): void {
    this.#bytes += bytes
  }

  /** Comes before the end of its call. */
  release(bytes: number): void {
    this.#bytes -= bytes
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
