import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type {
  Client,
  Codec,
  FilterModule,
  Payload,
  Position,
  RunningServer,
  Server,
  Transport,
} from '../../src/index.ts'
import { serve, until } from '../support/peer.ts'
import { type RedisServer, skipWithoutOwn, startRedis } from '../support/redis.ts'

const TOPIC = 'kept'
const CLIENTS = 10_000
/** Milliseconds in which all clients return, in batches. */
const WITHIN = 2000
const BATCHES = 50
/** Entries that are stored before they return, and the most that one of them has missed. */
const ENTRIES = 400
const MISSED = 200
/** Reads of one return: a few, and more on a busy machine, where announcements are late. */
const MAX_READS = 40
const ROUNDS = 4

const offsets: Codec = {
  name: 'offsets',
  encode: (payload, _, about) => `${about?.position?.offset} ${payload}`,
}

/** A connection without a socket whose messages must have consecutive offsets. */
class Returning implements Transport {
  readonly name = 'returning'
  readonly remote = '127.0.0.1'
  readonly frame = line
  readonly socket: Duplex
  offset: number
  gaps = 0
  onClosed = () => {}
  #rest = ''

  constructor(offset: number) {
    this.offset = offset
    this.socket = new Duplex({
      read() {},
      // A frame may come in several writes.
      write: (chunk: Buffer, _, done) => {
        const messages = `${this.#rest}${chunk}`.split('\n')
        this.#rest = messages.pop()!
        for (const message of messages) {
          const next = Number.parseInt(message, 10)
          if (next !== this.offset + 1) this.gaps++
          this.offset = next
        }
        done()
      },
    })
  }

  pause(): void {}
  resume(): void {}
  close(): void {
    this.onClosed()
  }
  destroy(): void {
    this.onClosed()
  }
}

function line(payload: Payload): Buffer {
  return Buffer.from(`${payload}\n`)
}

interface Node {
  readonly running: RunningServer
  readonly server: Server
}

async function start(t: TestContext, redis: RedisServer): Promise<Node> {
  let server: Server | undefined
  const keeps: FilterModule = {
    start: started => {
      server = started
    },
    retain: topic => (topic === TOPIC ? { size: 10_000, ttlMs: 600_000, full: 'trim' } : undefined),
  }
  const running = await serve(t, { filters: [keeps], storage: 'redis', redisPort: redis.port, maxClients: CLIENTS + 1 })
  return { running, server: server! }
}

function attach({ server }: Node, transport: Returning): Client {
  const { client, closed } = server.attach(transport)
  client.codec = offsets
  transport.onClosed = () => closed(1000, '', true)
  return client
}

/** All clients return to a node, each at its position; returns the milliseconds until the last one has everything. */
async function returnAll(node: Node, top: Position): Promise<number> {
  const { server } = node
  const transports = Array.from({ length: CLIENTS }, (_, i) => new Returning(top.offset - (i % MISSED)))
  const joins: Promise<unknown>[] = []
  const since = performance.now()
  for (let batch = 0; batch < BATCHES; batch++) {
    for (const transport of transports.slice((batch * CLIENTS) / BATCHES, ((batch + 1) * CLIENTS) / BATCHES))
      joins.push(attach(node, transport).join(TOPIC, { after: { ...top, offset: transport.offset } }))
    // Entries go on while they return.
    server.broadcast(`batch ${batch}`, { topic: TOPIC })
    await sleep(since + ((batch + 1) * WITHIN) / BATCHES - performance.now())
  }
  await Promise.all(joins)
  await until(
    () => transports.every(({ offset }) => offset === top.offset + BATCHES),
    'all entries at all clients',
    120_000,
  )
  const ms = performance.now() - since
  assert.equal(
    transports.reduce((sum, { gaps }) => sum + gaps, 0),
    0,
  )
  for (const transport of transports) transport.onClosed()
  await until(() => node.running.clients.size < CLIENTS / 10, 'closed clients')
  return ms
}

async function topOf({ server }: Node): Promise<Position> {
  return (await server.read(TOPIC, { from: 'newest', entries: 1, bytes: 1 })).top
}

/** Megabytes after a garbage collection; the resident size without one varies by a factor of 1.5. */
function memory(): { readonly heap: number; readonly rss: number } {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  collect()
  const { heapUsed, rss } = process.memoryUsage()
  return { heap: heapUsed / 1e6, rss: Math.round(rss / 1e6) }
}

describe(`${CLIENTS} clients that return within ${WITHIN / 1000} s`, { skip: skipWithoutOwn }, () => {
  for (const [where, isOther] of [
    ['to their node', false],
    ['to a node that has just started', true],
  ] as const) {
    it(`${where}: they get everything with a handful of reads, and memory does not grow`, async t => {
      const redis = await startRedis()
      t.after(() => redis.stop())
      const nodes: Node[] = [await start(t, redis)]
      const [first] = nodes as [Node]
      const member = new Returning(0)
      const stays = attach(first, member)
      await stays.join(TOPIC, { after: 'earliest' })
      for (let i = 0; i < ENTRIES; i++) await first.server.append(TOPIC, 'x'.repeat(100))
      if (!isOther) {
        await until(() => member.offset === ENTRIES, 'the entries')
      }
      const heaps: number[] = []
      for (let round = 0; round < ROUNDS; round++) {
        const node = isOther ? await start(t, redis) : first
        const top = await topOf(node)
        const { streams } = node.running.counters
        const before = { ...streams }
        const ms = await returnAll(node, top)
        const reads = streams.reads - before.reads
        assert.equal(streams.recovered - before.recovered, CLIENTS)
        assert.deepEqual({ ...streams.lost }, {})
        assert.ok(reads <= MAX_READS, `${reads} reads`)
        if (isOther) await node.running.close()
        const { heap, rss } = memory()
        heaps.push(heap)
        t.diagnostic(`${Math.round(ms)} ms, ${reads} reads, heap ${heap.toFixed(1)} MB, rss ${rss} MB`)
      }
      assert.ok(heaps.at(-1)! < 1.25 * heaps[1]!, heaps.join())
    })
  }
})
