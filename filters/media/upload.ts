import { type FileWrite, Watchdog } from 'filtered-websocket/kit'
import { type AudioFormat, frameBytes } from '../../protocols/nanollm/audio.ts'
import { Chunks, deferred, MAX_CHUNKS, type Memory } from './chunks.ts'
import { checkContent, HEAD } from './content.ts'
import { Refused, refusedBy } from './refused.ts'
import type { Saved } from './saved.ts'
import { WAV_HEADER, wavHeader } from './wav.ts'

/** Bytes that have to come in `idleMs`. */
const LEAST = 16_384

/** What is uploaded, and where it comes to. */
export interface Job {
  readonly extension: string
  readonly original?: string
  /** Bytes to come; `undefined`: until `finish`. */
  readonly size?: number
  /** A recording: a header is put before it. */
  readonly sound?: AudioFormat
  /** Bytes of the file. */
  readonly maxBytes: number
  /** Bytes that may wait for the disk: at least `HEAD`. */
  readonly window: number
  /** Milliseconds in which less than `LEAST` bytes end it. */
  readonly idleMs: number
  readonly write: FileWrite
  readonly memory: Memory
  /** Gives the complete file its name. */
  place(): Promise<Pick<Saved, 'name' | 'path' | 'url'>>
  /** It is over, one way or the other, and holds nothing any more. */
  left(): void
}

/** A file that comes in chunks. It is seen when it is whole, and nothing stays of it if it does not become so. */
export class Upload {
  readonly #job: Job
  readonly #chunks: Chunks
  readonly #done = deferred<Saved>()
  readonly #watchdog = new Watchdog(LEAST, () => this.#onStall())
  /** From the client, and on the disk. */
  #came = 0
  #received = 0
  /** All has come that will. */
  #isComplete = false
  #isChecked: boolean
  #mime: string | undefined
  #isRunning = false
  #run: Promise<void> = Promise.resolve()
  /** From here on it is a file: too late to end it. */
  #isPlaced = false
  #over: Refused | undefined
  #cleared: Promise<void> = Promise.resolve()

  constructor(job: Job) {
    this.#job = job
    this.#chunks = new Chunks(job.window, job.memory)
    this.#isChecked = job.sound !== undefined
    this.#watchdog.start(job.idleMs)
  }

  /** The file, or a rejection with `Refused` once nothing is left of it. */
  get done(): Promise<Saved> {
    return this.#done.promise
  }

  /** All has come. */
  get isComplete(): boolean {
    return this.#isComplete
  }

  /** Whether its client should be made to wait until `drained`. */
  get isCrowded(): boolean {
    return this.#chunks.isCrowded
  }

  /** Settles when all that can be written has been; never rejects. */
  drained(): Promise<void> {
    return this.#run
  }

  /**
   * Takes the next bytes. They are written in order; the first `HEAD`, which tell the type, together.
   *
   * @returns once they are on the disk, how many are; rejects with `Refused`, also `busy` if `window` bytes wait already.
   */
  write(chunk: Buffer): Promise<{ received: number }> {
    const refusal = this.#over ?? this.#refusalOf(chunk.length)
    if (refusal !== undefined) {
      this.#end(refusal)
      const refused = deferred<never>()
      refused.reject(refusal)
      return refused.promise
    }
    this.#watchdog.add(chunk.length)
    this.#came += chunk.length
    this.#isComplete = this.#came === this.#job.size
    const written = this.#chunks.push(chunk)
    this.#start()
    return written
  }

  /** Ends what has no size; of a file that has one, all must have come. */
  finish(): Promise<Saved> {
    const refusal = this.#refusalOfEnd()
    if (refusal !== undefined) this.#end(refusal)
    this.#isComplete = true
    this.#start()
    return this.done
  }

  /** Ends it. Settles when nothing of it is left, or when it is a file, if it was too late; never rejects. */
  cancel(why = new Refused('lost', 'the upload was cancelled')): Promise<void> {
    this.#end(why)
    return this.#isPlaced ? this.#run : this.#cleared
  }

  #refusalOf(length: number): Refused | undefined {
    const { size, sound, maxBytes, write, window } = this.#job
    const came = this.#came + length
    if (size !== undefined && came > size)
      return new Refused('size', `more came than the ${size} bytes that were announced`)
    if (this.#isComplete) return new Refused('size', 'the file has ended already')
    if (size === undefined && came + (sound === undefined ? 0 : WAV_HEADER) > maxBytes)
      return new Refused('size', `a file has at most ${maxBytes} bytes`)
    if (length > window) return new Refused('size', `a chunk has at most ${window} bytes`)
    if (this.#chunks.isFull)
      return new Refused('busy', `more came than may wait for the disk: ${window} bytes, ${MAX_CHUNKS} chunks`)
    try {
      if (size === undefined) write.grow(length)
    } catch (error) {
      return refusedBy(error)
    }
    return undefined
  }

  #refusalOfEnd(): Refused | undefined {
    const { size, sound } = this.#job
    if (this.#came === 0) return new Refused('size', 'nothing came, and a file has at least 1 byte')
    if (size !== undefined && this.#came < size)
      return new Refused('size', `the file ended after ${this.#came} of ${size} bytes`)
    const frame = frameBytes(sound?.channels ?? 1)
    if (sound !== undefined && this.#came % frame !== 0)
      return new Refused('content', `a recording has whole samples of ${frame} bytes, received ${this.#came}`)
    return undefined
  }

  #start(): void {
    if (this.#isRunning || this.#over !== undefined) return
    this.#isRunning = true
    this.#run = this.#work()
  }

  /** Nothing is awaited between the last look at what waits and the end, or a chunk could come unseen. */
  async #work(): Promise<void> {
    try {
      while (this.#over === undefined && this.#canWrite) await this.#writeWaiting()
      if (this.#over === undefined && this.#isComplete && !this.#isPlaced) await this.#keep()
    } catch (error) {
      this.#end(refusedBy(error))
    } finally {
      this.#isRunning = false
    }
  }

  get #canWrite(): boolean {
    return !this.#chunks.isEmpty && (this.#isChecked || this.#isComplete || this.#chunks.bytes >= HEAD)
  }

  async #writeWaiting(): Promise<void> {
    const { sound, extension, write } = this.#job
    const { bytes, written, failed } = this.#chunks.take()
    try {
      if (!this.#isChecked) {
        const isAll = this.#isComplete && bytes.length <= HEAD
        this.#mime = await checkContent(extension, bytes.subarray(0, HEAD), isAll)
        this.#isChecked = true
      }
      if (sound !== undefined && this.#received === 0) await write.append(wavHeader({ ...sound, bytes: 0 }))
      await write.append(bytes)
    } catch (error) {
      const refused = refusedBy(error)
      failed(refused)
      throw refused
    }
    this.#received += bytes.length
    written(this.#received)
  }

  async #keep(): Promise<void> {
    const { sound, write, place, left } = this.#job
    if (sound !== undefined) await write.overwrite(wavHeader({ ...sound, bytes: this.#received }))
    await write.complete()
    if (this.#over !== undefined) return
    this.#isPlaced = true
    this.#watchdog.stop()
    try {
      const placed = await place()
      await write.end(true)
      left()
      this.#done.resolve({ ...placed, ...this.#described() })
    } catch (error) {
      this.#isPlaced = false
      throw error
    }
  }

  #described(): Omit<Saved, 'name' | 'path' | 'url'> {
    const { sound, extension, original } = this.#job
    const isImage = this.#mime?.startsWith('image/')
    return {
      size: this.#received + (sound === undefined ? 0 : WAV_HEADER),
      kind: sound !== undefined ? 'audio' : isImage ? 'image' : 'file',
      extension,
      ...sound,
      ...(original !== undefined && { original }),
      ...(this.#mime !== undefined && { mime: this.#mime }),
    }
  }

  #end(refused: Refused): void {
    if (this.#over !== undefined || this.#isPlaced) return
    this.#over = refused
    this.#watchdog.stop()
    while (!this.#chunks.isEmpty) this.#chunks.take().failed(refused)
    // Behind the write that is under way.
    this.#cleared = this.#run
      .then(() => this.#job.write.end(false))
      .then(() => {
        this.#job.left()
        this.#done.reject(refused)
      })
  }

  #onStall(): void {
    // The disk is slow, not the client.
    if (this.#isRunning) this.#watchdog.start(this.#job.idleMs)
    else this.#end(new Refused('lost', `less than ${LEAST} bytes came in ${this.#job.idleMs / 1000} s`))
  }
}
