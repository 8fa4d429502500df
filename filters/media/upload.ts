import { type FileWrite, Watchdog } from 'filtered-websocket/kit'
import { type AudioFormat, frameBytes } from '../../protocols/nanollm/audio.ts'
import { ChunkQueue, deferred, MAX_CHUNKS, type MemoryBudget } from './chunk-queue.ts'
import { checkContent, HEAD_BYTES } from './content.ts'
import type { SavedFile } from './saved-file.ts'
import { UploadError, uploadErrorOf } from './upload-error.ts'
import { WAV_HEADER, wavHeader } from './wav.ts'

/** Bytes that must arrive in `idleMs`. */
const MIN_PROGRESS = 16_384

export interface UploadJob {
  readonly extension: string
  readonly original?: string
  /** Bytes of the file. Default: the file ends with `finish`. */
  readonly size?: number
  /** The format of a recording, which is saved as WAV. */
  readonly audio?: AudioFormat
  /** Bytes that the file may have. */
  readonly maxBytes: number
  /** Bytes that may wait for the disk, at least `HEAD_BYTES`. */
  readonly window: number
  /** Milliseconds in which less than `MIN_PROGRESS` bytes end the upload. */
  readonly idleMs: number
  readonly write: FileWrite
  readonly memory: MemoryBudget
  /** Gives the complete file its name. */
  commit(): Promise<Pick<SavedFile, 'name' | 'path' | 'url'>>
  /** Called once when the upload has ended and released its resources. */
  onEnd(): void
}

/** A file in chunks. It is visible when it is complete; a failed upload leaves no bytes. */
export class Upload {
  readonly #job: UploadJob
  readonly #chunks: ChunkQueue
  readonly #done = deferred<SavedFile>()
  readonly #watchdog = new Watchdog(MIN_PROGRESS, () => this.#onStall())
  /** Bytes from the client, and of them on the disk. */
  #received = 0
  #written = 0
  /** No more chunks are accepted. */
  #isComplete = false
  #isChecked: boolean
  #mime: string | undefined
  #isWriting = false
  /** Ends with the writes that have begun. */
  #writing: Promise<void> = Promise.resolve()
  /** The file gets its name or has it: the upload cannot be cancelled. */
  #isCommitted = false
  #error: UploadError | undefined
  #cleanup: Promise<void> = Promise.resolve()

  constructor(job: UploadJob) {
    this.#job = job
    this.#chunks = new ChunkQueue(job.window, job.memory)
    this.#isChecked = job.audio !== undefined
    this.#watchdog.start(job.idleMs)
  }

  /** The saved file. Rejects with UploadError after the bytes are deleted; a rejection without a listener is no error. */
  get done(): Promise<SavedFile> {
    return this.#done.promise
  }

  /** All bytes have arrived. */
  get isComplete(): boolean {
    return this.#isComplete
  }

  /** Whether the client should send no more until `drained` settles. */
  get shouldPause(): boolean {
    return this.#chunks.shouldPause
  }

  /** Settles when all chunks that can be written are written. Never rejects. */
  drained(): Promise<void> {
    return this.#writing
  }

  /**
   * Adds a chunk. The first `HEAD_BYTES` bytes, which show the type, are written together.
   *
   * @returns the number of bytes on the disk, after those of the chunk. Rejects with UploadError, `busy` if `window` bytes
   * wait already; a rejection without a listener is no error.
   */
  write(chunk: Buffer): Promise<{ received: number }> {
    const error = this.#error ?? this.#problemOf(chunk.length)
    if (error !== undefined) {
      this.#fail(error)
      const refused = deferred<never>()
      refused.reject(error)
      return refused.promise
    }
    this.#watchdog.add(chunk.length)
    this.#received += chunk.length
    this.#isComplete = this.#received === this.#job.size
    const written = this.#chunks.push(chunk)
    this.#start()
    return written
  }

  /** Ends a file of unknown size. A file of known size MUST be complete. Returns `done`. */
  finish(): Promise<SavedFile> {
    const error = this.#problemAtEnd()
    if (error !== undefined) this.#fail(error)
    this.#isComplete = true
    this.#start()
    return this.done
  }

  /** Ends the upload. Settles when its bytes are deleted, or, if it is too late, when the file is saved. Never rejects. */
  cancel(reason = new UploadError('lost', 'the upload was cancelled')): Promise<void> {
    this.#fail(reason)
    return this.#isCommitted ? this.#writing : this.#cleanup
  }

  #problemOf(length: number): UploadError | undefined {
    const { size, audio, maxBytes, write, window } = this.#job
    const received = this.#received + length
    if (size !== undefined && received > size)
      return new UploadError('size', `the file was announced with ${size} bytes, received more`)
    if (this.#isComplete) return new UploadError('size', 'the file has ended already')
    if (size === undefined && received + (audio === undefined ? 0 : WAV_HEADER) > maxBytes)
      return new UploadError('size', `a file has at most ${maxBytes} bytes`)
    if (length > window) return new UploadError('size', `a chunk has at most ${window} bytes`)
    if (this.#chunks.isFull)
      return new UploadError(
        'busy',
        `at most ${window} bytes and ${MAX_CHUNKS} chunks wait for the disk, received more`,
      )
    try {
      if (size === undefined) write.grow(length)
    } catch (error) {
      return uploadErrorOf(error)
    }
    return undefined
  }

  #problemAtEnd(): UploadError | undefined {
    const { size, audio } = this.#job
    if (this.#received === 0) return new UploadError('size', 'a file has at least 1 byte, received none')
    if (size !== undefined && this.#received < size)
      return new UploadError('size', `the file ended after ${this.#received} of ${size} bytes`)
    const bytes = frameBytes(audio?.channels ?? 1)
    if (audio !== undefined && this.#received % bytes !== 0)
      return new UploadError('content', `a recording has a multiple of ${bytes} bytes, received ${this.#received}`)
    return undefined
  }

  #start(): void {
    if (this.#isWriting || this.#error !== undefined) return
    this.#isWriting = true
    this.#writing = this.#writeAll()
  }

  /** Between the last check of the queue and the end it MUST NOT await, or a chunk that arrives meanwhile is not written. */
  async #writeAll(): Promise<void> {
    try {
      while (this.#error === undefined && this.#canWrite) await this.#writeBatch()
      if (this.#error === undefined && this.#isComplete && !this.#isCommitted) await this.#save()
    } catch (error) {
      this.#fail(uploadErrorOf(error))
    } finally {
      this.#isWriting = false
    }
  }

  get #canWrite(): boolean {
    return !this.#chunks.isEmpty && (this.#isChecked || this.#isComplete || this.#chunks.bytes >= HEAD_BYTES)
  }

  async #writeBatch(): Promise<void> {
    const { audio, extension, write } = this.#job
    const { bytes, written, failed } = this.#chunks.take()
    try {
      if (!this.#isChecked) {
        const isWhole = this.#isComplete && bytes.length <= HEAD_BYTES
        this.#mime = await checkContent(extension, bytes.subarray(0, HEAD_BYTES), isWhole)
        this.#isChecked = true
      }
      if (audio !== undefined && this.#written === 0) await write.append(wavHeader({ ...audio, bytes: 0 }))
      await write.append(bytes)
    } catch (error) {
      const refused = uploadErrorOf(error)
      failed(refused)
      throw refused
    }
    this.#written += bytes.length
    written(this.#written)
  }

  async #save(): Promise<void> {
    const { audio, write, commit, onEnd } = this.#job
    if (audio !== undefined) await write.overwrite(wavHeader({ ...audio, bytes: this.#written }))
    await write.complete()
    if (this.#error !== undefined) return
    this.#isCommitted = true
    this.#watchdog.stop()
    try {
      const named = await commit()
      await write.end(true)
      onEnd()
      this.#done.resolve({ ...named, ...this.#description() })
    } catch (error) {
      this.#isCommitted = false
      throw error
    }
  }

  #description(): Omit<SavedFile, 'name' | 'path' | 'url'> {
    const { audio, extension, original } = this.#job
    const isImage = this.#mime?.startsWith('image/')
    return {
      size: this.#written + (audio === undefined ? 0 : WAV_HEADER),
      kind: audio !== undefined ? 'audio' : isImage ? 'image' : 'file',
      extension,
      ...audio,
      ...(original !== undefined && { original }),
      ...(this.#mime !== undefined && { mime: this.#mime }),
    }
  }

  #fail(error: UploadError): void {
    if (this.#error !== undefined || this.#isCommitted) return
    this.#error = error
    this.#watchdog.stop()
    while (!this.#chunks.isEmpty) this.#chunks.take().failed(error)
    // After the write that has begun.
    this.#cleanup = this.#writing
      .then(() => this.#job.write.end(false))
      .then(() => {
        this.#job.onEnd()
        this.#done.reject(error)
      })
  }

  #onStall(): void {
    // While bytes are being written, the disk is slow, not the client.
    if (this.#isWriting) this.#watchdog.start(this.#job.idleMs)
    else this.#fail(new UploadError('lost', `received less than ${MIN_PROGRESS} bytes in ${this.#job.idleMs / 1000} s`))
  }
}
