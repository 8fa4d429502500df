import { setTimeout as sleep } from 'node:timers/promises'
import { type LostReason, MAX_APPEND_BYTES, type Position, type Server, type StreamPage } from 'filtered-websocket'
import type { Encoder, PieceWriter, PositionFile } from 'filtered-websocket/kit'

/** Entries that are read together, and written before the position is stored. */
const PAGE = 256
/** Milliseconds until a storage that does not answer, or a file that cannot be written, is tried again. */
const RETRY = 1000

export interface TopicOutputHost {
  readonly topic: string
  readonly writer: PieceWriter
  readonly encoder: Encoder
  /** `undefined`: begins with the messages from now on. */
  readonly file: PositionFile | undefined
  /** Whether this server writes the file. */
  readonly commits: boolean
  onLost(reason: LostReason, from: Position, to: Position): void
  /** The storage or the file fails, and is tried again. */
  onRetry(error: unknown): void
}

/** Writes the entries of a kept topic, in the order of the offsets, behind a position that outlives the server. */
export class TopicOutput {
  readonly #server: Server
  readonly #host: TopicOutputHost
  readonly #end = new AbortController()
  #position: Position
  #isChanged = false
  #isStopping = false
  #wake = () => {}

  /** Reads the position; without a file, that of the newest entry, and if the file does not exist, of the oldest. */
  static async open(server: Server, host: TopicOutputHost): Promise<TopicOutput> {
    const stored = await host.file?.read()
    if (stored !== undefined) return new TopicOutput(server, host, stored)
    const { floor, top } = await server.read(host.topic, { from: 'newest', entries: 0, bytes: 0 })
    return new TopicOutput(server, host, host.file === undefined ? top : floor)
  }

  private constructor(server: Server, host: TopicOutputHost, position: Position) {
    this.#server = server
    this.#host = host
    this.#position = position
  }

  /** Writes until it is stopped or the reader is gone; then everything is passed to the system, and the position is stored. */
  async run(): Promise<void> {
    const { topic, writer } = this.#host
    const changed = () => {
      this.#isChanged = true
      this.#wake()
    }
    const unwatch = this.#server.watch(topic, { changed })
    void writer.gone.then(() => this.#abort())
    try {
      while (!this.#end.signal.aborted) {
        this.#isChanged = false
        const page = await this.#persist(() => this.#readPage())
        if (page === undefined) break
        if (page.lost !== undefined) await this.#skip(page.lost, page.floor)
        else if (page.entries.length > 0) await this.#write(page)
        else if (this.#isStopping && !this.#isChanged) break
        else await this.#change()
      }
    } finally {
      unwatch()
    }
  }

  /** Writes what is stored, for at most `graceMs` milliseconds. */
  stop(graceMs: number): void {
    this.#isStopping = true
    setTimeout(() => this.#abort(), graceMs).unref()
    this.#wake()
  }

  #abort(): void {
    this.#end.abort()
    this.#wake()
  }

  #readPage(): Promise<StreamPage> {
    const range = { after: this.#position, entries: PAGE, bytes: MAX_APPEND_BYTES }
    return this.#server.read(this.#host.topic, range)
  }

  async #write({ entries, top: { epoch } }: StreamPage): Promise<void> {
    const { writer, encoder } = this.#host
    let { offset } = this.#position
    for (const { payload, at, offset: next } of entries) {
      const room = writer.write(encoder.encode({ payload, at, position: { epoch, offset: next } }))
      offset = next
      if (room !== undefined) await room
      if (this.#end.signal.aborted) break
    }
    await this.#commit({ epoch, offset })
  }

  /** The entries up to this position are lost. */
  async #skip(reason: LostReason, position: Position): Promise<void> {
    const { encoder, writer, onLost } = this.#host
    onLost(reason, this.#position, position)
    if (encoder.lost !== undefined) await writer.write(encoder.lost(reason, position))
    await this.#commit(position)
  }

  /** The position is stored when the system has accepted the bytes. */
  async #commit(position: Position): Promise<void> {
    const { writer, file, commits } = this.#host
    await writer.flush()
    if (writer.isGone) return
    this.#position = position
    if (file !== undefined && commits) await this.#persist(() => file.write(position))
  }

  #change(): Promise<void> | undefined {
    if (this.#isChanged || this.#isStopping || this.#end.signal.aborted) return undefined
    return new Promise(resolve => {
      this.#wake = resolve
    })
  }

  /** Tries until it succeeds; `undefined`: it was stopped. */
  async #persist<T>(work: () => Promise<T>): Promise<T | undefined> {
    const { signal } = this.#end
    for (;;) {
      try {
        return await work()
      } catch (error) {
        this.#host.onRetry(error)
        if (this.#isStopping || signal.aborted) return undefined
        await sleep(RETRY, undefined, { signal }).catch(() => {})
        if (signal.aborted) return undefined
      }
    }
  }
}
