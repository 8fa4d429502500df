import type { Client } from 'filtered-websocket'
import type { PushedPart } from '../wire/part.ts'
import { FileFailed, failedBy } from './failed.ts'
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
  readonly #idle: NodeJS.Timeout
  readonly #onEnd: () => void
  readonly #onAbort = () => this.#left()
  #owner: Sender
  /** One part after the other. */
  #turn: Promise<unknown> = Promise.resolve()
  #isOver = false
  /** Bytes since it was known to go on. */
  #progress = 0

  /** @param onEnd - hears that it is over, when nothing of it is open any more. */
  constructor(writing: Writing, owner: Sender, idleTimeout: number, onEnd: () => void) {
    this.#writing = writing
    this.#owner = owner
    this.#onEnd = onEnd
    this.#idle = setTimeout(() => this.close(), idleTimeout)
    this.#idle.unref()
    this.#follow(owner)
  }

  /** Bytes that are there. */
  get offset(): number {
    return this.#writing.temp.size
  }

  /**
   * The one who sends it has come back on another connection; what the old one still says is not heard.
   *
   * @returns bytes that are there, once what is being written is written; `undefined`: it has ended.
   */
  moveTo(client: Sender): Promise<number | undefined> {
    return this.#alone(async () => {
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
   * @throws FileFailed.
   */
  take(client: Sender, part: PushedPart, bytes: Buffer): Promise<number | undefined> {
    return this.#alone(async () => {
      if (this.#isOver) return undefined
      if (client !== this.#owner) throw new FileFailed('busy', 'another connection goes on with this file')
      await this.#check(part, bytes)
      this.#goesOn(bytes.length)
      try {
        await this.#writing.temp.append(bytes)
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
    return this.#alone(() => this.#end(true))
  }

  /** Of what has not begun nothing stays. */
  async #check({ offset, size }: PushedPart, { length }: Buffer): Promise<void> {
    const there = this.offset
    if (offset === there && offset + length <= size) return
    if (there === 0) await this.#end(false)
    if (offset !== there) throw new FileFailed('offset', `the next part begins at ${there}, received ${offset}`)
    throw new FileFailed('too-large', `the file has ${size} bytes, received ${offset + length}`)
  }

  #goesOn(bytes: number): void {
    this.#progress += bytes
    if (this.#progress < LEAST) return
    this.#progress = 0
    this.#idle.refresh()
  }

  async #finish(sha256: string | undefined): Promise<void> {
    if (sha256 === undefined) throw new FileFailed('corrupt', 'the last part says no sha256 of the file')
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
    void this.#alone(async () => {
      if (this.#owner.signal.aborted) await this.#end(canComeBack(this.#owner))
    })
  }

  async #end(isKept: boolean): Promise<void> {
    if (this.#isOver) return
    this.#isOver = true
    clearTimeout(this.#idle)
    this.#owner.signal.removeEventListener('abort', this.#onAbort)
    await this.#writing.end(isKept)
    this.#onEnd()
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work)
    this.#turn = done.catch(() => {})
    return done
  }
}
