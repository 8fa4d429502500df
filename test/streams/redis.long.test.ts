import assert from 'node:assert/strict'
import { after, describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { AppendOutcome, FilterModule, RunningServer, ServerOptions } from '../../src/index.ts'
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts'
import * as kept from '../support/filters/kept.ts'
import { KeptPeer } from '../support/kept-peer.ts'
import { serve, until } from '../support/peer.ts'
import {
  type RedisConfig,
  type RedisServer,
  type SentinelSet,
  skipWithoutOwn,
  startRedis,
  startSentinelSet,
} from '../support/redis.ts'

const TOPIC = 'room'
/** Seconds. */
const TIMEOUT = 1
/** Milliseconds between two appends of a publisher. */
const PACE = 3
const AOF: RedisConfig = { appendonly: 'yes', appendfsync: 'always' }

/** The timers of the code under test do not keep the process alive. */
const alive = setInterval(() => {}, 1000)
after(() => clearInterval(alive))

/** Appends numbered entries, one after the other. */
class Publisher {
  readonly stored: string[] = []
  /** Entries that were refused, with the milliseconds until the error. */
  readonly refused: { readonly payload: string; readonly ms: number; readonly message: string }[] = []
  readonly #server: RunningServer
  readonly #name: string
  readonly #running: Promise<void>
  #isDone = false

  constructor(server: RunningServer, name: string) {
    this.#server = server
    this.#name = name
    this.#running = this.#run()
  }

  async end(): Promise<void> {
    this.#isDone = true
    await this.#running
  }

  async #run(): Promise<void> {
    for (let i = 0; !this.#isDone; i++) {
      const payload = `${this.#name}:${i}`
      const since = performance.now()
      await this.#server.append(TOPIC, payload).then(
        () => this.stored.push(payload),
        ({ message }) => this.refused.push({ payload, ms: performance.now() - since, message }),
      )
      await sleep(PACE)
    }
  }
}

interface Scene {
  readonly redis: RedisServer
  /** Between each node and Redis. */
  readonly proxies: readonly FaultProxy[]
  readonly sentinels: SentinelSet | undefined
  readonly nodes: readonly RunningServer[]
  readonly peers: readonly KeptPeer[]
  readonly publishers: readonly Publisher[]
}

/** Entries have passed since now, on each node. */
async function passes({ peers }: Scene, count = 20): Promise<void> {
  const before = peers.map(({ payloads }) => payloads.length)
  await until(() => peers.every(({ payloads }, i) => payloads.length >= before[i]! + count), `${count} more entries`)
}

interface SceneOptions {
  readonly redisConfig?: RedisConfig
  readonly hasSentinels?: boolean
  /** Of both servers. */
  readonly options?: ServerOptions
}

async function start(
  t: TestContext,
  { redisConfig: config = AOF, hasSentinels = false, options = {} }: SceneOptions = {},
): Promise<Scene> {
  const sentinels = hasSentinels ? await startSentinelSet() : undefined
  const redis = sentinels?.master ?? (await startRedis({ config }))
  t.after(() => (sentinels ?? redis).stop())
  const proxies: FaultProxy[] = []
  const nodes: RunningServer[] = []
  const peers: KeptPeer[] = []
  for (let i = 0; i < 2; i++) {
    const proxy = await startFaultProxy({ host: '127.0.0.1', port: redis.port })
    t.after(() => proxy.stop())
    proxies.push(proxy)
    const at = sentinels
      ? { redisSentinels: sentinels.sentinels.map(addressOf), redisSentinelName: sentinels.name }
      : { redisPort: proxy.port }
    nodes.push(
      await serve(t, { filters: [kept as FilterModule], storage: 'redis', redisTimeout: TIMEOUT, ...at, ...options }),
    )
    for (let n = 0; n < 2; n++) peers.push(await KeptPeer.open(nodes[i]!.url))
  }
  t.after(async () => {
    for (const peer of peers) peer.terminate()
  })
  const publishers = nodes.map((node, i) => new Publisher(node, `${i}`))
  t.after(async () => {
    await Promise.all(publishers.map(publisher => publisher.end()))
  })
  const scene = { redis, proxies, sentinels, nodes, peers, publishers }
  await passes(scene)
  return scene
}

function addressOf({ host, port }: { readonly host: string; readonly port: number }): string {
  return `${host}:${port}`
}

/** The fault is over: entries pass on all nodes, and all clients have all entries, or were informed. */
async function assertHealed(scene: Scene, isInformed: boolean): Promise<void> {
  const { nodes, peers, publishers } = scene
  await until(() => nodes.every(({ checks }) => checks.sending !== false && checks.receiving !== false), 'connections')
  if (isInformed) await until(() => peers.every(({ losses }) => losses.length > 0), 'clients that are informed')
  const before = publishers.map(({ stored }) => stored.length)
  await until(() => publishers.every(({ stored }, i) => stored.length > before[i]! + 5), 'entries that are stored')
  await Promise.all(publishers.map(publisher => publisher.end()))
  const all = { from: 'oldest', entries: 1_000_000, bytes: 1e9 } as const
  await until(async () => {
    const { top } = await nodes[0]!.read(TOPIC, all)
    return peers.every(({ position }) => position?.epoch === top.epoch && position.offset === top.offset)
  }, 'all clients at the top')
  const { entries } = await nodes[0]!.read(TOPIC, all)
  const kept = entries.map(({ payload }) => String(payload))
  assert.equal(new Set(kept).size, kept.length, 'each entry is stored once')
  for (const { violations, losses, payloads, live } of peers) {
    assert.deepEqual(violations, [])
    if (!isInformed) assert.deepEqual([losses, payloads, live], [[], kept, []])
  }
  if (isInformed) return
  const isKept = new Set(kept)
  for (const { stored } of publishers) assert.ok(stored.every(payload => isKept.has(payload)))
}

async function pause({ redis }: Scene, ms: number): Promise<void> {
  redis.pause()
  await sleep(ms)
  redis.resume()
}

/** Faults whose entries are all in the storage. */
const HEALED: Readonly<Record<string, (scene: Scene) => Promise<unknown>>> = {
  'Redis paused, shorter than its timeout': scene => pause(scene, 200),
  'Redis paused, until connections are replaced': scene => pause(scene, 4000),
  'every connection cut, ten times': async scene => {
    for (let i = 0; i < 10; i++) {
      for (const proxy of scene.proxies) proxy.cut()
      await passes(scene, 5)
    }
  },
  'the connections of one node refused': async ({ proxies: [proxy] }) => {
    proxy!.refuse()
    await sleep(1000)
    await proxy!.accept()
  },
  'answers lost': async ({ proxies: [proxy] }) => {
    proxy!.dropReplies()
    await sleep(300)
    proxy!.resume()
  },
  'half-open connections': async ({ proxies }) => {
    for (const proxy of proxies) proxy.halfOpen()
    await sleep(4000)
    for (const proxy of proxies) proxy.resume()
  },
  'Redis killed, and back with its data': async ({ redis }) => {
    await redis.kill()
    await sleep(500)
    await redis.restart()
  },
  'Redis read-only': async ({ redis }) => {
    await redis.command('REPLICAOF', '127.0.0.1', '1')
    await sleep(500)
    await redis.command('REPLICAOF', 'NO', 'ONE')
  },
  'Redis out of memory': async ({ redis }) => {
    await redis.command('CONFIG', 'SET', 'maxmemory', '1')
    await sleep(500)
    await redis.command('CONFIG', 'SET', 'maxmemory', '0')
  },
  'PUBLISH refused by the ACL': async scene => {
    await scene.redis.command('ACL', 'SETUSER', 'default', '-publish')
    await passes(scene)
    await scene.redis.command('ACL', 'SETUSER', 'default', '+publish')
  },
  'subscriber connections killed, ten times': async scene => {
    for (let i = 0; i < 10; i++) {
      await scene.redis.command('CLIENT', 'KILL', 'TYPE', 'pubsub')
      await passes(scene, 5)
    }
  },
  'all connections killed': ({ redis }) => redis.command('CLIENT', 'KILL', 'TYPE', 'normal'),
  'slow subscribers cut': async scene => {
    await scene.redis.command('CONFIG', 'SET', 'client-output-buffer-limit', 'pubsub 16kb 0 0')
    for (const node of scene.nodes) await node.append(TOPIC, node.url.padEnd(100_000))
    await passes(scene)
    await scene.redis.command('CONFIG', 'SET', 'client-output-buffer-limit', 'pubsub 32mb 8mb 60')
  },
  'script cache flushed': async scene => {
    for (let i = 0; i < 5; i++) {
      await scene.redis.command('SCRIPT', 'FLUSH')
      await passes(scene, 5)
    }
  },
  'a slow connection': async scene => {
    for (const proxy of scene.proxies) proxy.delay(100)
    await passes(scene)
    for (const proxy of scene.proxies) proxy.delay(0)
  },
}

/** Faults after which entries are gone. */
const INFORMED: Readonly<Record<string, (scene: Scene) => Promise<unknown>>> = {
  'Redis back without data': ({ redis }) => redis.restart(),
  'Redis back from an older snapshot': async scene => {
    await scene.redis.command('SAVE')
    await passes(scene)
    await scene.redis.restart()
  },
  'the stream deleted': ({ redis }) => redis.command('FLUSHALL'),
}

describe('a kept topic on two nodes with Redis', { skip: skipWithoutOwn }, () => {
  for (const [name, fault] of Object.entries(HEALED)) {
    it(`${name}: all clients get all entries in order`, async t => {
      const scene = await start(t, { options: { keptWait: 60 } })
      await fault(scene)
      await assertHealed(scene, false)
      assert.deepEqual(
        scene.publishers.flatMap(({ refused }) => refused),
        [],
      )
    })
  }

  for (const [name, fault] of Object.entries(INFORMED)) {
    it(`${name}: all clients are informed`, async t => {
      const scene = await start(t, { redisConfig: {} })
      await fault(scene)
      await assertHealed(scene, true)
    })
  }

  it('a promoted replica that lacks entries: all clients are informed', async t => {
    const scene = await start(t, { hasSentinels: true })
    const { sentinels } = scene
    await sentinels!.replica.command('REPLICAOF', '127.0.0.1', '1')
    await passes(scene)
    await sentinels!.failover()
    await assertHealed(scene, true)
  })

  it('clients of a node that has stopped move to the other one, and get everything', async t => {
    const scene = await start(t)
    const [ann, bob] = scene.peers
    await scene.publishers[0]!.end()
    await scene.nodes[0]!.close()
    await until(() => !ann!.isOpen && !bob!.isOpen, 'closed clients')
    const before = scene.publishers[1]!.stored.length
    await until(() => scene.publishers[1]!.stored.length > before + 20, 'entries of the other node')
    for (const peer of [ann!, bob!]) await peer.move(scene.nodes[1]!.url)
    await scene.publishers[1]!.end()
    const { entries } = await scene.nodes[1]!.read(TOPIC, { from: 'oldest', entries: 1_000_000, bytes: 1e9 })
    const kept = entries.map(({ payload }) => String(payload))
    await until(() => scene.peers.every(({ payloads }) => payloads.length === kept.length), 'all entries')
    for (const { payloads, violations, losses } of scene.peers)
      assert.deepEqual([payloads, violations, losses], [kept, [], []])
    for (const { stored } of scene.publishers) assert.ok(stored.every(payload => kept.includes(payload)))
  })

  it('clients that move between the nodes during cuts of the connections miss nothing', async t => {
    const scene = await start(t)
    for (let i = 0; i < 10; i++) {
      for (const proxy of scene.proxies) proxy.cut()
      const peer = scene.peers[i % 4]!
      peer.terminate()
      await until(() => !peer.isOpen, 'a closed client')
      await peer.move(scene.nodes[i % 2]!.url)
    }
    await assertHealed(scene, false)
  })
})

describe('a kept topic without its Redis', { skip: skipWithoutOwn }, () => {
  const refusals = ({ publishers }: Scene) => publishers.flatMap(({ refused }) => refused)
  const unsent = ({ nodes }: Scene) => nodes.reduce((sum, { counters }) => sum + counters.streams.unsent, 0)

  for (const [how, begin, end] of [
    ['paused', (redis: RedisServer) => redis.pause(), (redis: RedisServer) => redis.resume()],
    ['killed', (redis: RedisServer) => redis.kill(), (redis: RedisServer) => redis.restart()],
    [
      'out of memory',
      (redis: RedisServer) => redis.command('CONFIG', 'SET', 'maxmemory', '1'),
      (redis: RedisServer) => redis.command('CONFIG', 'SET', 'maxmemory', '0'),
    ],
  ] as const) {
    it(`that is ${how}: entries wait, and are refused and counted after their time`, async t => {
      const scene = await start(t, { options: { keptWait: 1, redisTimeout: 10 } })
      await begin(scene.redis)
      await until(() => refusals(scene).length >= 2, 'refused entries')
      await end(scene.redis)
      await assertHealed(scene, false)
      for (const { ms, message } of refusals(scene)) {
        assert.ok(ms < 8000, `${ms}`)
        assert.match(message, /^not appended to "room": /)
      }
      assert.equal(unsent(scene), refusals(scene).length)
      for (const { streamGauges } of scene.nodes) assert.equal(streamGauges.waiting_bytes, 0)
    })
  }

  it('and away is "refuse": entries are refused at once', async t => {
    const scene = await start(t, { options: { keptAway: 'refuse' } })
    await scene.redis.kill()
    await until(() => refusals(scene).length > 50, 'refused entries')
    const quick = refusals(scene).filter(({ ms }) => ms < 100)
    assert.ok(quick.length > 40, `${quick.length} of ${refusals(scene).length}`)
    await scene.redis.restart()
    await assertHealed(scene, false)
    assert.equal(unsent(scene), refusals(scene).length)
  })

  it('and away is "live": clients of the node get entries at once, and all clients are informed', async t => {
    const scene = await start(t, { options: { keptAway: 'live' } })
    await scene.redis.kill()
    await until(() => scene.peers.every(({ live }) => live.length > 20), 'live messages')
    await scene.redis.restart()
    await assertHealed(scene, true)
  })

  it('the memory of entries that wait is bounded', async t => {
    const scene = await start(t, { options: { keptWait: 120 } })
    await Promise.all(scene.publishers.map(publisher => publisher.end()))
    const [node] = scene.nodes
    await scene.redis.kill()
    await until(() => node!.checks.sending === false, 'a lost connection')
    const mebibyte = 'x'.repeat(1_048_576)
    const outcomes: Promise<AppendOutcome | Error>[] = []
    for (let i = 0; i < 100; i++) outcomes.push(node!.append(TOPIC, mebibyte).catch(error => error))
    await until(() => node!.counters.streams.unsent > 0, 'refused entries')
    assert.ok(node!.streamGauges.waiting_bytes! <= 67_108_864)
    await scene.redis.restart()
    const errors = (await Promise.all(outcomes)).filter(outcome => outcome instanceof Error)
    assert.ok(errors.length >= 36, `${errors.length}`)
    for (const error of errors) assert.match(error.message, /bytes wait for the storage, at most 67108864$/)
    assert.equal(node!.streamGauges.waiting_bytes, 0)
  })

  it('a server that stops does not wait for it longer than --drain, and appends what it can', async t => {
    const scene = await start(t)
    const [ann, bob] = scene.nodes
    const last = ann!.append(TOPIC, 'last')
    await ann!.close()
    await last
    await until(() => scene.peers[3]!.payloads.includes('last'), 'the last entry')
    scene.redis.pause()
    const waiting = bob!.append(TOPIC, 'waiting').then(
      () => 'stored',
      ({ code }) => code,
    )
    const since = performance.now()
    await bob!.close()
    // Without the limit it would wait for 15 s.
    assert.ok(performance.now() - since < 10_000)
    assert.equal(await waiting, 'ERR_STORAGE')
    scene.redis.resume()
  })

  it('a lost subscriber connection is a gap, not an outage: the command connection stays ready', async t => {
    const scene = await start(t)
    const [node] = scene.nodes
    await scene.redis.command('ACL', 'SETUSER', 'default', '-subscribe')
    await scene.redis.command('CLIENT', 'KILL', 'TYPE', 'pubsub')
    const isDeaf = () => node!.checks.receiving === false && node!.checks.sending === true
    await until(isDeaf, 'a lost subscriber connection')
    await node!.append(TOPIC, 'meanwhile')
    await until(isDeaf, 'the command connection')
    await scene.redis.command('ACL', 'SETUSER', 'default', '+subscribe')
    await assertHealed(scene, false)
    assert.deepEqual(refusals(scene), [])
  })
})
