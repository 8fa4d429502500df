import type { Logger } from 'pino'
import type { Awaitable } from '../contract/deadline.ts'
import type { Counters } from '../contract/metrics.ts'
import { isPayload, type Payload } from '../contract/payload.ts'
import type { Carrier } from '../contract/storage.ts'
import { BoundedMap } from '../kit/bounded-map.ts'
import {
  isFrom,
  isOrder,
  MAX_MESSAGES,
  type NodeMessage,
  nodeBytes,
  readEnvelope,
  sizeOf,
  writeEnvelope,
} from './envelope.ts'
import type { Order } from './order.ts'

/** Topics with a sequence number; the least recently used one restarts. */
const MAX_NUMBERED = 10_000
/** Largest plausible gap in sequence numbers; envelopes with a larger one are refused. */
const MAX_GAP = 1e9
/** Nodes whose sequence numbers are tracked per topic. */
const MAX_NODES = 1000
/** Milliseconds between two empty envelopes to all nodes. */
const BEAT = 2000
/** Milliseconds over which losses are summed for one log line. */
const LOG_EVERY = 1000

const EVERYONE = 'all'

export interface FabricHost {
  readonly carrier: Carrier
  /** UUID of this node. */
  readonly instance: string
  readonly counters: Counters
  readonly log: Logger
  /** Bytes that are queued before an immediate flush. */
  readonly maxBytes: number
  /** Delivers a message from another node; without a topic to all clients. */
  deliver(topic: string | undefined, payload: Payload, format?: string): void
  /** Executes an order from another node. */
  execute(order: Order): void
}

/**
 * Connects the nodes of one server: a broadcast reaches the members on all nodes, at most once and in order. The broadcasts of
 * one turn of the event loop to one topic share an envelope. Messages are numbered per topic, so that the receivers detect
 * losses; late messages are dropped. Empty envelopes announce the next number every 2 s, so that a loss is also detected
 * if no message follows.
 */
export class Fabric {
  readonly #host: FabricHost
  readonly #node: Buffer
  /** Messages of this turn, by channel. */
  #batches = new Map<string, NodeMessage[]>()
  #messages = 0
  #bytes = 0
  #scheduled = false
  /** Next sequence number by channel, least recently used first. */
  readonly #nextNumbers = new BoundedMap<string, number>(MAX_NUMBERED, evicted => {
    this.#begin = Math.max(this.#begin, evicted)
  })
  /** First number of a channel without an entry: above all numbers that it may have had before it was evicted. */
  #begin = 0
  #beat: NodeJS.Timeout | undefined
  /** Next expected number by subscribed channel and node. */
  readonly #expected = new Map<string, BoundedMap<string, number>>()
  /** Lost messages that are not logged yet. */
  #lost = 0
  #refused = new Set<string>()
  readonly #flushLater = () => this.flush()

  constructor(host: FabricHost) {
    this.#host = host
    this.#node = nodeBytes(host.instance)
  }

  /** Settles when broadcasts to all clients arrive. */
  start(): Awaitable<void> {
    this.#host.carrier.start((channel, bytes) => this.#receive(channel, bytes))
    this.#beat = setInterval(() => this.#send(EVERYONE, []), BEAT)
    this.#beat.unref()
    this.#send(EVERYONE, [])
    return this.#listen(EVERYONE)
  }

  /** Sends the queued messages and ends the heartbeat. */
  stop(): void {
    clearInterval(this.#beat)
    this.flush()
  }

  /** Called for the first member of a topic on this node. */
  listen(topic: string): void {
    void this.#listen(channelOf(topic))
  }

  /** Called after the last member of a topic has left. */
  ignore(topic: string): void {
    const channel = channelOf(topic)
    this.#expected.delete(channel)
    this.#host.carrier.ignore(channel)
  }

  /** Queues a message for the other nodes until the end of this turn of the event loop. */
  add(topic: string | undefined, payload: Payload, format?: string): void {
    // The caller may change its Buffer before the end of the turn.
    const copy = typeof payload === 'string' ? payload : Buffer.from(payload)
    this.#add(channelOf(topic), format === undefined ? copy : { payload: copy, format })
  }

  /** Queues an order after earlier broadcasts. To all nodes: pending clients belong to topics without a subscription. */
  order(order: Order): void {
    this.flush()
    this.#add(EVERYONE, order)
  }

  #add(channel: string, message: NodeMessage): void {
    const batch = this.#batches.get(channel)
    if (batch === undefined) this.#batches.set(channel, [message])
    else batch.push(message)
    this.#bytes += sizeOf(message)
    if (++this.#messages >= MAX_MESSAGES || this.#bytes >= this.#host.maxBytes) this.flush()
    else if (!this.#scheduled) {
      this.#scheduled = true
      setImmediate(this.#flushLater)
    }
  }

  /** Sends the queued messages. */
  flush(): void {
    this.#scheduled = false
    if (this.#messages === 0) return
    const batches = this.#batches
    this.#batches = new Map()
    this.#messages = 0
    this.#bytes = 0
    for (const [channel, messages] of batches) this.#send(channel, messages)
  }

  #listen(channel: string): Awaitable<void> {
    this.#expected.set(channel, new BoundedMap(MAX_NODES))
    return this.#host.carrier.listen(channel)
  }

  #send(channel: string, messages: readonly NodeMessage[]): void {
    const { carrier, counters } = this.#host
    const next = this.#nextNumbers.get(channel)
    const first = next ?? this.#begin
    this.#nextNumbers.set(channel, first + messages.length)
    const envelope = writeEnvelope(this.#node, { first, restarted: next === undefined, messages })
    const { length } = messages
    const onRefused = () => {
      counters.nodesUnsent += length
    }
    if (carrier.send(channel, envelope, onRefused)) counters.nodesOut += length
    else onRefused()
  }

  #receive(channel: string, bytes: Buffer): void {
    const expected = this.#expected.get(channel)
    if (expected === undefined || isFrom(this.#node, bytes)) return
    const envelope = readEnvelope(bytes)
    if (typeof envelope === 'string') {
      this.#refuse(envelope)
      return
    }
    const { node, first, restarted, messages } = envelope
    const next = expected.get(node)
    if (next !== undefined) {
      if (first < next) return
      if (first - next > MAX_GAP) {
        this.#refuse(`envelope with a gap of more than ${MAX_GAP} messages`)
        return
      }
      if (first > next && !restarted) this.#miss(first - next)
    }
    expected.set(node, first + messages.length)
    this.#host.counters.nodesIn += messages.length
    const topic = topicOf(channel)
    for (const message of messages) {
      if (isPayload(message)) this.#host.deliver(topic, message)
      else if (isOrder(message)) this.#host.execute(message)
      else this.#host.deliver(topic, message.payload, message.format)
    }
  }

  #miss(messages: number): void {
    this.#host.counters.nodesLost += messages
    this.#lost += messages
    if (this.#lost > messages) return
    setTimeout(() => {
      this.#host.log.warn({ lost: this.#lost }, 'messages of other nodes were lost')
      this.#lost = 0
    }, LOG_EVERY).unref()
  }

  /** Logs each reason once: a node with another version may send thousands per second. */
  #refuse(why: string): void {
    this.#host.counters.nodesRefused++
    if (this.#refused.has(why)) return
    this.#refused.add(why)
    this.#host.log.error(`message of another node refused: ${why}`)
  }
}

function channelOf(topic: string | undefined): string {
  return topic === undefined ? EVERYONE : `topic:${topic}`
}

function topicOf(channel: string): string | undefined {
  return channel === EVERYONE ? undefined : channel.slice('topic:'.length)
}
