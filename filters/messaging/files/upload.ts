import type { Client } from 'filtered-websocket'
import { FileError, SerialQueue, Watchdog } from 'filtered-websocket/kit'
import type { PushedPart } from '../../../protocols/clever-show/part.ts'
import { failedBy } from './failed.ts'
import type { IncomingFile } from './incoming-file.ts'

/** Bytes that must arrive within the idle timeout, so that empty parts do not keep an upload open without limit. */
const MIN_PROGRESS = 16_384

/** The sender of a file: a client or, on the side of a client, the server. */
export type Sender = Pick<Client, 'id' | 'identity' | 'state' | 'signal'>

/** Whether a sender can be recognized after a reconnect. Otherwise its uploads end with its connection. */
export function isRecognizable({ identity, state }: Sender): boolean {
  return identity !== undefined || state.messaging?.id !== undefined
}

/** A file that arrives in parts. It ends when it is complete, when its sender disconnects, and when it makes no progress. */
export class Upload {
  readonly #file: IncomingFile
  readonly #watchdog = new Watchdog(MIN_PROGRESS, () => this.close())
  readonly #onEnd: () => void
  readonly #onAbort = () => this.#disconnected()
  #owner: Sender
  readonly #queue = new SerialQueue()
  #isOver = false

  /** @param onEnd - called when the upload has ended and its part is closed. */
  constructor(file: IncomingFile, owner: Sender, idleTimeout: number, onEnd: () => void) {
    this.#file = file
    this.#owner = owner
    this.#onEnd = onEnd
    this.#watchdog.start(idleTimeout)
    this.#follow(owner)
  }

  /** Bytes that are written. */
  get offset(): number {
    return this.#file.write.size
  }

  /**
   * Moves the upload to another connection of its sender. Parts of the earlier connection are refused from now on.
   *
   * @returns bytes that are written; `undefined`: the upload has ended.
   */
  moveTo(sender: Sender): Promise<number | undefined> {
    return this.#queue.run(async () => {
      if (this.#isOver) return undefined
      if (this.#owner !== sender) {
        this.#owner.signal.removeEventListener('abort', this.#onAbort)
        this.#owner = sender
        this.#follow(sender)
      }
      return this.offset
    })
  }

  /**
   * Writes the next part, and commits the file after the last one.
   *
   * @returns bytes that are written; `undefined`: the upload had ended before.
   * @throws (rejects) FileError; CallFailed
   */
  append(sender: Sender, part: PushedPart, bytes: Buffer): Promise<number | undefined> {
    return this.#queue.run(async () => {
      if (this.#isOver) return undefined
      if (sender !== this.#owner) throw new FileError('busy', 'another connection continues this upload')
      await this.#check(part, bytes)
      this.#watchdog.add(bytes.length)
      try {
        await this.#file.write.append(bytes)
        if (this.offset === part.size) await this.#finish(part.sha256)
        return part.offset + bytes.length
      } catch (error) {
        const failed = failedBy(error)
        await this.#end(failed.code !== 'corrupt' && failed.code !== 'full')
        throw failed
      }
    })
  }

  /** Ends the upload and keeps its part. */
  close(): Promise<void> {
    return this.#queue.run(() => this.#end(true))
  }

  /** An invalid first part ends the upload. */
  async #check({ offset, size }: PushedPart, { length }: Buffer): Promise<void> {
    const written = this.offset
    if (offset === written && offset + length <= size) return
    if (written === 0) await this.#end(false)
    if (offset !== written) throw new FileError('offset', `the next part begins at ${written}, received ${offset}`)
    throw new FileError('too-large', `the file has ${size} bytes, received ${offset + length}`)
  }

  async #finish(sha256: string | undefined): Promise<void> {
    if (sha256 === undefined) throw new FileError('corrupt', 'the last part has no sha256 of the file')
    this.#file.filled()
    await this.#file.verify(sha256)
    await this.#file.commit()
    await this.#end(true)
  }

  #follow(sender: Sender): void {
    if (sender.signal.aborted) this.#disconnected()
    else sender.signal.addEventListener('abort', this.#onAbort, { once: true })
  }

  /** Ends the upload, unless its sender has reconnected. */
  #disconnected(): void {
    void this.#queue.run(async () => {
      if (this.#owner.signal.aborted) await this.#end(isRecognizable(this.#owner))
    })
  }

  async #end(isKept: boolean): Promise<void> {
    if (this.#isOver) return
    this.#isOver = true
    this.#watchdog.stop()
    this.#owner.signal.removeEventListener('abort', this.#onAbort)
    await this.#file.end(isKept)
    this.#onEnd()
  }
}
