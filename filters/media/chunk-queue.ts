import type { UploadError } from './upload-error.ts'

/** Chunks that wait, of any size: each costs more memory than its bytes. */
export const MAX_CHUNKS = 8192
/** Bytes from which on a batch takes no further chunk, because joining copies them. */
const MAX_BATCH = 1_048_576
/** Bytes. A smaller chunk is copied: it may be a slice that keeps a much larger buffer alive. */
const MAX_COPY = 4096

/** Bytes that wait for the disk, of all uploads. */
export interface MemoryBudget {
  bytes: number
  readonly max: number
}

/** The oldest chunks in one buffer. They count as waiting until `written` or `failed` is called. */
export interface Batch {
  readonly bytes: Buffer
  written(received: number): void
  failed(error: UploadError): void
}

interface Deferred<T> {
  readonly promise: Promise<T>
  resolve(value: T): void
  reject(error: UploadError): void
}

/** The chunks of one upload that wait for the disk, in order. */
export class ChunkQueue {
  readonly #window: number
  readonly #memory: MemoryBudget
  #waiting: { readonly chunk: Buffer; readonly done: Deferred<{ received: number }> }[] = []
  #bytes = 0

  constructor(window: number, memory: MemoryBudget) {
    this.#window = window
    this.#memory = memory
  }

  /** Bytes that wait or are being written. */
  get bytes(): number {
    return this.#bytes
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0
  }

  /** Whether no further chunk may be added. */
  get isFull(): boolean {
    return this.#bytes >= this.#window || this.#waiting.length >= MAX_CHUNKS
  }

  /** Whether the client should send no more for now. */
  get shouldPause(): boolean {
    return this.isFull || (this.#bytes > 0 && this.#memory.bytes >= this.#memory.max)
  }

  /** Settles with the batch of the chunk. */
  push(chunk: Buffer): Promise<{ received: number }> {
    const done = deferred<{ received: number }>()
    this.#waiting.push({ chunk: chunk.length < MAX_COPY ? Buffer.from(chunk) : chunk, done })
    this.#count(chunk.length)
    return done.promise
  }

  take(): Batch {
    let count = 0
    for (let taken = 0; count < this.#waiting.length && taken < MAX_BATCH; count++)
      taken += this.#waiting[count]!.chunk.length
    const batch = this.#waiting.splice(0, count)
    const bytes = batch.length === 1 ? batch[0]!.chunk : Buffer.concat(batch.map(({ chunk }) => chunk))
    return {
      bytes,
      written: received => {
        this.#count(-bytes.length)
        for (const { done } of batch) done.resolve({ received })
      },
      failed: error => {
        this.#count(-bytes.length)
        for (const { done } of batch) done.reject(error)
      },
    }
  }

  #count(bytes: number): void {
    this.#bytes += bytes
    this.#memory.bytes += bytes
  }
}

/** A rejection without a listener is no error. */
export function deferred<T>(): Deferred<T> {
  let resolve!: (value: T) => void
  let reject!: (error: UploadError) => void
  const promise = new Promise<T>((onResolve, onReject) => {
    resolve = onResolve
    reject = onReject
  })
  promise.catch(() => {})
  return { promise, resolve, reject }
}
