import type { Writable } from 'node:stream'
import { FwsError, messageOf } from '../contract/errors.ts'
import { visible } from '../kit/visible.ts'

/** Bad lines that are printed; the others are counted. */
const MAX_PRINTED = 10

/** Bad lines of the input. */
export class Problems {
  /** Number of the line that is read. */
  line = 0
  total = 0
  readonly #stderr: Writable

  constructor(stderr: Writable) {
    this.#stderr = stderr
  }

  /** @throws an error that is not about this line alone. */
  add(error: unknown): void {
    if (!(error instanceof SyntaxError)) {
      const message = `line ${this.line}: ${messageOf(error)}`
      throw (error as { code?: unknown }).code === 'ERR_COMMAND' ? new FwsError('ERR_COMMAND', message, error) : error
    }
    if (this.total++ < MAX_PRINTED) this.#stderr.write(`fws-server: line ${this.line}: ${visible(error.message)}\n`)
  }

  end(): void {
    if (this.total > MAX_PRINTED) this.#stderr.write(`fws-server: ${this.total} lines are bad\n`)
  }
}
