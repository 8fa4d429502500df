import type { Payload } from '../contract/payload.ts'
import type { About, LossReason } from '../contract/streams.ts'
import { Batch, type Run } from './batch.ts'
import { Span } from './block.ts'
import { FlushPolicy } from './flush-policy.ts'
import { frame, frameSpan } from './frame.ts'
import { NumberedSelection, Selection } from './selection.ts'
import type { Member, Topic } from './topic.ts'
import type { Frame, Wire } from './wire.ts'

/** Queued messages, of one client or of one topic, that trigger an immediate flush. */
const MAX_FRAMES = 1024

/**
 * Collects the sends of one turn of the event loop, under load of several turns (`FlushPolicy`), then writes once per client.
 *
 * k broadcasts to n clients cost k frames, one join and n writes of the same buffer. A client with a direct send, an `except`,
 * two topics or a join in this turn gets a selection of its own: slices of the same buffers in the order of `seq`.
 */
export class Fanout {
  readonly #maxBytes: number
  /** Number of the last send of any kind. */
  #seq = 0
  /** Number of the last broadcast. */
  #lastBroadcast = 0
  #flushes = 0
  #dirty: Topic[] = []
  #touched: Member[] = []
  #bytes = 0
  #isEmpty = true
  /** Whether a flush at the end of the turn is scheduled. */
  #isScheduled = false
  readonly #policy: Pick<FlushPolicy, 'shouldWait' | 'begin' | 'end'>

  /** @param maxBytes - bytes of broadcasts, or of one client's frames, that are queued before an immediate flush. */
  constructor(maxBytes: number, policy: Pick<FlushPolicy, 'shouldWait' | 'begin' | 'end'> = new FlushPolicy()) {
    this.#maxBytes = maxBytes
    this.#policy = policy
  }

  /**
   * Sends to all members of the topic.
   *
   * @param about - of an entry of a kept topic; with `lost` the members are informed of a loss, and there is no payload.
   */
  broadcast(
    topic: Topic,
    payload: Payload,
    except?: Member,
    format?: string,
    about: About | undefined = topic.about,
    lost?: LossReason,
  ): void {
    if (topic.members.size === 0) return
    const seq = ++this.#seq
    this.#lastBroadcast = seq
    if (topic.batch === undefined) {
      topic.batch = new Batch()
      this.#dirty.push(topic)
    }
    this.#bytes += topic.batch.append(seq, payload, format, except, topic.wires.keys(), about, lost)
    if (except !== undefined) except.exceptedAt = seq
    this.#schedule()
    if (topic.batch.seqs.length >= MAX_FRAMES || this.#bytes >= this.#maxBytes) this.flush()
  }

  /** Sends a payload to one client that is open. */
  sendPayload(outbox: Member, payload: Payload, format?: string): void {
    const { wire } = outbox
    if (!wire.isPlain || format !== undefined) {
      this.send(outbox, wire.frameOf(wire.encode(payload, format)))
      return
    }
    const before = outbox.lastSpan(this.#lastBroadcast)
    const bytes = before?.length ?? 0
    const span = frameSpan(payload, before)
    if (span !== before || span === undefined) {
      this.send(outbox, span ?? frame(payload))
      return
    }
    this.#seq++
    outbox.bytes += span.length - bytes
    if (outbox.bytes >= this.#maxBytes) this.flushOne(outbox)
  }

  /** Sends to one client; the frame may be shared with others. */
  send(outbox: Member, frame: Frame): void {
    if (frame.length === 0) return
    if (outbox.isOpen && outbox.frames.length === 0) this.#touched.push(outbox)
    outbox.add(frame, ++this.#seq)
    if (!outbox.isOpen) return
    this.#schedule()
    if (outbox.frames.length >= MAX_FRAMES || outbox.bytes >= this.#maxBytes) this.flushOne(outbox)
  }

  join(topic: Topic, outbox: Member): void {
    topic.add(outbox, this.#seq)
  }

  /** Broadcasts before the leave are still delivered. Returns whether it was a member. */
  leave(topic: Topic, outbox: Member): boolean {
    if (topic.batch !== undefined) this.flushOne(outbox)
    return topic.remove(outbox)
  }

  /** Messages sent before the change keep the old encoding. */
  changeWire(outbox: Member, wire: Wire): void {
    if (outbox.wire === wire) return
    this.flushOne(outbox)
    for (const topic of outbox.topics) {
      topic.countWire(outbox.wire, -1)
      topic.countWire(wire, 1)
    }
    outbox.wire = wire
  }

  /** Writes the queued messages of one client before the end of the turn. */
  flushOne(outbox: Member): void {
    if (!outbox.isOpen) return
    try {
      this.#writeMerged(outbox)
    } catch (error) {
      outbox.fail(error)
    }
  }

  /** Writes all queued messages. */
  flush(): void {
    if (this.#isEmpty) return
    this.#policy.begin()
    const dirty = this.#dirty
    const touched = this.#touched
    this.#dirty = []
    this.#touched = []
    this.#bytes = 0
    this.#isEmpty = true
    for (const topic of dirty) {
      topic.flushing = topic.batch
      topic.batch = undefined
    }
    try {
      if (dirty.length > 1) this.#countSources(dirty)
      for (const topic of dirty) this.#flushTopic(topic, dirty.length === 1)
      for (const outbox of touched) if (outbox.frames.length > 0) this.flushOne(outbox)
    } finally {
      for (const topic of dirty) topic.flushing = undefined
      this.#policy.end()
    }
  }

  #flushTopic(topic: Topic, alone: boolean): void {
    const batch = topic.flushing!
    const { first } = batch
    let wire: Wire | undefined
    let run: Run | undefined
    /** Whether the clients of this wire can share one buffer. */
    let isShared = false
    for (const [outbox, since] of topic.members) {
      // One client whose frames cannot be written ends alone; the others get theirs.
      try {
        if (outbox.wire !== wire) {
          run = batch.run(outbox.wire)
          wire = outbox.wire
          isShared = !wire.isNumbered && run.pieces === undefined
        }
        const likeOthers =
          isShared &&
          since < first &&
          outbox.exceptedAt < first &&
          outbox.frames.length === 0 &&
          (alone || outbox.sources === 1)
        if (!likeOthers) this.#writeMerged(outbox)
        else if (run!.count > 0) outbox.write(run!.buffer, run!.count)
      } catch (error) {
        outbox.fail(error)
      }
    }
  }

  /** Counts the flushed topics of each client: a client in only one can share its buffer. */
  #countSources(dirty: readonly Topic[]): void {
    const flush = ++this.#flushes
    for (const topic of dirty) {
      for (const outbox of topic.members.keys()) {
        outbox.sources = outbox.flushed === flush ? outbox.sources + 1 : 1
        outbox.flushed = flush
      }
    }
  }

  /** Writes the selection of one client: its frames and the batches of its topics, merged by `seq`. */
  #writeMerged(outbox: Member): void {
    if (outbox.topics.some(isPending)) this.#mergeTopics(outbox)
    else this.#writeOwn(outbox)
  }

  /** Writes the frames of one client whose topics have none. */
  #writeOwn(outbox: Member): void {
    const { frames } = outbox
    const [first] = frames
    if (first === undefined) return
    outbox.clear()
    if (frames.length === 1 && first instanceof Span) {
      outbox.write(first.bytes, first.count)
      return
    }
    const selection = new Selection(outbox)
    for (const frame of frames) selection.addFrame(frame)
    outbox.writeAll(selection.pieces(), selection.bytes, selection.frames, selection.largest)
  }

  #mergeTopics(outbox: Member): void {
    const selection = outbox.wire.isNumbered ? new NumberedSelection(outbox) : new Selection(outbox)
    const batches: Batch[] = []
    const sinces: number[] = []
    for (const topic of outbox.topics) {
      const batch = topic.flushing ?? topic.batch
      if (batch === undefined) continue
      batches.push(batch)
      sinces.push(topic.members.get(outbox)!)
      topic.members.set(outbox, batch.seqs.at(-1)!)
    }
    const next: number[] = new Array(batches.length).fill(0)
    let nextOwn = 0
    for (;;) {
      let from = -1
      let seq = outbox.seqs[nextOwn] ?? Number.POSITIVE_INFINITY
      for (let b = 0; b < batches.length; b++) {
        const other = batches[b]!.seqs[next[b]!]
        if (other !== undefined && other < seq) {
          seq = other
          from = b
        }
      }
      if (seq === Number.POSITIVE_INFINITY) break
      if (from === -1) {
        selection.addFrame(outbox.frames[nextOwn++]!)
        continue
      }
      const batch = batches[from]!
      const i = next[from]!++
      if (seq > sinces[from]! && batch.excepts[i] !== outbox) selection.addEntry(batch.run(outbox.wire), i)
    }
    outbox.clear()
    if (selection.frames > 0) outbox.writeAll(selection.pieces(), selection.bytes, selection.frames, selection.largest)
  }

  #schedule(): void {
    this.#isEmpty = false
    if (this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(this.#endTurn)
  }

  readonly #endTurn = () => {
    if (!this.#isEmpty && this.#policy.shouldWait(this.#seq)) {
      setImmediate(this.#endTurn)
      return
    }
    this.#isScheduled = false
    this.flush()
  }
}

function isPending(topic: Topic): boolean {
  return topic.flushing !== undefined || topic.batch !== undefined
}
