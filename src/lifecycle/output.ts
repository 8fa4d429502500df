import type { Writable } from 'node:stream'
import type { Output } from '../contract/filter.ts'

/** Bytes that may wait for whoever reads. */
const MAX_WAITING = 1_048_576

/**
 * A stream as a bounded writer: what a stalled reader does not take is dropped whole and counted, and a reader
 * that has gone (EPIPE) ends the output, not the server.
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

  /** Lets go of the stream, which is not its own to end. */
  close(): void {
    this.#gone = true
    this.#stream.off('error', this.#onError)
  }
}
