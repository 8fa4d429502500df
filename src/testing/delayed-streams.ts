import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Awaitable } from '../contract/deadline.ts'
import type {
  Announcement,
  Append,
  Appender,
  AppendOutcome,
  Position,
  ReadRange,
  StreamListener,
  StreamPage,
  StreamRef,
  Streams,
} from '../contract/streams.ts'
import { randomFrom } from './random-from.ts'

export interface DelayOptions {
  /** The same seed gives the same delays and faults. */
  readonly seed: number
  /** Turns of the event loop that a request, an answer or an announcement takes at most. Default: 4. */
  readonly turns?: number
}

/** Probabilities from 0, the default, to 1. */
export interface StreamFaults {
  /** An announcement does not arrive. */
  lost: number
  /** An announcement arrives twice. */
  doubled: number
  /** An announcement arrives after later ones. */
  late: number
  /** A call rejects, and is executed before or after that. */
  unanswered: number
}

interface Shared {
  readonly nodes: Set<DelayedStreams>
  readonly random: () => number
}

/**
 * Streams of any engine, such as storage `memory`, that behave as over a network: requests, answers and announcements take a random
 * number of turns, and faults can be switched on. `node` makes another node on the same engine. Requests and announcements
 * stay in order, except late ones.
 *
 * @example
 * const ann = new DelayedStreams(storage.streams, { seed: 7 })
 * const bob = ann.node()
 * bob.faults.lost = 0.1
 */
export class DelayedStreams implements Streams {
  readonly faults: StreamFaults = { lost: 0, doubled: 0, late: 0, unanswered: 0 }
  /** `rejects`, `silent`: calls are not executed, and reject or do not settle. */
  away: 'rejects' | 'silent' | undefined
  readonly #engine: Streams
  readonly #options: DelayOptions
  readonly #shared: Shared
  readonly #listening = new Set<string>()
  readonly #requests = new Line()
  readonly #announcements = new Line()
  #listener: StreamListener | undefined

  constructor(engine: Streams, options: DelayOptions, shared?: Shared) {
    this.#engine = engine
    this.#options = options
    this.#shared = shared ?? { nodes: new Set(), random: randomFrom(options.seed) }
    const { nodes } = this.#shared
    nodes.add(this)
    if (shared !== undefined) return
    engine.start({
      announced: announcement => {
        for (const node of nodes) node.#announced(announcement)
      },
      interrupted: topics => {
        for (const node of nodes) node.interrupt(topics)
      },
    })
  }

  node(): DelayedStreams {
    return new DelayedStreams(this.#engine, this.#options, this.#shared)
  }

  /** The node stops: it gets no announcement any more. */
  stop(): void {
    this.#shared.nodes.delete(this)
    for (const topic of [...this.#listening]) this.ignore(topic)
    this.#listener = undefined
  }

  /** Informs the listener that announcements may be missing. */
  interrupt(topics?: readonly string[]): void {
    void this.#announcements.pass(this.#turns(), () => this.#listener?.interrupted(topics))
  }

  start(listener: StreamListener): void {
    this.#listener = listener
  }

  isReady(): boolean {
    return this.away === undefined
  }

  append(stream: StreamRef, appends: readonly Append[], appender: Appender): Promise<readonly AppendOutcome[]> {
    return this.#call(() => this.#engine.append(stream, appends, appender))
  }

  read(stream: StreamRef, range: ReadRange): Promise<StreamPage> {
    return this.#call(() => this.#engine.read(stream, range))
  }

  tops(streams: readonly StreamRef[]): Promise<readonly Position[]> {
    return this.#call(() => this.#engine.tops(streams))
  }

  trim(stream: StreamRef, upTo: Position): Promise<void> {
    return this.#call(() => this.#engine.trim(stream, upTo))
  }

  remove(topic: string): Promise<void> {
    return this.#call(() => this.#engine.remove(topic))
  }

  async listen(topic: string): Promise<void> {
    await this.#requests.pass(this.#turns(), () => {
      this.#listening.add(topic)
      return this.#engine.listen(topic)
    })
    await turns(this.#turns())
  }

  ignore(topic: string): void {
    this.#listening.delete(topic)
    const { nodes } = this.#shared
    if (![...nodes].some(node => node.#listening.has(topic))) this.#engine.ignore(topic)
  }

  async #call<T>(execute: () => Awaitable<T>): Promise<T> {
    const { away } = this
    const isAnswered = !this.#happens(this.faults.unanswered)
    const executed = this.#requests.pass(this.#turns(), () => {
      if (away === undefined) return execute()
      if (away === 'silent') return new Promise<T>(() => {})
      throw new Error('the storage is away')
    })
    if (isAnswered) {
      const answer = await executed
      await turns(this.#turns())
      return answer
    }
    executed.catch(() => {})
    await turns(2 * this.#turns())
    throw new Error('no answer of the storage')
  }

  #announced(announcement: Announcement): void {
    if (!this.#listening.has(announcement.topic)) return
    const { lost, doubled, late } = this.faults
    if (this.#happens(lost)) return
    const deliver = () => {
      if (this.#listening.has(announcement.topic)) this.#listener?.announced(announcement)
    }
    if (this.#happens(late)) void turns(4 * this.#turns() + 1).then(deliver)
    else void this.#announcements.pass(this.#turns(), deliver)
    if (this.#happens(doubled)) void turns(2 * this.#turns()).then(deliver)
  }

  #happens(probability: number): boolean {
    return probability > 0 && this.#shared.random() < probability
  }

  #turns(): number {
    return Math.floor(this.#shared.random() * ((this.#options.turns ?? 4) + 1))
  }
}

/** Runs work in the order of the calls, each after a number of turns. */
class Line {
  #last: Promise<unknown> = Promise.resolve()

  pass<T>(count: number, work: () => Awaitable<T>): Promise<T> {
    const due = turns(count)
    const done = this.#last.then(() => due).then(work)
    // Not after `done`: an engine may answer later, and the next request does not wait for that.
    this.#last = this.#last.then(() => due)
    return done
  }
}

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await nextTurn()
}
