/**
 * A deadline for progress: calls `onStall` when less than `least` units arrive in a period.
 *
 * @example
 * const watchdog = new Watchdog(16_384, () => upload.cancel())
 * watchdog.start(30_000)
 * stream.on('data', chunk => watchdog.add(chunk.length)).once('close', () => watchdog.stop())
 */
export class Watchdog {
  readonly #least: number
  readonly #onStall: () => void
  #timer: NodeJS.Timeout | undefined
  #ms = 0
  #progress = 0

  /** @param least - units, such as bytes, after which a new period begins; `Infinity`: only `start` begins one. */
  constructor(least: number, onStall: () => void) {
    this.#least = least
    this.#onStall = onStall
  }

  get isRunning(): boolean {
    return this.#timer !== undefined
  }

  /** Begins a new period, in milliseconds. It does not keep the process alive. */
  start(ms: number): void {
    this.stop()
    this.#ms = ms
    this.#progress = 0
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#onStall()
    }, ms).unref()
  }

  /** Adds progress; with `least` units since the period began, the next period begins. */
  add(units: number): void {
    this.#progress += units
    if (this.#progress >= this.#least && this.isRunning) this.start(this.#ms)
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }
}
