import assert from 'node:assert/strict'
import { after, describe, it } from 'node:test'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { pino } from 'pino'
import { createCounters } from '../../src/fanout/counters.ts'
import {
  type Announcement,
  type Append,
  type Appender,
  type Client,
  type Codec,
  DROP,
  type FilterModule,
  type Joined,
  type JoinOptions,
  type Position,
  type ReadRange,
  type Retention,
  type StreamListener,
  type StreamPage,
  type StreamRef,
  type Streams,
} from '../../src/index.ts'
import { Appends } from '../../src/streams/appends.ts'
import { KeptTopics } from '../../src/streams/kept-topics.ts'
import { Tail, TailBudget } from '../../src/streams/tail.ts'
import { type TestServer, testServer } from '../../src/testing/index.ts'
import { gate } from '../support/gate.ts'
import { openMemory } from '../support/memory-storage.ts'
import { until } from '../support/peer.ts'

const RETENTION: Retention = { size: 100, ttlMs: 60_000, full: 'trim' }
const codec: Codec = {
  name: 'numbered',
  encode: (payload, _, about) => (about?.position === undefined ? payload : `${about.position.offset} ${payload}`),
  lost: ({ position }, reason) => `lost up to ${position.offset}: ${reason}`,
}

type Test = { after(end: () => Promise<void> | void): void }

/** A server that keeps topics that begin with `kept`. */
async function serve(
  t: Test,
  {
    filters = [],
    options = {},
    retention = RETENTION,
  }: {
    filters?: readonly FilterModule[]
    options?: object
    retention?: Retention
  } = {},
): Promise<TestServer> {
  const keeps: FilterModule = {
    retain: topic => (topic.startsWith('kept') ? retention : undefined),
    open: client => {
      client.codec = codec
    },
  }
  const server = await testServer([...filters, keeps], { ...options })
  t.after(() => server.stop())
  return server
}

/** Runs a function within the message chain, in which a filter may hold the client. */
const runs: FilterModule = {
  message: (payload, client) => {
    if (payload === 'hold') client.hold()
    if (payload === 'admit') client.admit()
    if (payload === 'both') {
      client.hold()
      client.admit()
    }
    return DROP
  },
}

async function settle(server?: TestServer): Promise<void> {
  for (let i = 0; i < 50; i++) await nextTurn()
  server?.flush()
}

const joinAt = (client: Client, topic: string, after: JoinOptions['after']) => client.join(topic, { after })
const numbersOf = (received: readonly unknown[]) => received.map(payload => Number.parseInt(String(payload), 10))
const upTo = (n: number) => Array.from({ length: n }, (_, i) => i + 1)

/** Streams of storage `memory` whose calls and announcements a test can change. */
class Engine implements Streams {
  readonly inner: Streams = openMemory().streams!
  ready = true
  readonly held: Announcement[] = []
  holds = false
  listener!: StreamListener
  start(listener: StreamListener): void {
    this.listener = listener
    const announced = (news: Announcement) => (this.holds ? void this.held.push(news) : listener.announced(news))
    this.inner.start({ announced, interrupted: topics => listener.interrupted(topics) })
  }
  isReady(): boolean {
    return this.ready
  }
  async append(ref: StreamRef, appends: readonly Append[], appender: Appender) {
    return this.inner.append(ref, appends, appender)
  }
  async read(ref: StreamRef, range: ReadRange): Promise<StreamPage> {
    return this.inner.read(ref, range)
  }
  async tops(refs: readonly StreamRef[]): Promise<readonly Position[]> {
    return this.inner.tops(refs)
  }
  async trim(ref: StreamRef, upTo: Position) {
    await this.inner.trim(ref, upTo)
  }
  async remove(topic: string) {
    await this.inner.remove(topic)
  }
  listen(topic: string) {
    return this.inner.listen(topic)
  }
  ignore(topic: string) {
    this.inner.ignore(topic)
  }
  release(): void {
    this.holds = false
    for (const news of this.held.splice(0)) this.listener.announced(news)
  }
}

/** The kept topics of a node, with what its members get. */
function node(t: Test, engine: Engine, retention: Retention = RETENTION) {
  const got: string[] = []
  const members = new Set<string>()
  const counters = createCounters()
  const kept = new KeptTopics({
    streams: engine,
    instance: 'a-node',
    totals: counters.streams,
    drops: counters.drops,
    log: pino({ level: 'silent' }),
    retain: () => retention,
    deliver: (_, entry) => void got.push(String(entry.payload)),
    lose: (_, position, reason) => void got.push(`lost up to ${position.offset}: ${reason}`),
    hasMembers: topic => members.has(topic),
  })
  kept.start()
  t.after(() => kept.stop())
  const join = (topic: string, after: JoinOptions['after']) =>
    new Promise<Joined>(resolve => {
      const joined = (outcome: Joined) => {
        members.add(topic)
        resolve(outcome)
      }
      kept.join(kept.of(topic)!, { after, joined })
    })
  return { kept, got, join, totals: counters.streams, topic: kept.of('t')! }
}

/** Appends as another node does. */
function other(engine: Engine) {
  let call = 0
  return (payload: string, bounds = RETENTION) =>
    engine.inner.append({ topic: 't', bounds }, [{ entries: [{ payload }] }], { node: 'other', call: ++call })
}

/** The timers of the code under test do not keep the process alive. */
const alive = setInterval(() => {}, 1000)
after(() => clearInterval(alive))

describe('memory', () => {
  it('a tail holds what it counts', async () => {
    setFlagsFromString('--expose-gc')
    const gc = runInNewContext('gc') as () => void
    const budget = new TailBudget()
    const tail = new Tail(budget)
    gc()
    const before = process.memoryUsage().arrayBuffers
    for (let offset = 1; offset <= 200; offset++)
      tail.push({ offset, at: 0, origin: 'x', payload: Buffer.alloc(1_000_000) })
    // Memory is freed in the background.
    await until(() => {
      gc()
      return process.memoryUsage().arrayBuffers - before < 10_000_000
    }, `the memory, ${budget.bytes} bytes are counted`)
    assert.equal(tail.has(200), true)
  })

  it('keys and attributes that wait for the storage count', async t => {
    const engine = new Engine()
    engine.ready = false
    const { kept, topic } = node(t, engine)
    let refused = 0
    for (let i = 0; i < 100; i++)
      kept.append(topic, { entries: [{ payload: '' }], key: `${i}`.padEnd(1_000_000) }).catch(() => refused++)
    await settle()
    const { waiting_bytes: counted } = kept.gauges()
    assert.ok(refused > 0 || counted! > 50_000_000, `100 MB wait, ${counted} bytes are counted`)
  })

  it('a key that is no string is refused', async t => {
    const server = await serve(t)
    const { client } = await server.connect()
    await assert.rejects(client.publish('kept', 'x', { key: 7 as never }), { code: 'ERR_PAYLOAD' })
    for (const wrong of [{ key: 7 }, { set: { a: 1 } }, { when: { a: {} } }])
      await assert.rejects(server.server.append('kept', 'x', wrong as never), { code: 'ERR_PAYLOAD' })
    for (const wrong of [7, {}, null, undefined, [null], [{ payload: 7 }], ['a']])
      await assert.rejects(server.server.append('kept', wrong as never), { code: 'ERR_PAYLOAD' })
    assert.notEqual(String(server.server.storageMetrics.streams_bytes), 'NaN')
  })

  it('a topic is not followed after its last client has gone between two pages', async t => {
    const server = await serve(t, { options: { 'max-buffered': 10_000 } })
    for (let i = 1; i <= 50; i++) await server.server.append('kept', 'x'.repeat(1000))
    const ann = await server.connect()
    ann.client.codec = {
      ...codec,
      encode: payload => {
        queueMicrotask(() => ann.client.disconnect())
        return payload
      },
    }
    await joinAt(ann.client, 'kept', 'earliest').catch(() => {})
    await until(() => ann.closed !== undefined)
    await settle(server)
    assert.equal(server.server.streamGauges.followed, 0)
  })

  it('what waits for a storage that is away is refused without blocking the event loop', async t => {
    const engine = new Engine()
    engine.ready = false
    const { kept, topic } = node(t, engine, { ...RETENTION, waitMs: 1 })
    const refused = Array.from({ length: 20_000 }, () => kept.append(topic, { entries: [{ payload: '' }] }))
    const all = Promise.allSettled(refused)
    // Processor time, since other processes may have the cores.
    let longest = 0
    let last = process.cpuUsage()
    const timer = setInterval(() => {
      const { user, system } = process.cpuUsage(last)
      longest = Math.max(longest, (user + system) / 1000)
      last = process.cpuUsage()
    }, 1)
    await all
    await sleep(5)
    clearInterval(timer)
    assert.ok(longest < 1000, `blocked for ${longest} ms`)
  })
})

describe('bounds', () => {
  it('a call of the storage carries 1 MiB, unless its only entry is larger', async t => {
    const engine = new Engine()
    const { kept, topic } = node(t, engine)
    const sizes: number[] = []
    const append = engine.append.bind(engine)
    engine.append = async (ref, appends, appender) => {
      const entries = appends.flatMap(one => one.entries)
      sizes.push(entries.reduce((sum, { payload }) => sum + payload.length, 0))
      return append(ref, appends, appender)
    }
    const entries = Array.from({ length: 10 }, () => ({ payload: Buffer.alloc(1_000_000) }))
    await kept.append(topic, { entries }).catch(() => {})
    assert.ok(
      sizes.every(size => size <= 1_048_576),
      `${sizes} bytes in one call`,
    )
  })

  it('many clients that return far behind share the frames of each entry', async t => {
    const server = await serve(t, { retention: { ...RETENTION, size: 5000 } })
    for (let i = 0; i < 20; i++)
      await server.server.append(
        'kept',
        Array.from({ length: 200 }, () => ({ payload: 'x' })),
      )
    let encoded = 0
    const counting: Codec = {
      ...codec,
      encode: (...args) => {
        encoded++
        return codec.encode(...args)
      },
    }
    const clients: Client[] = []
    for (let i = 0; i < 100; i++) clients.push((await server.connect()).client)
    for (const client of clients) client.codec = counting
    const joined = clients.map((client, i) =>
      joinAt(client, 'kept', i % 2 === 0 ? 'earliest' : { epoch: '', offset: i }),
    )
    const recovered = (await Promise.all(joined)).filter(one => one.recovered)
    assert.deepEqual([recovered.length, recovered[0]!.entries.length], [50, 4000])
    assert.ok(encoded <= 4000, `${encoded} entries are encoded`)
  })
})

describe('order', () => {
  it('a read that is answered late does not move the cursor back', async t => {
    const engine = new Engine()
    const bounds = { ...RETENTION, size: 1 }
    const { kept, got, join } = node(t, engine, bounds)
    await join('t', 'now')
    await settle()
    const append = other(engine)
    engine.holds = true
    append('1', bounds)
    append('2', bounds)
    const { opened, open } = gate()
    const read = engine.read.bind(engine)
    engine.read = async (ref, range) => {
      const page = await read(ref, range)
      await opened
      return page
    }
    await kept.check()
    await settle()
    append('3', bounds)
    engine.release()
    assert.deepEqual(got, ['1', '2', '3'])
    open()
    await settle()
    assert.deepEqual(got, ['1', '2', '3'])
  })

  it('a client that is held and admitted between two pages gets each entry once, and its join has all of them', async t => {
    const retention = { ...RETENTION, size: 1000 }
    const server = await serve(t, { filters: [runs], options: { 'max-buffered': 20_000 }, retention })
    for (let i = 0; i < 10; i++)
      await server.server.append(
        'kept',
        Array.from({ length: 100 }, () => ({ payload: 'x'.repeat(50) })),
      )
    const ann = await server.connect()
    let isFirst = true
    ann.client.codec = {
      ...codec,
      encode: (payload, format, about) => {
        if (isFirst) queueMicrotask(() => void ann.say('both'))
        isFirst = false
        return codec.encode(payload, format, about)
      },
    }
    const joined = joinAt(ann.client, 'kept', 'earliest')
    await until(() => {
      server.flush()
      return ann.received.length === 1000
    })
    assert.deepEqual(
      (await joined).entries.map(({ offset }) => offset),
      upTo(1000),
    )
    assert.equal(server.server.counters.streams.recovered, 1)
    await server.server.append('kept', 'last')
    await until(() => {
      server.flush()
      return ann.received.some(payload => String(payload).endsWith('last'))
    })
    await settle(server)
    assert.deepEqual(numbersOf(ann.received), upTo(1001))
  })

  it('a join settles when the client is a member, also if its entries come in pages', async t => {
    const server = await serve(t, { options: { 'max-buffered': 10_000 } })
    for (let i = 1; i <= 50; i++) await server.server.append('kept', 'x'.repeat(1000))
    const ann = await server.connect()
    await joinAt(ann.client, 'kept', 'earliest')
    ann.client.send('joined')
    await until(() => {
      server.flush()
      return ann.received.length === 51
    })
    assert.equal(ann.received.at(-1), 'joined')
  })

  it('a join whose entries come in pages counts as one', async t => {
    const server = await serve(t, { options: { 'max-buffered': 10_000 } })
    for (let i = 1; i <= 50; i++) await server.server.append('kept', 'x'.repeat(1000))
    const ann = await server.connect()
    await joinAt(ann.client, 'kept', 'earliest')
    await until(() => {
      server.flush()
      return ann.received.length === 50
    })
    assert.equal(server.server.counters.streams.recovered, 1)
  })

  it('a join whose later pages are trimmed meanwhile gets all or nothing', async t => {
    const server = await serve(t, { options: { 'max-buffered': 10_000 } })
    for (let i = 1; i <= 50; i++) await server.server.append('kept', 'x'.repeat(1000))
    const { top } = await server.server.read('kept', { from: 'newest', entries: 1, bytes: 1 })
    const ann = await server.connect()
    let isFirst = true
    ann.client.codec = {
      ...codec,
      encode: (payload, format, about) => {
        if (isFirst) queueMicrotask(() => void server.server.trim('kept', top))
        isFirst = false
        return codec.encode(payload, format, about)
      },
    }
    const { recovered } = await joinAt(ann.client, 'kept', 'earliest')
    await settle(server)
    assert.deepEqual([recovered, ann.received.length], recovered ? [true, 50] : [false, 1])
  })

  it('a publish has the bytes of its Buffer at the call', async t => {
    const server = await serve(t)
    const ann = await server.connect()
    for (const topic of ['kept', 'other']) ann.client.join(topic)
    await settle(server)
    for (const topic of ['kept', 'other']) {
      const payload = Buffer.from('before')
      const published = ann.client.publish(topic, payload)
      payload.fill('-')
      await published
    }
    server.flush()
    assert.deepEqual(ann.received.map(String).sort(), ['1 before', 'before'])
  })
})

describe('joins', () => {
  it('an onJoined that throws does not keep the join of an unkept topic from settling', async t => {
    const server = await serve(t)
    const { client } = await server.connect()
    let settled = false
    const end = () => {
      settled = true
    }
    client.join('other', { after: 'now', onJoined: () => assert.fail('broken') }).then(end, end)
    await settle(server)
    assert.equal(settled, true)
  })

  it('an onJoined that throws does not keep a client from its other topics', async t => {
    const holds: FilterModule = { open: client => client.hold() }
    const server = await serve(t, { filters: [holds] })
    const ann = await server.connect()
    void ann.client.join('first', { after: 'now', onJoined: () => assert.fail('broken') }).catch(() => {})
    ann.client.join('second')
    try {
      ann.client.admit()
    } catch {}
    await settle(server)
    server.server.broadcast('hi', { topic: 'second' })
    server.flush()
    assert.deepEqual(ann.received, ['hi'])
  })

  it('a joiner that the answer of another cancels gets none', async t => {
    const { kept, topic } = node(t, new Engine())
    const answered: string[] = []
    const second = { after: 'now', joined: () => void answered.push('second') } as const
    const joined = () => {
      answered.push('first')
      kept.cancel('t', second)
    }
    kept.join(topic, { after: 'now', joined })
    kept.join(topic, second)
    await settle()
    assert.deepEqual(answered, ['first'])
  })

  it('a client that an onJoined of another disconnects does not stay in the topic', async t => {
    const server = await serve(t)
    const [ann, bob] = [await server.connect(), await server.connect()]
    const first = ann.client.join('kept', { after: 'now', onJoined: () => void bob.client.disconnect() })
    joinAt(bob.client, 'kept', 'now').catch(() => {})
    await first
    ann.client.leave('kept')
    await settle(server)
    assert.equal(server.server.streamGauges.followed, 0)
  })

  it('positions that are ahead do not keep others from an answer', async t => {
    const engine = new Engine()
    const { join } = node(t, engine)
    other(engine)('1')
    await join('t', 'now')
    await settle()
    const read = engine.read.bind(engine)
    let reads = 0
    engine.read = async (ref, range) => {
      await nextTurn()
      if (++reads < 500) void join('t', { epoch: 'garbage', offset: reads })
      return read(ref, range)
    }
    await join('t', { epoch: 'garbage', offset: 7 })
    assert.ok(reads < 10, `answered after ${reads} reads`)
  })

  it('a storage with older data is not read in a loop', async t => {
    const engine = new Engine()
    const retention = { ...RETENTION, size: 1000 }
    const { kept, join, topic } = node(t, engine, retention)
    const { position } = await join('t', 'now')
    await settle()
    for (let i = 0; i < 4; i++)
      await kept.append(topic, { entries: Array.from({ length: 200 }, () => ({ payload: 'x' })) })
    await settle()
    // As after a restart from a snapshot with the first 100 entries.
    const read = engine.read.bind(engine)
    let reads = 0
    engine.read = async (ref, range) => {
      await nextTurn()
      reads++
      const page = await read(ref, range)
      const after = 'after' in range ? range.after.offset : 0
      const top = { ...page.top, offset: 100 }
      if (after > 100) return { ...page, entries: [], top, lost: 'ahead' }
      return { ...page, entries: page.entries.filter(({ offset }) => offset <= 100), top }
    }
    // The fence of an append finds it, and begins a new epoch.
    engine.append = async (ref, appends, appender) => {
      engine.read = read
      engine.tops = async refs => engine.inner.tops(refs)
      await engine.inner.remove('t')
      return engine.inner.append(ref, appends, appender)
    }
    engine.tops = async refs => (await engine.inner.tops(refs)).map(top => ({ ...top, offset: 100 }))
    void join('t', { ...position!, offset: 3 })
    for (let i = 0; i < 500; i++) await nextTurn()
    await kept.check()
    for (let i = 0; i < 500; i++) await nextTurn()
    const before = reads
    for (let i = 0; i < 500; i++) await nextTurn()
    kept.stop()
    assert.ok(reads - before < 50, `${reads} reads`)
  })

  it('a join of @everyone, which is refused, does not change where a held client resumes', async t => {
    const everyone: FilterModule = { retain: topic => (topic === '@everyone' ? RETENTION : undefined) }
    const server = await serve(t, { filters: [everyone, runs] })
    const ann = await server.connect()
    await settle(server)
    await ann.say('hold')
    await joinAt(ann.client, '@everyone', 'now').catch(() => {})
    await server.server.append('@everyone', 'missed')
    await ann.say('admit')
    await settle(server)
    assert.deepEqual(ann.received, ['1 missed'])
  })

  it('the right to read is asked with the identity at delivery', async t => {
    const permit: FilterModule['permit'] = ({ action }, client) => action !== 'read' || client.identity === 'ann'
    const server = await serve(t, { filters: [{ permit }, runs] })
    await server.server.append('kept', 'secret')
    const ann = await server.connect()
    ann.client.identity = 'ann'
    await ann.say('hold')
    joinAt(ann.client, 'kept', 'earliest').catch(() => {})
    ann.client.identity = 'eve'
    await ann.say('admit')
    await settle(server)
    assert.ok(!ann.received.includes('1 secret'), String(ann.received))
  })

  it('an onJoined that rejects is reported, and does not end the process', async t => {
    const server = await serve(t)
    const { client } = await server.connect()
    let unhandled = 0
    const listeners = process.listeners('unhandledRejection')
    process.removeAllListeners('unhandledRejection')
    process.on('unhandledRejection', () => unhandled++)
    try {
      await client.join('kept', { after: 'now', onJoined: async () => assert.fail('broken') })
      await settle(server)
    } finally {
      process.removeAllListeners('unhandledRejection')
      for (const listener of listeners) process.on('unhandledRejection', listener)
    }
    assert.equal(unhandled, 0)
  })
})

describe('storage away', () => {
  it('an append is refused in time behind a fence', async t => {
    const engine = new Engine()
    engine.ready = false
    const { topic, totals } = node(t, engine, { ...RETENTION, waitMs: 50 })
    const appends = new Appends({ streams: engine, instance: 'x', totals, maxBytes: 1e6, cursorOf: () => undefined })
    t.after(() => appends.stop())
    appends.fence(topic, { epoch: 'x', offset: 1 }).catch(() => {})
    const appended = appends.append(topic, { entries: [{ payload: 'x' }] }).then(String, String)
    const outcome = await Promise.race([appended, sleep(30_000, 'waits', { ref: false })])
    assert.match(outcome, /not appended/)
  })

  it('a node that has stopped does not call the storage', async t => {
    const engine = new Engine()
    engine.ready = false
    let tops = 0
    engine.tops = async () => {
      tops++
      throw new Error('away')
    }
    const { kept, topic } = node(t, engine, { ...RETENTION, away: 'live' })
    kept.broadcast(topic, { payload: 'x' })
    await settle()
    kept.stop()
    const before = tops
    await sleep(1200)
    assert.equal(tops, before)
  })

  it('a node that has stopped refuses an append at once while the storage is away', async t => {
    const engine = new Engine()
    engine.ready = false
    const { kept, topic, totals } = node(t, engine)
    kept.stop()
    let error: { code?: string } = {}
    kept.append(topic, { entries: [{ payload: 'x' }] }).catch(reason => {
      error = reason
    })
    await nextTurn()
    assert.deepEqual([error.code, totals.unsent], ['ERR_STORAGE', 1])
  })

  it('disconnects while appends wait cost no more than both', async t => {
    const engine = new Engine()
    engine.ready = false
    const { kept, topic } = node(t, engine, { ...RETENTION, waitMs: 60_000 })
    for (let i = 0; i < 2000; i++) kept.broadcast(topic, { payload: '' })
    const before = process.cpuUsage()
    const settled = Array.from({ length: 200 }, () => kept.settled())
    await nextTurn()
    const { user, system } = process.cpuUsage(before)
    const ms = (user + system) / 1000
    assert.equal(settled.length, 200)
    assert.ok(
      ms < 200,
      `200 disconnects with 2,000 appends under way take ${ms} ms, ${process.memoryUsage().heapUsed >> 20} MiB`,
    )
  })

  it('counts each entry that is refused', async t => {
    const engine = new Engine()
    engine.ready = false
    const { topic, totals } = node(t, engine)
    const appends = new Appends({ streams: engine, instance: 'x', totals, maxBytes: 300, cursorOf: () => undefined })
    t.after(() => appends.stop())
    appends.append(topic, { entries: [{ payload: 'x' }] }).catch(() => {})
    const entries = Array.from({ length: 10 }, () => ({ payload: 'x' }))
    await assert.rejects(appends.append(topic, { entries }), { code: 'ERR_LIMIT' })
    assert.equal(totals.unsent, 10)
  })
})

describe('storage memory', () => {
  it('more topics with members than --memory-streams-topics lose nothing without an append', async t => {
    const server = await serve(t, { options: { 'memory-streams-topics': 10 } })
    const ann = await server.connect()
    for (let i = 0; i < 20; i++) {
      ann.client.join(`kept${i}`)
      await settle(server)
    }
    const { kept } = server.server as unknown as { kept: KeptTopics }
    for (let i = 0; i < 3; i++) {
      await kept.check()
      await settle(server)
    }
    assert.deepEqual({ ...server.server.counters.streams.lost }, {})
  })

  it('joins of empty topics do not evict the entries of others', async t => {
    const server = await serve(t, { options: { 'memory-streams-topics': 10 } })
    await server.server.append('kept', 'valuable')
    const ann = await server.connect()
    for (let i = 0; i < 20; i++) ann.client.join(`kept${i}`)
    await settle(server)
    const page = await server.server.read('kept', { from: 'oldest', entries: 1, bytes: 100 })
    assert.equal(page.entries.length, 1)
  })
})
