import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Payload } from '../../src/contract/payload.ts'
import type { Sets, Values } from '../../src/contract/storage.ts'
import type { Announcement, Append, Position, StreamBounds, Streams } from '../../src/contract/streams.ts'
import { openMemory } from '../support/memory-storage.ts'

const NOW = Date.UTC(2026, 0, 1)
/** The longest time that one timer of Node can wait. */
const MAX_TIMER = 2 ** 31 - 1

type Now<T> = {
  [K in keyof T]: T[K] extends (...args: infer A) => infer R ? (...args: A) => Exclude<R, PromiseLike<unknown>> : T[K]
}

/** The storage, which returns values synchronously. */
function memory(streams: { readonly bytes?: number; readonly topics?: number } = {}) {
  const storage = openMemory({
    'memory-channels': ['global', 'more'],
    ...(streams.bytes !== undefined && { 'memory-streams-bytes': streams.bytes }),
    ...(streams.topics !== undefined && { 'memory-streams-topics': streams.topics }),
  })
  return {
    storage,
    sets: storage.sets as Now<Sets>,
    values: storage.values as Now<Values>,
    streams: storage.streams as Now<Streams>,
  }
}

describe('memory storage', () => {
  it('has all capabilities, and the channels of its option', () => {
    const { storage } = memory()
    assert.ok(storage.sets && storage.values && storage.bus && storage.streams)
    assert.deepEqual(storage.channels, ['global', 'more'])
  })

  it('gives each subscriber its own copy of a Buffer', async () => {
    const { storage } = memory()
    const received: Payload[] = []
    for (let i = 0; i < 2; i++) {
      await storage.bus!.subscribe('c', payload => {
        received.push(String(payload))
        if (typeof payload !== 'string') payload.fill(0)
      })
    }
    const sent = Buffer.from('data')
    await storage.bus!.publish('c', sent)
    assert.deepEqual([...received, String(sent)], ['data', 'data', 'data'])
  })

  it('two of them share nothing', () => {
    const [one, two] = [memory(), memory()]
    one.sets.add('k', 'm')
    one.values.set('k', 'v')
    assert.deepEqual([two.sets.get('k'), two.values.get('k')], [new Set(), undefined])
  })
})

describe('memory values', () => {
  it('expire to the millisecond', t => {
    t.mock.timers.enable({ apis: ['Date', 'setTimeout'], now: NOW })
    const { values } = memory()
    values.set('k', 'v', { ttlMs: 1000 })
    t.mock.timers.tick(999)
    assert.equal(values.get('k'), 'v')
    t.mock.timers.tick(1)
    assert.equal(values.get('k'), undefined)
  })

  it('expire on time also with a late timer', t => {
    t.mock.timers.enable({ apis: ['Date'], now: NOW })
    const { values } = memory()
    values.set('k', 'v', { ttlMs: 60_000 })
    t.mock.timers.tick(60_000)
    assert.equal(values.take('k'), undefined)
    assert.equal(values.set('k', 'w', { ifAbsent: true }), true)
    assert.equal(values.increment('count', 1, 1000), 1)
    t.mock.timers.tick(1000)
    assert.equal(values.increment('count', 1, 1000), 1)
  })

  it('live longer than a timer can wait', t => {
    t.mock.timers.enable({ apis: ['Date', 'setTimeout'], now: NOW })
    const { values } = memory()
    values.set('k', 'v', { ttlMs: 3 * MAX_TIMER })
    for (let i = 0; i < 2; i++) {
      t.mock.timers.tick(MAX_TIMER)
      assert.equal(values.get('k'), 'v')
    }
    t.mock.timers.tick(MAX_TIMER - 1)
    assert.equal(values.get('k'), 'v')
    t.mock.timers.tick(1)
    assert.equal(values.get('k'), undefined)
  })

  it('never set a longer timer than Node supports, which would fire after a millisecond', t => {
    const asked: number[] = []
    t.mock.method(globalThis, 'setTimeout', (_: () => void, ms: number) => {
      asked.push(ms)
      return { unref() {} }
    })
    memory().values.set('k', 'v', { ttlMs: 10 * MAX_TIMER })
    assert.deepEqual(asked, [MAX_TIMER])
  })

  it('with a longer time to live expire also without a read: their timer is renewed', t => {
    t.mock.timers.enable({ apis: ['Date', 'setTimeout'], now: NOW })
    const setTimer = t.mock.method(globalThis, 'setTimeout')
    memory().values.set('k', 'v', { ttlMs: 2 * MAX_TIMER + 500 })
    for (let i = 0; i < 3; i++) t.mock.timers.tick(MAX_TIMER)
    assert.deepEqual(
      setTimer.mock.calls.map(({ arguments: [, ms] }) => ms),
      [MAX_TIMER, MAX_TIMER, 500],
    )
  })

  it('a value that is set again has its own time: the timer of the former does not end it', t => {
    t.mock.timers.enable({ apis: ['Date', 'setTimeout'], now: NOW })
    const { values } = memory()
    values.set('k', 'old', { ttlMs: 1000 })
    t.mock.timers.tick(900)
    values.set('k', 'new', { ttlMs: 1000 })
    t.mock.timers.tick(900)
    assert.equal(values.get('k'), 'new')
    t.mock.timers.tick(100)
    assert.equal(values.get('k'), undefined)
  })

  it('an increment keeps the remaining time, or none', t => {
    t.mock.timers.enable({ apis: ['Date', 'setTimeout'], now: NOW })
    const { values } = memory()
    values.increment('window', 1, 1000)
    values.set('ever', '1')
    values.increment('ever', 1, 1000)
    t.mock.timers.tick(900)
    assert.equal(values.increment('window', 1, 1000), 2)
    t.mock.timers.tick(100)
    assert.deepEqual([values.get('window'), values.get('ever')], [undefined, '2'])
  })

  it('an increment past the safe integers is refused, and does not change the value', () => {
    const { values } = memory()
    values.set('k', String(Number.MAX_SAFE_INTEGER))
    assert.throws(() => values.increment('k'), {
      name: 'TypeError',
      message: 'value "k" is not an integer that can be increased by 1',
    })
    assert.throws(() => values.increment('other', 0.5), TypeError)
    assert.deepEqual([values.get('k'), values.get('other')], [String(Number.MAX_SAFE_INTEGER), undefined])
  })

  it('only decimal digits are an integer: not a space, a hexadecimal, an exponent', () => {
    const { values } = memory()
    for (const text of ['', ' ', '1.5', '0x10', '1e3']) {
      values.set('k', text)
      assert.throws(() => values.increment('k'), TypeError, JSON.stringify(text))
    }
  })

  it('close ends their timers', t => {
    const { storage, values } = memory()
    const cleared = t.mock.method(globalThis, 'clearTimeout')
    values.set('a', 'v', { ttlMs: 60_000 })
    values.set('b', 'v', { ttlMs: 60_000 })
    const before = cleared.mock.callCount()
    storage.close!()
    const ended = cleared.mock.calls.slice(before).filter(({ arguments: [timer] }) => timer !== undefined)
    assert.equal(ended.length, 2)
    assert.equal(values.get('a'), undefined)
  })
})

describe('memory bus', () => {
  it('delivers before publish returns, in the order of subscribing', () => {
    const { storage } = memory()
    const order: unknown[] = []
    for (const name of ['one', 'two']) storage.bus!.subscribe('c', payload => order.push([name, payload]))
    storage.bus!.publish('c', 'x')
    order.push('published')
    assert.deepEqual(order, [['one', 'x'], ['two', 'x'], 'published'])
  })

  it('a subscription that ends during a delivery does not get the event', () => {
    const { storage } = memory()
    const received: Payload[] = []
    let stop = () => {}
    storage.bus!.subscribe('c', () => stop())
    stop = storage.bus!.subscribe('c', payload => received.push(payload)) as () => void
    storage.bus!.publish('c', 'x')
    assert.deepEqual(received, [])
  })
})

describe('memory streams', () => {
  const BOUNDS: StreamBounds = { size: 1_000_000, ttlMs: 60_000, full: 'trim' }
  const ALL = { from: 'oldest', entries: 1_000_000, bytes: 1e9 } as const
  let calls = 0
  const say = (streams: Now<Streams>, topic: string, payload: Payload, bounds = BOUNDS) =>
    streams.append({ topic, bounds }, [{ entries: [{ payload }] }], { node: 'n', call: ++calls })
  const top = (streams: Now<Streams>, topic: string) => streams.tops([{ topic, bounds: BOUNDS }])[0]!
  const used = (streams: ReturnType<typeof memory>) => streams.storage.metrics!().streams_bytes!

  it('announce before append returns, in order, also if the listener appends', () => {
    const { streams } = memory()
    const order: unknown[] = []
    streams.start({
      announced({ top: { offset } }: Announcement) {
        order.push(offset)
        if (offset < 3) say(streams, 't', 'more')
        order.push(`${offset} done`)
      },
      interrupted: () => {},
    })
    streams.listen('t')
    say(streams, 't', 'first')
    order.push('appended')
    assert.deepEqual(order, [1, '1 done', 2, '2 done', 3, '3 done', 'appended'])
  })

  it('hold at most --memory-streams-bytes: the stream without an append for the longest time is deleted whole', () => {
    const opened = memory({ bytes: 1_048_576 })
    const { streams } = opened
    const before = ['a', 'b', 'c'].map(topic => top(streams, topic))
    for (const topic of ['a', 'b', 'c', 'a']) say(streams, topic, Buffer.alloc(200_000))
    const epochs = () => ['a', 'b', 'c'].map((topic, i) => top(streams, topic).epoch === before[i]!.epoch)
    assert.deepEqual(epochs(), [true, true, true])
    say(streams, 'c', Buffer.alloc(300_000))
    assert.ok(used(opened) <= 1_048_576)
    assert.deepEqual(epochs(), [true, false, true])
    assert.equal(opened.storage.metrics!().streams_evicted_total, 1)
  })

  it('a stream that is larger than all may hold keeps its newest entries, or refuses', () => {
    const opened = memory({ bytes: 1_048_576 })
    const { streams } = opened
    for (let i = 0; i < 30; i++) {
      say(streams, 'a', String(i).padEnd(100_000))
      assert.ok(used(opened) <= 1_048_576)
    }
    const { entries, floor } = streams.read({ topic: 'a', bounds: BOUNDS }, ALL)
    assert.deepEqual([entries.length, entries.at(-1)!.offset, floor.offset], [10, 30, 20])
    const refused = Array.from({ length: 12 }, () =>
      say(streams, 'b', 'x'.repeat(100_000), { ...BOUNDS, full: 'refuse' }),
    )
    assert.deepEqual(
      refused.map(([outcome]) => 'refused' in outcome!),
      [...Array(10).fill(false), true, true],
    )
    assert.equal(streams.read({ topic: 'b', bounds: BOUNDS }, ALL).floor.offset, 0)
    say(streams, 'c', 'x'.repeat(2_000_000))
    assert.deepEqual(streams.read({ topic: 'c', bounds: BOUNDS }, ALL).entries, [])
    assert.ok(used(opened) <= 1_048_576)
  })

  it('streams that refuse entries, and have some, are not deleted for others: further entries are refused', () => {
    const opened = memory({ bytes: 1_048_576 })
    const { streams } = opened
    const queue = { ...BOUNDS, full: 'refuse' } as const
    const payload = Buffer.alloc(100_000)
    const isFull = (topic: string) => 'refused' in say(streams, topic, payload, queue)[0]!
    const offsets = (topic: string, bounds = BOUNDS) =>
      streams.read({ topic, bounds }, ALL).entries.map(({ offset }) => offset)
    say(streams, 'trim', payload)
    assert.deepEqual(['a', 'b', 'c', 'a', 'b', 'c', 'a', 'b', 'c', 'a', 'd'].map(isFull), [
      ...Array(10).fill(false),
      true,
    ])
    for (const topic of ['trim', 'other']) {
      say(streams, topic, payload)
      assert.deepEqual(offsets(topic), [])
      say(streams, topic, 'small')
    }
    assert.deepEqual(offsets('other'), [2])
    assert.ok(used(opened) <= 1_048_576)
    assert.deepEqual(
      [offsets('a', queue), offsets('b', queue)],
      [
        [1, 2, 3, 4],
        [1, 2, 3],
      ],
    )
    streams.trim({ topic: 'a', bounds: queue }, { ...top(streams, 'a'), offset: 4 })
    assert.equal(isFull('d'), false)
  })

  it('streams that refuse entries are at most --memory-streams-topics', () => {
    const opened = memory({ topics: 3 })
    const { streams } = opened
    const queue = { ...BOUNDS, full: 'refuse' } as const
    const isFull = (topic: string) => 'refused' in say(streams, topic, 'x', queue)[0]!
    assert.deepEqual(['a', 'b', 'c', 'd', 'a', 'e'].map(isFull), [false, false, false, true, false, true])
    for (let i = 0; i < 20; i++) top(streams, `read${i}`)
    assert.ok(opened.storage.metrics!().streams_topics! <= 5)
    streams.trim({ topic: 'a', bounds: queue }, { ...streams.read({ topic: 'a', bounds: queue }, ALL).top })
    assert.deepEqual(['d', 'a'].map(isFull), [false, true])
  })

  it('keys, attributes and calls count', () => {
    const opened = memory({ bytes: 1_048_576 })
    const appends = (i: number): Append[] => [{ entries: [], key: `${i}`.padEnd(10_000), set: { [`${i}`]: 'x' } }]
    for (let i = 0; i < 1000; i++) {
      opened.streams.append({ topic: 't', bounds: BOUNDS }, appends(i), { node: `${i}`, call: 1 })
      assert.ok(used(opened) <= 1_048_576)
    }
  })

  it('bytes are those that are held, back at the start when all is deleted', () => {
    const opened = memory()
    const { streams } = opened
    top(streams, 't')
    const empty = used(opened)
    for (const set of [{ a: '1', b: '2' }, { a: 'longer' }, { b: null, none: null }])
      streams.append({ topic: 't', bounds: BOUNDS }, [{ entries: [{ payload: 'x' }], key: set.a ?? 'k', set }], {
        node: 'n',
        call: ++calls,
      })
    streams.remove('t')
    const call = used(opened) - empty
    say(streams, 't', 'x')
    streams.trim({ topic: 't', bounds: BOUNDS }, top(streams, 't'))
    assert.equal(used(opened) - empty, call)
    opened.storage.close!()
    assert.equal(used(opened), 0)
  })

  it('are at most --memory-streams-topics, also if they are only read', () => {
    const opened = memory({ topics: 3 })
    const { streams } = opened
    const epochs = ['a', 'b', 'c', 'd'].map(topic => top(streams, topic).epoch)
    assert.equal(opened.storage.metrics!().streams_topics, 3)
    assert.deepEqual(
      ['b', 'c', 'd'].map(topic => top(streams, topic).epoch),
      epochs.slice(1),
    )
    assert.notEqual(top(streams, 'a').epoch, epochs[0])
  })

  it('expired entries and unused streams leave the memory without being used', async t => {
    t.mock.timers.enable({ apis: ['Date', 'setInterval'], now: NOW })
    const opened = memory()
    const { streams } = opened
    const bounds = { ...BOUNDS, ttlMs: 5000 }
    say(streams, 'a', 'x'.repeat(1000), bounds)
    say(streams, 'b', 'x'.repeat(1000), { ...bounds, ttlMs: 1e12 })
    const before = used(opened)
    const pass = async (ms: number) => {
      t.mock.timers.tick(ms)
      await new Promise(setImmediate)
    }
    await pass(4000)
    assert.equal(used(opened), before)
    await pass(1000)
    const expired = before - used(opened)
    assert.ok(expired > 1000 && expired < 2000, String(expired))
    const { epoch } = top(streams, 'a')
    for (let hour = 0; hour < 3; hour++) {
      await pass(3_590_000)
      assert.equal(top(streams, 'a').epoch, epoch)
    }
    await pass(3_600_000)
    await pass(2000)
    assert.equal(opened.storage.metrics!().streams_topics, 1)
  })

  it('a key is used for 10 minutes', t => {
    t.mock.timers.enable({ apis: ['Date'], now: NOW })
    const { streams } = memory()
    const append = () =>
      streams.append({ topic: 't', bounds: BOUNDS }, [{ entries: [{ payload: 'x' }], key: 'k' }], {
        node: 'n',
        call: ++calls,
      })[0] as { position: Position }
    assert.equal(append().position.offset, 1)
    t.mock.timers.tick(599_999)
    assert.equal(append().position.offset, 1)
    t.mock.timers.tick(1)
    assert.equal(append().position.offset, 2)
  })

  it('100,000 appends to a full stream take time in proportion', () => {
    const { streams } = memory()
    const bounds = { ...BOUNDS, size: 50_000 }
    for (let i = 0; i < 100_000; i++) say(streams, 't', 'x', bounds)
    assert.deepEqual(
      streams
        .read({ topic: 't', bounds }, { from: 'newest', entries: 2, bytes: 100 })
        .entries.map(({ offset }) => offset),
      [99_999, 100_000],
    )
  })
})
