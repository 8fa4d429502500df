import type { Logger } from 'pino'
import type { Awaitable } from '../contract/deadline.ts'
import type { Counters } from '../contract/metrics.ts'
import { isPayload, type Payload } from '../contract/payload.ts'
import type { Carrier } from '../contract/storage.ts'
import type { Order } from './disconnect-order.ts'
import {
  isFrom,
  isOrder,
  MAX_MESSAGES,
  nodeBytes,
  type Parcel,
  readEnvelope,
  sizeOf,
  writeEnvelope,
} from './envelope.ts'

/** Topics whose messages are numbered; the one longest unused begins anew. */
const MAX_NUMBERED = 10_000
/** Messages that can have been lost at once; a larger gap is no number of a node of ours. */
const MAX_GAP = 1e9
/** Nodes that are followed in one topic. */
const MAX_NODES = 1000
/** Milliseconds between two signs of life to everyone. */
const BEAT = 2000
/** Milliseconds over which losses are summed to one line in the log. */
const LOG_EVERY = 1000

const EVERYONE = 'all'

export interface FabricHost {
  readonly carrier: Carrier
  /** UUID of this node. */
  readonly instance: string
  readonly counters: Counters
  readonly log: Logger
  /** Bytes of one turn that may wait before they travel. */
  readonly maxBytes: number
  /** A message of another node. `undefined`: for everyone. */
  deliver(topic: string | undefined, payload: Payload, format?: string): void
  /** An order that was given on another node. */
  obey(order: Order): void
}

/**
 * Makes the nodes of a server one: what is broadcast here reaches the members on every other node, at most once and in
 * order. The broadcasts of one turn of the event loop to one topic travel together. Messages are numbered for each
 * topic, so that the others know what they missed; what comes behind its turn is dropped rather than delivered late.
 * Now and then an envelope without a message tells the number of the next one to everyone: so nodes know of each other,
 * and notice what they missed even if nothing follows.
 */
export class Fabric {
  readonly #host: FabricHost
  readonly #node: Buffer
  /** What this turn has broadcast so far. */
  #batches = new Map<string, Parcel[]>()
  #messages = 0
  #bytes = 0
  #scheduled = false
  /** For each topic: the number of the next message to it. */
  readonly #sent = new Map<string, number>()
  /** With which number a topic begins whose number was forgotten, or never known: past all that it may have had. */
  #begin = 0
  #beat: NodeJS.Timeout | undefined
  /** For each topic that is listened to: the number of the next message of each node. */
  readonly #heard = new Map<string, Map<string, number>>()
  /** Not yet in the log. */
  #lost = 0
  #refused = new Set<string>()
  readonly #flushLater = () => this.flush()

  constructor(host: FabricHost) {
    this.#host = host
    this.#node = nodeBytes(host.instance)
  }

  /** Settles when broadcasts to everyone are heard. */
  start(): Awaitable<void> {
    this.#host.carrier.start((channel, bytes) => this.#receive(channel, bytes))
    this.#beat = setInterval(() => this.#send(EVERYONE, []), BEAT)
    this.#beat.unref()
    this.#send(EVERYONE, [])
    return this.#listen(EVERYONE)
  }

  /** Sends what waits, for the last time. */
  stop(): void {
    clearInterval(this.#beat)
    this.flush()
  }

  /** From the first member of a topic on this node. */
  listen(topic: string): void {
    void this.#listen(channelOf(topic))
  }

  /** From the last member on. */
  ignore(topic: string): void {
    const channel = channelOf(topic)
    this.#heard.delete(channel)
    this.#host.carrier.ignore(channel)
  }

  /** To the other nodes, at the end of this turn of the event loop. */
  add(topic: string | undefined, payload: Payload, format?: string): void {
    // Whoever sent a Buffer may change it before the end of the turn.
    const kept = typeof payload === 'string' ? payload : Buffer.from(payload)
    this.#add(channelOf(topic), format === undefined ? kept : { payload: kept, format })
  }

  /** Behind what was broadcast before. To every node: clients on hold are members of topics that nobody listens to yet. */
  order(order: Order): void {
    this.flush()
    this.#add(EVERYONE, order)
  }

  #add(channel: string, parcel: Parcel): void {
    const batch = this.#batches.get(channel)
    if (batch === undefined) this.#batches.set(channel, [parcel])
    else batch.push(parcel)
    this.#bytes += sizeOf(parcel)
    if (++this.#messages >= MAX_MESSAGES || this.#bytes >= this.#host.maxBytes) this.flush()
    else if (!this.#scheduled) {
      this.#scheduled = true
      setImmediate(this.#flushLater)
    }
  }

  /** Sends what waits. */
  flush(): void {
    this.#scheduled = false
    if (this.#messages === 0) return
    const batches = this.#batches
    this.#batches = new Map()
    this.#messages = 0
    this.#bytes = 0
    for (const [channel, parcels] of batches) this.#send(channel, parcels)
  }

  #listen(channel: string): Awaitable<void> {
    this.#heard.set(channel, new Map())
    return this.#host.carrier.listen(channel)
  }

  #send(channel: string, parcels: readonly Parcel[]): void {
    const { carrier, counters } = this.#host
    const known = this.#sent.get(channel)
    const first = known ?? this.#begin
    // Set anew, so that it stands last: the first of a Map is the one longest unused.
    this.#sent.delete(channel)
    this.#sent.set(channel, first + parcels.length)
    if (this.#sent.size > MAX_NUMBERED) this.#begin = Math.max(this.#begin, forgetOldest(this.#sent)!)
    const envelope = writeEnvelope(this.#node, { first, anew: known === undefined, parcels })
    const { length } = parcels
    const onRefused = () => {
      counters.nodesUnsent += length
    }
    if (carrier.send(channel, envelope, onRefused)) counters.nodesOut += length
    else onRefused()
  }

  #receive(channel: string, bytes: Buffer): void {
    const heard = this.#heard.get(channel)
    if (heard === undefined || isFrom(this.#node, bytes)) return
    const envelope = readEnvelope(bytes)
    if (typeof envelope === 'string') {
      this.#refuse(envelope)
      return
    }
    const { node, first, anew, parcels } = envelope
    const next = heard.get(node)
    if (next === undefined && heard.size >= MAX_NODES) forgetOldest(heard)
    if (next !== undefined) {
      if (first < next) return
      if (first - next > MAX_GAP) {
        this.#refuse('envelope with a number that cannot be')
        return
      }
      if (first > next && !anew) this.#miss(first - next)
    }
    heard.set(node, first + parcels.length)
    this.#host.counters.nodesIn += parcels.length
    const topic = topicOf(channel)
    for (const parcel of parcels) {
      if (isPayload(parcel)) this.#host.deliver(topic, parcel)
      else if (isOrder(parcel)) this.#host.obey(parcel)
      else this.#host.deliver(topic, parcel.payload, parcel.format)
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

  /** Once for each reason: a node of another release may send thousands a second. */
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

/** Answers the number that was forgotten. */
function forgetOldest(map: Map<string, number>): number | undefined {
  for (const [key, number] of map) {
    map.delete(key)
    return number
  }
  return undefined
}
