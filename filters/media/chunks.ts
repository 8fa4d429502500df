import type { Refused } from './refused.ts'

/** Chunks that wait, however small: each costs more than its bytes. */
export const MAX_CHUNKS = 8192
/** Bytes from which on a batch takes no further chunk: what is joined is copied. */
const BATCH = 1_048_576
/** Bytes; a smaller chunk may be a cut of a much larger buffer, which would wait with it. */
const COPIED = 4096

/** Bytes that wait for the disk, of all uploads. */
export interface Memory {
  bytes: number
  readonly max: number
}

/** What waited longest, as one piece; counted as waiting until one of the two is called. */
export interface Batch {
  readonly bytes: Buffer
  written(received: number): void
  failed(refused: Refused): void
}

interface Deferred<T> {
  readonly promise: Promise<T>
  resolve(value: T): void
  reject(refused: Refused): void
}

/** The chunks of one upload that wait for the disk, in order. */
export class Chunks {
  readonly #window: number
  readonly #memory: Memory
  #waiting: { readonly chunk: Buffer; readonly done: Deferred<{ received: number }> }[] = []
  #bytes = 0

  constructor(window: number, memory: Memory) {
    this.#window = window
    this.#memory = memory
  }

  /** Those being written included. */
  get bytes(): number {
    return this.#bytes
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0
  }

  /** No more may be pushed. */
  get isFull(): boolean {
    return this.#bytes >= this.#window || this.#waiting.length >= MAX_CHUNKS
  }

  /** Whose chunks these are should not send more for now. */
  get isCrowded(): boolean {
    return this.isFull || (this.#bytes > 0 && this.#memory.bytes >= this.#memory.max)
  }

  /** Settles with the batch in which it goes. */
  push(chunk: Buffer): Promise<{ received: number }> {
    const done = deferred<{ received: number }>()
    this.#waiting.push({ chunk: chunk.length < COPIED ? Buffer.from(chunk) : chunk, done })
    this.#count(chunk.length)
    return done.promise
  }

  take(): Batch {
    let count = 0
    for (let taken = 0; count < this.#waiting.length && taken < BATCH; count++)
      taken += this.#waiting[count]!.chunk.length
    const waiting = this.#waiting.splice(0, count)
    const bytes = waiting.length === 1 ? waiting[0]!.chunk : Buffer.concat(waiting.map(({ chunk }) => chunk))
    return {
      bytes,
      written: received => {
        this.#count(-bytes.length)
        for (const { done } of waiting) done.resolve({ received })
      },
      failed: refused => {
        this.#count(-bytes.length)
        for (const { done } of waiting) done.reject(refused)
      },
    }
  }

  #count(bytes: number): void {
    this.#bytes += bytes
    this.#memory.bytes += bytes
  }
}

/** Nobody need listen to its rejection. */
export function deferred<T>(): Deferred<T> {
  let resolve!: (value: T) => void
  let reject!: (refused: Refused) => void
  const promise = new Promise<T>((fulfil, fail) => {
    resolve = fulfil
    reject = fail
  })
  promise.catch(() => {})
  return { promise, resolve, reject }
}
