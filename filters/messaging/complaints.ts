import type { Logger } from 'filtered-websocket'

const A_SECOND = 1000
const MAX_A_SECOND = 5

/** What goes wrong with peers, in the log: at most five lines a second, since a peer can make it go wrong again and again. */
export class Complaints {
  readonly #log: Logger
  #second = 0
  #lines = 0
  #untold = 0

  constructor(log: Logger) {
    this.#log = log
  }

  add(level: 'warn' | 'error', fields: object, text: string): void {
    const second = Math.floor(Date.now() / A_SECOND)
    if (second !== this.#second) {
      this.#second = second
      this.#lines = 0
    }
    if (++this.#lines > MAX_A_SECOND) {
      this.#untold++
      return
    }
    const untold = this.#untold
    this.#untold = 0
    this.#log[level](untold > 0 ? { ...fields, untold } : fields, text)
  }
}
