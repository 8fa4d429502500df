import type { Writable } from 'node:stream'
import { FwsError } from '../contract/errors.ts'
import type { Output } from '../contract/filter.ts'
import type { Counters } from '../contract/metrics.ts'
import { visible } from '../kit/visible.ts'

/** Bytes that may wait for the reader. */
const MAX_WAITING = 1_048_576

/**
 * A stream as a bounded writer: texts for a stalled reader are dropped whole and counted, and a reader that is gone (EPIPE)
 * ends the output, not the server.
 */
export class BoundedOutput implements Output {
  readonly #stream: Writable
  readonly #onDrop: (bytes: number) => void
  #gone = false
  readonly #onError = () => {
    this.#gone = true
  }

  constructor(stream: Writable, onDrop: (bytes: number) => void) {
    this.#stream = stream
    this.#onDrop = onDrop
    stream.on('error', this.#onError)
  }

  write(text: string): void {
    const bytes = Buffer.byteLength(text)
    if (this.#gone || this.#stream.writableLength + bytes > MAX_WAITING) this.#onDrop(bytes)
    else this.#stream.write(text)
  }

  /** Releases the stream without ending it: it belongs to the caller. */
  close(): void {
    this.#gone = true
    this.#stream.off('error', this.#onError)
  }
}

/** A writable stream that may be a terminal. */
export type StandardOutput = Writable & { readonly isTTY?: boolean }

/** Standard output for filters, opened when the first filter asks for it: shared by filters, or for one alone. */
export class FilterOutput {
  readonly #stdout: StandardOutput | undefined
  readonly #counters: Counters
  readonly #onClose: (() => void)[]
  #shared: Output | undefined
  #isTaken = false

  /** @param onClose - receives the function that releases it. */
  constructor(stdout: StandardOutput | undefined, counters: Counters, onClose: (() => void)[]) {
    this.#stdout = stdout
    this.#counters = counters
    this.#onClose = onClose
  }

  /**
   * A writer for several filters. In a terminal, control characters are shown as codes.
   *
   * @throws FwsError `ERR_FILTER`: the server has no standard output, or a filter has it alone.
   */
  share(): Output {
    const stdout = this.#open()
    if (this.#shared === undefined) {
      const made = new BoundedOutput(stdout, bytes => {
        this.#counters.stdoutDropped += bytes
      })
      this.#onClose.push(() => made.close())
      this.#shared = stdout.isTTY ? { write: text => made.write(visible(text)) } : made
    }
    return this.#shared
  }

  /** The stream for one filter. @throws FwsError `ERR_FILTER`: there is none, or another filter writes to it. */
  take(): StandardOutput {
    const stdout = this.#open()
    if (this.#shared !== undefined) throw new FwsError('ERR_FILTER', 'another filter writes to standard output')
    this.#isTaken = true
    return stdout
  }

  #open(): StandardOutput {
    if (this.#stdout === undefined)
      throw new FwsError('ERR_FILTER', 'no standard output: createServer({ stdout: process.stdout })')
    if (this.#isTaken) throw new FwsError('ERR_FILTER', 'another filter has standard output for itself')
    return this.#stdout
  }
}
