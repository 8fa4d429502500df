import type { Session } from '../rpc/session.ts'
import type { Failure, Response } from '../wire/message.ts'
import type { Kept, Queue } from './queue.ts'

/** Actions read at a time, and bytes of them sent at a time. */
const BATCH = 100
const BATCH_BYTES = 262_144

export interface PumpOptions {
  readonly queue: Queue
  readonly peer: string
  /** Whether it answers actions; one that does not has them when they have gone to the operating system. */
  readonly answers: boolean
  /** Actions that it may have unanswered. */
  readonly window: number
  /** Milliseconds after which nobody waits for an answer any more. */
  readonly maxAgeMs: number
  /** Hears why a peer could not do something. */
  refused(name: string, why: Failure): void
  /** Hears of errors of the storage; the pump goes on when it is woken again. */
  failed(error: unknown): void
}

interface Sent extends Omit<Kept, 'action'> {
  readonly name: string
  isAnswered: boolean
}

/** Sends one connection of a peer what is kept for it, in order, and forgets what the peer has answered. */
export class Pump {
  readonly #session: Session
  readonly #options: PumpOptions
  /** The last entry that was sent. */
  #cursor = ''
  /** What had been sent to earlier connections is up to here; `undefined`: not asked yet. */
  #sentUpTo: string | undefined
  /** Sent and not trimmed, by id, in order. */
  readonly #sent = new Map<string, Sent>()
  #isRunning = false
  #isWoken = false
  #isStopped = false
  #trimming: Promise<void> | undefined

  constructor(session: Session, options: PumpOptions) {
    this.#session = session
    this.#options = options
  }

  /** There may be something to send. */
  wake(): void {
    this.#isWoken = true
    if (!this.#isRunning && !this.#isStopped) void this.#run()
  }

  stop(): void {
    this.#isStopped = true
  }

  /** Whether this answers something kept: an error is an answer too. */
  answered({ id, name, error }: Response): boolean {
    const sent = this.#sent.get(String(id))
    if (sent === undefined || sent.name !== name) return false
    if (error !== undefined && !sent.isAnswered) this.#options.refused(name, error)
    sent.isAnswered = true
    this.#trim()
    return true
  }

  async #run(): Promise<void> {
    this.#isRunning = true
    try {
      while (this.#isWoken && !this.#isStopped) {
        this.#isWoken = false
        this.#forgetOld()
        while (await this.#sendSome()) {}
      }
    } catch (error) {
      this.#options.failed(error)
    } finally {
      this.#isRunning = false
    }
  }

  /** Answers whether there may be more, and room for it. */
  async #sendSome(): Promise<boolean> {
    const { queue, peer, answers, window } = this.#options
    const room = Math.min(window - this.#sent.size, BATCH)
    if (room <= 0) return false
    this.#sentUpTo ??= await queue.sentUpTo(peer)
    const some = beginning(await queue.read(peer, this.#cursor, room))
    const last = some.at(-1)
    if (last === undefined || this.#isStopped) return false
    // Before it is sent: should this process die in between, it is only said that it may have come.
    if (last.entry > this.#sentUpTo) await queue.sending(peer, last.entry)
    if (this.#isStopped || !some.every(kept => this.#send(kept, answers))) return false
    this.#cursor = last.entry
    const { client } = this.#session
    await client.drained()
    if (!answers && !client.signal.aborted) await queue.trim(peer, last.entry, some.length, bytesOf(some))
    return true
  }

  /** Answers whether the client took it: one that is being closed does not. */
  #send({ action: { id, ...action }, entry, ...kept }: Kept, answers: boolean): boolean {
    const { client } = this.#session
    const before = client.buffered
    const resend = entry <= this.#sentUpTo! && ({ resend: true } as const)
    this.#session.send({ ...action, ...(answers && { id }), ...resend })
    if (client.buffered === before) return false
    if (answers) this.#sent.set(id, { name: action.name, entry, ...kept, isAnswered: false })
    return true
  }

  /** All in front that is answered goes; what is answered out of turn waits for what is before it. */
  #trim(): void {
    if (this.#trimming !== undefined) return
    let [count, bytes, upTo] = [0, 0, '']
    for (const [id, sent] of this.#sent) {
      if (!sent.isAnswered) break
      this.#sent.delete(id)
      count++
      bytes += sent.bytes
      upTo = sent.entry
    }
    if (count === 0) return
    this.#trimming = this.#options.queue
      .trim(this.#options.peer, upTo, count, bytes)
      .catch(error => this.#options.failed(error))
      .then(() => {
        this.#trimming = undefined
        this.#trim()
        this.wake()
      })
  }

  /** Who does not answer must not keep its window shut for ever. */
  #forgetOld(): void {
    const oldest = Date.now() - this.#options.maxAgeMs
    for (const [id, { at }] of this.#sent) {
      if (at >= oldest) return
      this.#sent.delete(id)
    }
  }
}

/** As much as may be sent at once, one at least. */
function beginning(some: readonly Kept[]): readonly Kept[] {
  let bytes = 0
  const end = some.findIndex((kept, i) => {
    bytes += kept.bytes
    return i > 0 && bytes > BATCH_BYTES
  })
  return end < 0 ? some : some.slice(0, end)
}

function bytesOf(some: readonly Kept[]): number {
  return some.reduce((sum, kept) => sum + kept.bytes, 0)
}
