/** Admits at most `max` tasks at a time; the others wait in the order of the calls. */
export class Limiter {
  #free: number
  readonly #waiting: (() => void)[] = []

  constructor(max: number) {
    this.#free = max
  }

  /** Settles when the task may run; `leave` MUST follow. Rejects with the reason of the signal. */
  async enter(signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted()
    if (this.#free > 0) {
      this.#free--
      return
    }
    await new Promise<void>((resolve, reject) => {
      const start = () => {
        signal?.removeEventListener('abort', abort)
        resolve()
      }
      const abort = () => {
        this.#waiting.splice(this.#waiting.indexOf(start), 1)
        reject(signal!.reason)
      }
      this.#waiting.push(start)
      signal?.addEventListener('abort', abort, { once: true })
    })
  }

  leave(): void {
    const start = this.#waiting.shift()
    if (start === undefined) this.#free++
    else start()
  }
}
