import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf } from '../contract/errors.ts'
import { MAX_TIMEOUT } from '../kit/pending-calls.ts'
import type { RecordedEvent } from '../kit/recorded-event.ts'
import { ReplayedClient } from './replayed-client.ts'

/** Bytes that wait for the server, beyond which no further line is read. */
const MAX_WAITING = 8_388_608
/** Clients that connect or close at a time, beyond which no further line is read. */
const MAX_CHANGING = 256
/** Milliseconds that a server has to answer the Close frames at the end. */
const CLOSE_TIMEOUT = 10_000
/** Failed connections that are reported; the others are counted. */
const MAX_REPORTED = 10

export interface ReplayOptions {
  readonly to: URL
  /** Factor of the speed; 0: without waiting. */
  readonly speed: number
  readonly token: string | undefined
  readonly signal: AbortSignal
  /** Receives each output line, with its line end. */
  emit(line: string): void
  /** Receives why a connection has failed. */
  report(problem: string): void
}

/** Plays the clients of a recording against a server: each in its order, all at their times. */
export class Replayer {
  /** Connections that failed, and refused ones that were open in the recording. */
  failures = 0
  readonly #options: ReplayOptions
  /** By the name in the recording, until the recording disconnects them. */
  readonly #clients = new Map<string, ReplayedClient>()
  /** Names of clients that were no WebSockets, or cannot be connected. */
  readonly #others = new Set<string>()
  /** All that have not ended. */
  readonly #present = new Set<ReplayedClient>()
  /** Those that connect, or that the recording has closed. */
  readonly #changing = new Set<ReplayedClient>()
  readonly #began = performance.now()
  /** Time of the first event. */
  #first: number | undefined
  #connections = 0
  #messages = 0
  #skipped = 0
  #waiting = 0
  #isPaused = false
  #pauses = 0
  #onRoom = () => {}

  constructor(options: ReplayOptions) {
    this.#options = options
    options.signal.addEventListener('abort', () => this.terminate())
  }

  /** The result in one sentence. */
  get summary(): string {
    const seconds = ((performance.now() - this.#began) / 1000).toFixed(1)
    const skipped = this.#skipped > 0 ? `, ${this.#skipped} events skipped` : ''
    const failed = this.failures > 0 ? `, ${this.failures} connections failed` : ''
    return `played ${this.#connections} connections and ${this.#messages} messages in ${seconds} s${skipped}${failed}`
  }

  /** Plays an event at its time; settles when the next one may follow. @throws (rejects) SyntaxError: it cannot be played. */
  async play(event: RecordedEvent): Promise<void> {
    await this.#untilTime(event)
    if (this.#options.signal.aborted) return
    this.#play(event)
    if (this.#waiting > MAX_WAITING || this.#changing.size > MAX_CHANGING)
      await new Promise<void>(resolve => {
        this.#onRoom = resolve
      })
  }

  /** Closes the clients that the recording has not closed, and waits for all. */
  async end(): Promise<void> {
    for (const client of this.#clients.values()) client.close(1000, '')
    const ended = Promise.all([...this.#present].map(client => client.ended))
    if (!this.#options.signal.aborted) await Promise.race([ended, this.#closeTimeout()])
    this.terminate()
    await ended
  }

  /** Stops reading from the server until `resume`. */
  pause(): void {
    this.#isPaused = true
    this.#pauses++
    for (const client of this.#present) client.pause()
  }

  resume(): void {
    this.#isPaused = false
    for (const client of this.#present) client.resume()
  }

  /** Ends all connections at once. */
  terminate(): void {
    for (const client of this.#present) client.terminate()
    this.#onRoom()
  }

  /** Does not count while the answers are not read. */
  async #closeTimeout(): Promise<void> {
    let pauses: number
    do {
      pauses = this.#pauses
      await sleep(CLOSE_TIMEOUT, undefined, { ref: false })
    } while (this.#isPaused || this.#pauses !== pauses)
  }

  /** Reads on when half of the waiting bytes have left. */
  #checkRoom(): void {
    if (this.#waiting <= MAX_WAITING / 2 && this.#changing.size <= MAX_CHANGING / 2) this.#onRoom()
  }

  async #untilTime({ at }: RecordedEvent): Promise<void> {
    const { speed, signal } = this.#options
    if (at === undefined || speed === 0) return
    this.#first ??= at
    const delay = this.#began + (at - this.#first) / speed - performance.now()
    // Rejects when the replay is stopped.
    if (delay >= 1) await sleep(Math.min(delay, MAX_TIMEOUT), undefined, { signal }).catch(() => {})
  }

  #play(event: RecordedEvent): void {
    const { client: name, payload = '' } = event
    const isWebSocket = (event.kind ?? event.transport ?? 'websocket') === 'websocket'
    if (name !== undefined && !isWebSocket) this.#others.add(name)
    if (name === undefined || event.event === 'publish' || event.redacted === true || this.#others.has(name)) {
      this.#skipped++
    } else if (event.event === 'disconnect') {
      const client = this.#clients.get(name)
      if (client !== undefined && this.#present.has(client)) this.#changing.add(client)
      client?.close(event.code ?? 1000, event.reason ?? '')
      this.#clients.delete(name)
    } else {
      const client = this.#clients.get(name) ?? this.#connect(name, event)
      if (event.event !== 'connect') client.expectOpen()
      if (event.event !== 'message') return
      this.#messages++
      this.#waiting += client.send(payload)
    }
  }

  #connect(name: string, event: RecordedEvent): ReplayedClient {
    try {
      return this.#begin(name, event)
    } catch (error) {
      // `ws` and Node refuse subprotocols and headers that no handshake can have.
      this.#others.add(name)
      throw new SyntaxError(messageOf(error))
    }
  }

  #begin(name: string, event: RecordedEvent): ReplayedClient {
    const { to, token, emit, report } = this.#options
    const client = new ReplayedClient(name, event, {
      to,
      token,
      emit,
      onSent: bytes => {
        this.#waiting -= bytes
        this.#checkRoom()
      },
      onFail: problem => {
        if (this.failures++ < MAX_REPORTED) report(`client ${name}: ${problem}`)
      },
      onOpen: () => {
        this.#changing.delete(client)
        this.#checkRoom()
      },
      onEnd: () => {
        this.#present.delete(client)
        this.#changing.delete(client)
        this.#checkRoom()
      },
    })
    if (this.#isPaused) client.pause()
    this.#connections++
    this.#clients.set(name, client)
    this.#present.add(client)
    this.#changing.add(client)
    return client
  }
}
