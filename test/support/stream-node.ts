import { randomUUID } from 'node:crypto'
import type {
  Announcement,
  Append,
  AppendOutcome,
  Position,
  StreamBounds,
  StreamEntry,
  StreamPage,
  StreamRef,
  Streams,
} from '../../src/index.ts'

/** A node that uses the streams of a storage, and collects what it is informed of. */
export class StreamNode {
  readonly streams: Streams
  readonly announcements: Announcement[] = []
  /** Topics of each interruption; `undefined` for all topics. */
  readonly interruptions: (readonly string[] | undefined)[] = []
  readonly node = randomUUID()
  bounds: StreamBounds = { size: 100_000, ttlMs: 60_000, full: 'trim' }
  #call = 0

  constructor(streams: Streams) {
    this.streams = streams
    streams.start({
      announced: announcement => this.announcements.push(announcement),
      interrupted: topics => this.interruptions.push(topics),
    })
  }

  ref(topic: string): StreamRef {
    return { topic, bounds: this.bounds }
  }

  async append(topic: string, appends: readonly Append[], known?: Position): Promise<readonly AppendOutcome[]> {
    this.#call++
    return this.again(topic, appends, known)
  }

  /** Repeats the last call. */
  async again(topic: string, appends: readonly Append[], known?: Position): Promise<readonly AppendOutcome[]> {
    return this.streams.append(this.ref(topic), appends, {
      node: this.node,
      call: this.#call,
      ...(known !== undefined && { known }),
    })
  }

  /** Appends payloads, each in one append of one call; returns the position of the last one. */
  async say(topic: string, ...payloads: readonly string[]): Promise<Position> {
    const outcomes = await this.append(
      topic,
      payloads.map(payload => ({ entries: [{ payload }] })),
    )
    const last = outcomes.at(-1)!
    if (!('position' in last)) throw new Error(`refused: ${JSON.stringify(last)}`)
    return last.position
  }

  async read(topic: string): Promise<StreamPage> {
    return this.streams.read(this.ref(topic), { from: 'oldest', entries: 1_000_000, bytes: 1e9 })
  }

  async payloads(topic: string): Promise<readonly string[]> {
    return (await this.read(topic)).entries.map(({ payload }) => String(payload))
  }

  async top(topic: string): Promise<Position> {
    return (await this.streams.tops([this.ref(topic)]))[0]!
  }

  /** The entries announced for a topic. */
  announced(topic: string): readonly StreamEntry[] {
    return this.announcements.filter(announcement => announcement.topic === topic).flatMap(({ entries }) => entries)
  }
}
