import { isPromise } from '../contract/deadline.ts'
import { FwsError, shown } from '../contract/errors.ts'
import {
  EVERYONE,
  type Joined,
  type JoinOptions,
  type KeptTopic,
  type Loss,
  type LossReason,
  type Position,
  type StreamEntry,
} from '../contract/streams.ts'
import type { Answer, Joiner } from '../streams/follower.ts'
import type { KeptTopics } from '../streams/kept-topics.ts'

/** The client that joins. */
export interface JoiningClient {
  readonly id: string
  readonly topics: ReadonlySet<string>
  readonly kept: KeptTopics | undefined
  /** @throws FwsError `ERR_FORBIDDEN`: it may not read the past of the topic. */
  checkRead(topic: string): void
  becomeMember(topic: string): void
  joinKept(topic: string): void
  forgetTopic(topic: string): void
  reportJoined(error: unknown): void
  sendLoss(about: Loss, lost: LossReason): void
  /** The end of the entries, from `from` on, that fit into half of its buffer; at least one does. */
  pageEnd(topic: string, entries: readonly StreamEntry[], from: number, epoch: string): number
  sendMissed(topic: string, entries: readonly StreamEntry[], from: number, to: number, epoch: string): void
  drained(): Promise<void>
}

/** A kept topic of which the client is no member yet. */
interface Join extends Partial<JoinOptions> {
  /** Where to join; moves on while entries are sent. */
  after: JoinOptions['after']
  /** While the topic looks for the position. */
  joiner?: Joiner | undefined
  /** The entries so far, if they are sent in pages. */
  earlier?: Joined | undefined
  readonly resolve?: (joined: Joined) => void
  readonly reject?: (error: unknown) => void
}

/** The kept topics of which one client is to become a member. */
export class Joins {
  readonly #client: JoiningClient
  readonly #joins = new Map<string, Join>()

  constructor(client: JoiningClient) {
    this.#client = client
  }

  /** Begins a join at a position; `join` makes the client a member of the topic, or asks for a joiner. */
  begin(topic: string, how: JoinOptions, join: () => void): Promise<Joined> {
    return new Promise((resolve, reject) => {
      this.#joins.set(topic, { ...how, resolve, reject })
      try {
        join()
      } catch (error) {
        this.cancel(topic, error)
      }
    })
  }

  /** The client is a member of a topic that is not kept. */
  joinedUnkept(topic: string): void {
    const join = this.#joins.get(topic)
    if (join !== undefined)
      this.#end(topic, join, { position: undefined, recovered: join.after === 'now', entries: [] })
  }

  joinerOf({ topic }: KeptTopic): Joiner {
    const join: Join = this.#joins.get(topic) ?? { after: 'now' }
    this.#joins.set(topic, join)
    join.joiner = {
      after: join.after,
      isContinued: join.earlier !== undefined,
      joined: answer => this.#answered(topic, join, answer),
    }
    return join.joiner
  }

  cancel(topic: string, error: unknown): void {
    const join = this.#joins.get(topic)
    if (join === undefined) return
    const { kept } = this.#client
    this.#joins.delete(topic)
    if (join.joiner === undefined) kept?.release(topic)
    else kept?.cancel(topic, join.joiner)
    join.reject?.(error)
  }

  cancelAll(): void {
    const gone = new FwsError('ERR_STATE', `client ${this.#client.id} is disconnected`)
    for (const topic of [...this.#joins.keys()]) this.cancel(topic, gone)
  }

  /** The client is held: when it is admitted it joins behind the last entry that it has. */
  suspend(): void {
    const { kept, topics } = this.#client
    for (const topic of [EVERYONE, ...topics]) {
      const join = this.#joins.get(topic)
      const position = kept?.positionOf(topic)
      if (join !== undefined) this.#pause(topic, join)
      else if (position !== undefined) this.#joins.set(topic, { after: position })
    }
  }

  /** A new object: pages that are under way belong to the old one. */
  #pause(topic: string, join: Join): void {
    if (join.joiner !== undefined) this.#client.kept?.cancel(topic, join.joiner)
    this.#joins.set(topic, { ...join, joiner: undefined })
  }

  #answered(topic: string, join: Join, answer: Answer): void {
    const client = this.#client
    join.joiner = undefined
    // The identity may have changed while the client was held.
    try {
      if (join.reject !== undefined && join.after !== 'now') client.checkRead(topic)
    } catch (error) {
      client.forgetTopic(topic)
      this.cancel(topic, error)
      return
    }
    const joined = joinedOf(answer, join.earlier)
    if (join.onJoined === undefined) this.#send(topic, join, answer, joined)
    else this.#end(topic, join, joined)
  }

  /** Sends all that the client has missed before later entries, in pages of half of what it can buffer. */
  #send(topic: string, join: Join, answer: Answer, joined: Joined): void {
    const client = this.#client
    const { position, recovered, lost, entries, from } = answer
    if (!recovered || from === entries.length) {
      this.#end(topic, join, joined)
      if (!recovered) client.sendLoss({ topic, position }, lost!)
      return
    }
    const end = client.pageEnd(topic, entries, from, position.epoch)
    if (end === entries.length) {
      this.#end(topic, join, joined)
      client.sendMissed(topic, entries, from, end, position.epoch)
    } else {
      client.sendMissed(topic, entries, from, end, position.epoch)
      void this.#sendRest(topic, join, answer, end)
    }
  }

  /** The rest of the entries, from `next` on, which are in memory already; then it joins behind them. */
  async #sendRest(topic: string, join: Join, answer: Answer, next: number): Promise<void> {
    const client = this.#client
    const { earlier } = join
    const { entries, position } = answer
    const { epoch } = position
    for (let from = next; ; ) {
      // If the client is held now, it continues here.
      join.after = { epoch, offset: entries[from - 1]!.offset }
      join.earlier = joinedOf(answer, earlier, from)
      await client.drained()
      if (this.#joins.get(topic) !== join) return
      if (from === entries.length) break
      const end = client.pageEnd(topic, entries, from, epoch)
      client.sendMissed(topic, entries, from, end, epoch)
      from = end
    }
    client.joinKept(topic)
  }

  /** It is a member now. */
  #end(topic: string, join: Join, joined: Joined): void {
    const client = this.#client
    this.#joins.delete(topic)
    if (joined.position !== undefined) client.becomeMember(topic)
    try {
      const result: unknown = join.onJoined?.(joined)
      if (isPromise(result)) result.then(undefined, error => client.reportJoined(error))
    } catch (error) {
      client.reportJoined(error)
    }
    join.resolve?.(joined)
  }
}

/** With the entries of earlier pages. The array is made when it is asked for: thousands of clients may return at once. */
function joinedOf(
  { position, recovered, lost, entries, from }: Answer,
  earlier: Joined | undefined,
  to = entries.length,
): Joined {
  return {
    position,
    recovered,
    ...(lost !== undefined && { lost }),
    get entries() {
      const own = from === 0 && to === entries.length ? entries : entries.slice(from, to)
      return earlier === undefined ? own : [...earlier.entries, ...own]
    },
  }
}

/** @throws FwsError `ERR_STATE`. */
export function checkAfter(after: unknown): void {
  if (after === 'now' || after === 'earliest') return
  const { epoch, offset } = (after ?? {}) as Partial<Position>
  if (typeof epoch === 'string' && Number.isSafeInteger(offset) && offset! >= 0) return
  const message = `join() takes after: 'now', 'earliest' or { epoch, offset }, received ${shown(after)}`
  throw new FwsError('ERR_STATE', message)
}
