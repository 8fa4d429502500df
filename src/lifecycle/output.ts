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

/**
 * Standard output for filters, opened when the first filter asks for it. In a terminal, control characters are shown as codes.
 *
 * @param onClose - receives the function that releases it.
 * @throws (when asked for) FwsError `ERR_FILTER`: the server has no standard output.
 */
export function sharedOutput(
  stdout: StandardOutput | undefined,
  counters: Counters,
  onClose: (() => void)[],
): () => Output {
  let output: Output | undefined
  return () => {
    if (stdout === undefined)
      throw new FwsError('ERR_FILTER', 'no standard output: createServer({ stdout: process.stdout })')
    if (output === undefined) {
      const made = new BoundedOutput(stdout, bytes => {
        counters.stdoutDropped += bytes
      })
      onClose.push(() => made.close())
      output = stdout.isTTY ? { write: text => made.write(visible(text)) } : made
    }
    return output
  }
}
