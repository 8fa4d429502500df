import type { Writable } from 'node:stream'
import type { Counters, Output } from './types.ts'

/** Bytes that may wait for whoever reads standard output. */
const MAX_WAITING = 1_048_576

/**
 * Standard output as a bounded writer: what a stalled reader does not take is dropped whole and counted, and a reader
 * that has gone (EPIPE) ends the output, not the server.
 */
export class BoundedOutput implements Output {
  readonly #stream: Writable
  readonly #counters: Counters
  #gone = false

  constructor(stream: Writable, counters: Counters) {
    this.#stream = stream
    this.#counters = counters
    stream.on('error', () => {
      this.#gone = true
    })
  }

  write(text: string): void {
    const bytes = Buffer.byteLength(text)
    if (this.#gone || this.#stream.writableLength + bytes > MAX_WAITING) this.#counters.stdoutDropped += bytes
    else this.#stream.write(text)
  }
}
