import type { Client } from 'filtered-websocket'
import { FileError, SerialQueue, Watchdog } from 'filtered-websocket/kit'
import type { PushedPart } from '../../../protocols/clever-show/part.ts'
import { failedBy } from './failed.ts'
import type { Writing } from './writing.ts'

/** Bytes that have to come in the time for which an upload may be idle: empty parts would hold its place for ever. */
const LEAST = 16_384

/** Who sends a file; a client, where a server takes it. */
export type Sender = Pick<Client, 'id' | 'identity' | 'state' | 'signal'>

/** Whether who sends a file can be told when it comes back; else an upload is its connection's alone. */
export function canComeBack({ identity, state }: Sender): boolean {
  return identity !== undefined || state.messaging?.id !== undefined
}

/** A file that comes in parts. It ends when it is whole, when its client goes, and when nothing comes for too long. */
export class Upload {
  readonly #writing: Writing
  readonly #watchdog = new Watchdog(LEAST, () => this.close())
  readonly #onEnd: () => void
  readonly #onAbort = () => this.#left()
  #owner: Sender
  readonly #queue = new SerialQueue()
  #isOver = false

  /** @param onEnd - hears that it is over, when nothing of it is open any more. */
  constructor(writing: Writing, owner: Sender, idleTimeout: number, onEnd: () => void) {
    this.#writing = writing
    this.#owner = owner
    this.#onEnd = onEnd
    this.#watchdog.start(idleTimeout)
    this.#follow(owner)
  }

  /** Bytes that are there. */
  get offset(): number {
    return this.#writing.file.size
  }

  /**
   * The one who sends it has come back on another connection; what the old one still says is not heard.
   *
   * @returns bytes that are there, once what is being written is written; `undefined`: it has ended.
   */
  moveTo(client: Sender): Promise<number | undefined> {
    return this.#queue.run(async () => {
      if (this.#isOver) return undefined
      if (this.#owner !== client) {
        this.#owner.signal.removeEventListener('abort', this.#onAbort)
        this.#owner = client
        this.#follow(client)
      }
      return this.offset
    })
  }

  /**
   * Writes the next part, and with the last one puts the file in its place.
   *
   * @returns bytes that are there; `undefined`: it had ended before.
   * @throws FileError.
   */
  take(client: Sender, part: PushedPart, bytes: Buffer): Promise<number | undefined> {
    return this.#queue.run(async () => {
      if (this.#isOver) return undefined
      if (client !== this.#owner) throw new FileError('busy', 'another connection goes on with this file')
      await this.#check(part, bytes)
      this.#watchdog.add(bytes.length)
      try {
        await this.#writing.file.append(bytes)
        if (this.offset === part.size) await this.#finish(part.sha256)
        return part.offset + bytes.length
      } catch (error) {
        const failed = failedBy(error)
        await this.#end(failed.code !== 'corrupt' && failed.code !== 'full')
        throw failed
      }
    })
  }

  /** Ends it; what is there stays. Settles when that is so. */
  close(): Promise<void> {
    return this.#queue.run(() => this.#end(true))
  }

  /** Of what has not begun nothing stays. */
  async #check({ offset, size }: PushedPart, { length }: Buffer): Promise<void> {
    const there = this.offset
    if (offset === there && offset + length <= size) return
    if (there === 0) await this.#end(false)
    if (offset !== there) throw new FileError('offset', `the next part begins at ${there}, received ${offset}`)
    throw new FileError('too-large', `the file has ${size} bytes, received ${offset + length}`)
  }

  async #finish(sha256: string | undefined): Promise<void> {
    if (sha256 === undefined) throw new FileError('corrupt', 'the last part says no sha256 of the file')
    this.#writing.filled()
    await this.#writing.verify(sha256)
    await this.#writing.place()
    await this.#end(true)
  }

  #follow(client: Sender): void {
    if (client.signal.aborted) this.#left()
    else client.signal.addEventListener('abort', this.#onAbort, { once: true })
  }

  /** Its client has gone, unless it has come back meanwhile. */
  #left(): void {
    void this.#queue.run(async () => {
      if (this.#owner.signal.aborted) await this.#end(canComeBack(this.#owner))
    })
  }

  async #end(isKept: boolean): Promise<void> {
    if (this.#isOver) return
    this.#isOver = true
    this.#watchdog.stop()
    this.#owner.signal.removeEventListener('abort', this.#onAbort)
    await this.#writing.end(isKept)
    this.#onEnd()
  }
}
