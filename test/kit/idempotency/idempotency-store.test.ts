import assert from 'node:assert/strict'
import { syncBuiltinESMExports } from 'node:module'
import { afterEach, describe, it, type TestContext } from 'node:test'
import timers, { setTimeout as sleep } from 'node:timers/promises'
import type { Streams } from '../../../src/index.ts'
import type { IdempotencyStore } from '../../../src/kit/idempotency/idempotency-store.ts'
import { IdempotencyError, type Sender } from '../../../src/kit/idempotency/sender.ts'
import { DelayedStreams } from '../../../src/testing/index.ts'
import { IdempotencyNode, type StoreOptions, topicOf } from '../../support/idempotency-node.ts'
import { openMemory } from '../../support/memory-storage.ts'
import { until } from '../../support/peer.ts'

const WINDOW = 4
const answered = (n: number) =>
  new IdempotencyError('answered', `request ${n} is done and answered, and its answer is not kept`)

/** Counts the runs, with the value of `repeated`. */
function counting(outcome: unknown = 'done') {
  const runs: boolean[] = []
  const run = (repeated: boolean) => {
    runs.push(repeated)
    return outcome
  }
  return { runs, run }
}

/** A request that runs until it is ended. */
function slow() {
  let end = (_: unknown) => {}
  const outcome = new Promise(resolve => {
    end = resolve
  })
  return { run: () => outcome, end }
}

/** Another time of `performance.now`. */
const turn = () => sleep(1)

/** Pauses are a thousand times as short during the test. */
function hurry(t: TestContext): void {
  const { setTimeout } = timers
  const replace = (one: unknown) => {
    Object.assign(timers, { setTimeout: one })
    syncBuiltinESMExports()
  }
  replace((ms = 0, ...rest: never[]) => setTimeout(ms / 1000, ...rest))
  t.after(() => replace(setTimeout))
}

const engines = {
  'that answers at once': () => openMemory().streams!,
  'behind a network': () => new DelayedStreams(openMemory().streams!, { seed: 5 }),
} as const

describe('IdempotencyStore', () => {
  const nodes: IdempotencyNode[] = []
  afterEach(() => {
    for (const node of nodes.splice(0)) node.stop()
  })

  function nodeOf(streams: Streams, options?: StoreOptions, dead?: ReadonlySet<string>): IdempotencyNode {
    const node = new IdempotencyNode(streams, dead, options)
    nodes.push(node)
    return node
  }

  /** Several nodes, of which those in `dead` are dead. */
  function cluster(count: number, options?: StoreOptions) {
    const dead = new Set<string>()
    const first = new DelayedStreams(openMemory().streams!, { seed: 9 })
    const streams = Array.from({ length: count }, (_, i) => (i === 0 ? first : first.node()))
    return { dead, streams, nodes: streams.map(one => nodeOf(one, options, dead)) }
  }

  for (const [name, open] of Object.entries(engines)) {
    describe(`with a storage ${name}`, () => {
      it('runs a request once, and gives a resend the outcome', async () => {
        const { store } = nodeOf(open())
        const { runs, run } = counting({ a: [1, 'ü', null] })
        for (let i = 0; i < 3; i++)
          assert.deepEqual(await store.enter('a', 'e').once(1, i > 0, run), { a: [1, 'ü', null] })
        assert.deepEqual(runs, [false])
      })

      it('uses a slot again; the earlier request of the slot was answered', async () => {
        const sender = nodeOf(open()).store.enter('a', 'e')
        const { runs, run } = counting()
        for (const n of [1, 2, 3, 4, 1 + WINDOW]) assert.equal(await sender.once(n, false, run), 'done')
        await assert.rejects(sender.once(1, true, run), answered(1))
        assert.equal(await sender.once(2, true, run), 'done')
        assert.equal(runs.length, 5)
      })

      it('keeps outcomes of up to 65,536 characters that JSON can represent', async () => {
        const streams = open()
        const sender = nodeOf(streams).store.enter('a', 'e')
        const loop: unknown[] = []
        loop.push(loop)
        const kept = [null, 0, 'x'.repeat(1022), 'x'.repeat(1023), 'x'.repeat(65_534)]
        const lost = ['x'.repeat(65_535), loop, undefined, 1n]
        for (const outcome of [...kept, ...lost]) {
          const n = WINDOW * 7 + 1
          const one = nodeOf(streams).store.enter('b', String(typeof outcome) + String(outcome).length)
          assert.equal(await one.once(n, false, () => outcome), outcome)
          if (kept.includes(outcome as never)) assert.equal(await one.once(n, true, () => 'again'), outcome)
          else
            await assert.rejects(
              one.once(n, true, () => 'again'),
              answered(n),
            )
        }
        // A short outcome replaces a long one of the same slot.
        await sender.once(1, false, () => kept[3])
        await sender.once(1 + WINDOW, false, () => 'short')
        const other = nodeOf(streams).store.enter('a', 'e')
        assert.equal(await other.once(1 + WINDOW, true, () => 'again'), 'short')
      })

      it('keeps the record of the later request of a slot if the earlier one ends late', async () => {
        const node = nodeOf(open())
        const sender = node.store.enter('a', 'e')
        const first = slow()
        const late = sender.once(1, false, first.run)
        await until(async () => (await node.attributesOf('a', 'e')).n1 !== undefined)
        await sender.once(1 + WINDOW, false, () => 'later')
        first.end('late')
        assert.equal(await late, 'late')
        assert.equal(await sender.once(1 + WINDOW, true, () => 'again'), 'later')
      })

      it('rejects with the error of a request, which runs again with repeated', async () => {
        const sender = nodeOf(open()).store.enter('a', 'e')
        await assert.rejects(
          sender.once(1, false, () => Promise.reject(new Error('no'))),
          new Error('no'),
        )
        const { runs, run } = counting()
        assert.equal(await sender.once(1, true, run), 'done')
        assert.deepEqual(runs, [true])
      })

      it('runs a request with a key once', async () => {
        const { store } = nodeOf(open(), { window: 1 })
        const { runs, run } = counting()
        const outcomes = await Promise.all([store.once('ann', 'k', run), store.once('ann', 'k', run)])
        assert.deepEqual([...outcomes, await store.once('ann', 'k', run)], ['done', 'done', 'done'])
        await store.once('bob', 'k', run)
        assert.deepEqual(runs, [false, false])
      })

      it('limits the keys of an id only by the number of senders, and runs an evicted one with repeated', async () => {
        const { store } = nodeOf(open(), { maxSenders: 20 })
        const { runs, run } = counting()
        const send = async (from: number, to: number) => {
          for (let key = from; key <= to; key++) await store.once('ann', `${key}`, run)
          return runs.splice(0)
        }
        assert.deepEqual(await send(1, 20), Array(20).fill(false))
        assert.deepEqual(await send(1, 20), [])
        assert.deepEqual(await send(21, 22), [false, false])
        assert.deepEqual(await send(1, 2), [true, true])
      })

      it('does not expect records of requests of the window after the storage has lost them', async () => {
        const streams = open()
        const sender = nodeOf(streams).store.enter('a', 'e')
        await sender.once(2, false, () => 'before')
        await streams.remove(topicOf('a', 'e'))
        await sender.once(3, true, () => 'after')
        // Sent before 2, and late.
        await sender.once(1, false, () => 'after')
        const { runs, run } = counting()
        for (const n of [2, 1 + WINDOW]) await nodeOf(streams).store.enter('a', 'e').once(n, true, run)
        assert.deepEqual(runs, [true, false])
      })

      it('runs every resend with repeated after the storage has lost the records', async () => {
        const streams = open()
        const sender = nodeOf(streams).store.enter('a', 'e')
        await sender.once(1, false, () => 'before')
        await streams.remove(topicOf('a', 'e'))
        const other = nodeOf(streams).store.enter('a', 'e')
        const { runs, run } = counting()
        // Whether they have run is unknown.
        for (const n of [1, 2]) await other.once(n, true, run)
        await other.once(3, false, run)
        // All from 3 on are recorded.
        await other.once(4, true, run)
        await other.once(1, true, run)
        assert.deepEqual(runs, [true, true, false, false])
      })
    })
  }

  it('shares the outcome of a request under way', async () => {
    const sender = nodeOf(openMemory().streams!).store.enter('a', 'e')
    const first = slow()
    const outcomes = [sender.once(1, false, first.run), sender.once(1, true, counting().run)]
    first.end('first')
    assert.deepEqual(await Promise.all(outcomes), ['first', 'first'])
  })

  it('runs a request once that comes to several nodes at the same time', async () => {
    const { nodes } = cluster(3)
    for (const n of [1, 2]) await nodes[0]!.store.enter('a', 'e').once(n, false, () => 'before')
    for (const n of [1 + WINDOW, 2 + WINDOW]) {
      const { runs, run } = counting(n)
      const senders = nodes.map(({ store }) => store.enter('a', 'e'))
      const all = await Promise.all(senders.flatMap(sender => [1, 2].map(() => sender.once(n, true, run))))
      assert.deepEqual(all, Array(6).fill(n))
      assert.deepEqual(runs, [false])
    }
  })

  it('waits for a node that lives; when it is dead, exactly one runs the request again with repeated', async () => {
    const { dead, nodes } = cluster(3)
    const [a, b, c] = nodes.map(({ store }) => store.enter('a', 'e')) as [Sender, Sender, Sender]
    const first = slow()
    void a.once(1, false, first.run)
    await until(async () => (await nodes[0]!.attributesOf('a', 'e')).n1 !== undefined)
    const { runs, run } = counting('again')
    const outcomes = [b, c].map(sender => sender.once(1, true, run))
    await until(async () => (await nodes[1]!.store.enter('other', 'e').once(1, false, () => true)) === true)
    assert.deepEqual(runs, [])
    dead.add(nodes[0]!.id)
    assert.deepEqual(await Promise.all(outcomes), ['again', 'again'])
    assert.deepEqual(runs, [true])
    // The node was only paused: its outcome does not replace the one that was answered.
    first.end('late')
    await a.once(2, false, () => null)
    assert.equal((await nodes[0]!.attributesOf('a', 'e')).n1, '1 ="again"')
  })

  it('gets the outcome of a node that lives when it ends', async () => {
    const { nodes } = cluster(2)
    const [a, b] = nodes.map(({ store }) => store.enter('a', 'e')) as [Sender, Sender]
    const first = slow()
    void a.once(1, false, first.run)
    await until(async () => (await nodes[0]!.attributesOf('a', 'e')).n1 !== undefined)
    const outcome = b.once(1, true, counting().run)
    first.end('first')
    assert.equal(await outcome, 'first')
  })

  it('does not wait for another node without a connection', async () => {
    const { nodes } = cluster(2)
    const [a, b] = nodes.map(({ store }) => store.enter('a', 'e')) as [Sender, Sender]
    void a.once(1, false, slow().run)
    await until(async () => (await nodes[0]!.attributesOf('a', 'e')).n1 !== undefined)
    const outcome = b.once(1, true, counting().run)
    b.leave()
    const gone = new IdempotencyError('gone', 'the sender has disconnected while another node runs request 1')
    await assert.rejects(outcome, gone)
  })

  it('does not run what it cannot record', async () => {
    const { nodes, streams } = cluster(1)
    const [node] = nodes as [IdempotencyNode]
    const sender = node.store.enter('a', 'e')
    streams[0]!.away = 'rejects'
    const { runs, run } = counting()
    await assert.rejects(sender.once(1, false, run), {
      code: 'unavailable',
      message: 'request 1 cannot be recorded in the storage, try again later',
    })
    streams[0]!.away = undefined
    assert.equal(await sender.once(1, true, run), 'done')
    assert.deepEqual(runs, [true])
    assert.ok(node.failures.length > 0)
  })

  it('runs a request again on any node, with repeated, whose run has rejected', async () => {
    const { nodes } = cluster(2)
    const [a, b] = nodes.map(({ store }) => store.enter('a', 'e')) as [Sender, Sender]
    await assert.rejects(
      a.once(1, false, () => Promise.reject(new Error('no battery'))),
      new Error('no battery'),
    )
    const { runs, run } = counting()
    assert.equal(await b.once(1, true, run), 'done')
    assert.deepEqual(runs, [true])
  })

  it('runs a request on any node whose begin was stored without an answer', async () => {
    const { nodes, streams } = cluster(2)
    const [a, b] = nodes.map(({ store }) => store.enter('a', 'e')) as [Sender, Sender]
    const { runs, run } = counting()
    streams[0]!.faults.unanswered = 1
    await assert.rejects(a.once(1, false, run), { code: 'unavailable' })
    await until(async () => (await nodes[1]!.attributesOf('a', 'e')).n1 !== undefined)
    streams[0]!.faults.unanswered = 0
    assert.equal(await b.once(1, true, run), 'done')
    assert.deepEqual(runs, [true])
  })

  for (const [what, run, record] of [
    ['the outcome of a request', () => 'one', '1 ="one"'],
    ['that a run has rejected', () => Promise.reject(new Error('no')), '1 @'],
  ] as const)
    it(`records ${what} after a long outage, as long as the sender is known`, async t => {
      hurry(t)
      const { nodes, streams } = cluster(1, { rememberMs: 1 })
      const [node] = nodes as [IdempotencyNode]
      const [storage] = streams as [DelayedStreams]
      let tries = 0
      t.mock.method(storage, 'isReady', () => {
        tries++
        return storage.away === undefined
      })
      for (const epoch of ['known', 'removed']) {
        const sender = node.store.enter('a', epoch)
        const ran = sender.once(1, false, () => {
          storage.away = 'rejects'
          return run()
        })
        await ran.catch(() => {})
        const before = tries
        await until(() => tries > before + 20)
        if (epoch === 'removed') {
          sender.leave()
          await turn()
          await turn()
          node.store.sweep()
          // Its last pause ends.
          await turn().then(() => sleep(60_000))
        }
        storage.away = undefined
        if (epoch === 'known') await until(async () => (await node.attributesOf('a', epoch)).n1 === record)
        else assert.equal((await node.attributesOf('a', epoch)).n1, `1 @${node.id}`)
      }
    })

  it('answers a request although its outcome cannot be recorded, and records it later', async () => {
    const { nodes, streams } = cluster(2)
    const [a, b] = nodes.map(({ store }) => store.enter('a', 'e')) as [Sender, Sender]
    const outcome = await a.once(1, false, () => {
      streams[0]!.away = 'rejects'
      return 'first'
    })
    assert.equal(outcome, 'first')
    await until(() => nodes[0]!.failures.length > 0)
    const { runs, run } = counting()
    assert.equal(await a.once(1, true, run), 'first')
    // Also if it is evicted meanwhile.
    await a.evict()
    streams[0]!.away = undefined
    assert.equal(await b.once(1, true, run), 'first')
    assert.deepEqual(runs, [])
  })

  it('keeps 4 MiB of the outcomes of more than 1,024 characters of a sender, and all shorter ones', async () => {
    const sender = nodeOf(openMemory().streams!, { window: 1000 }).store.enter('a', 'e')
    const long = 'x'.repeat(65_000)
    for (let n = 1; n <= 65; n++) await sender.once(n, false, () => long)
    assert.equal(await sender.once(64, true, () => 'again'), long)
    await assert.rejects(
      sender.once(65, true, () => 'again'),
      answered(65),
    )
    // The slot of a long one has room for a long one.
    for (const [n, outcome] of [
      [66, 'short'],
      [1001, long],
    ] as const) {
      await sender.once(n, false, () => outcome)
      assert.equal(await sender.once(n, true, () => 'again'), outcome)
    }
  })

  describe('with room for ten records', () => {
    const outcome = 'x'.repeat(1000)
    const options = { maxBytes: 10 * 1560 }
    const fill = async (sender: Sender) => {
      for (let n = 1; n <= WINDOW; n++) await sender.once(n, false, () => outcome)
    }
    /** How the requests run again; `undefined`: they do not. */
    const again = async (sender: Sender) => {
      const all: (boolean | undefined)[] = []
      for (let n = 1; n <= WINDOW; n++) {
        const { runs, run } = counting(outcome)
        assert.equal(await sender.once(n, true, run), outcome)
        all.push(runs[0])
      }
      return all
    }
    const kept = Array(WINDOW).fill(undefined)

    it('evicts the sender that disconnected first, on all nodes', async () => {
      const { nodes } = cluster(2, options)
      const [first, second, third] = ['1', '2', '3'].map(id => nodes[0]!.store.enter(id, 'e')) as [
        Sender,
        Sender,
        Sender,
      ]
      for (const sender of [first, second]) await fill(sender)
      for (const sender of [second, first]) {
        await turn()
        sender.leave()
      }
      await fill(third)
      const other = nodes[1]!.store.enter('2', 'e')
      assert.deepEqual(await again(other), Array(WINDOW).fill(true))
      assert.deepEqual(await again(first), kept)
      assert.deepEqual(await again(third), kept)
      // Requests that have not begun do not get repeated.
      const { runs, run } = counting()
      await other.once(WINDOW + 1, true, run)
      assert.deepEqual(runs, [false])
    })

    it('evicts the largest sender if all are connected, but no request under way', async () => {
      const { nodes } = cluster(1, options)
      const [node] = nodes as [IdempotencyNode]
      const [slowest, largest, last] = ['1', '2', '3'].map(id => node.store.enter(id, 'e')) as [Sender, Sender, Sender]
      void slowest.once(1, false, slow().run)
      for (const n of [2, 3]) await slowest.once(n, false, () => outcome)
      await fill(largest)
      for (const n of [1, 2, 3]) await last.once(n, false, () => outcome)
      await slowest.once(4, false, () => outcome)
      assert.deepEqual(await again(largest), Array(WINDOW).fill(true))
      slowest.leave()
      await fill(node.store.enter('4', 'e'))
      await until(async () => (await node.attributesOf('1', 'e')).from === '5')
      assert.deepEqual(await node.attributesOf('1', 'e'), { from: '5', n1: `1 @${node.id}` })
    })

    it('evicts a sender with one append', async t => {
      const streams = openMemory().streams!
      const { store } = nodeOf(streams, { ...options, window: 1000 })
      const sender = store.enter('1', 'e')
      for (let n = 1; n <= 25; n++) await sender.once(n, false, () => '')
      const append = t.mock.method(streams, 'append')
      await sender.once(26, false, () => 'x'.repeat(15_000))
      await turn()
      // The begin, the outcome and the eviction.
      assert.equal(append.mock.callCount(), 3)
    })

    it('leaves the records that another node has written', async () => {
      const { nodes } = cluster(2, options)
      const [a, b] = nodes.map(({ store }) => store.enter('a', 'e')) as [Sender, Sender]
      await fill(a)
      await b.once(1 + WINDOW, false, () => 'of b')
      a.leave()
      await a.evict()
      const attributes = await nodes[1]!.attributesOf('a', 'e')
      assert.deepEqual(attributes, { from: `${WINDOW + 1}`, n1: `${1 + WINDOW} ="of b"` })
    })
  })

  describe('senders', () => {
    const busy = (message: string) => new IdempotencyError('busy', message)

    it('of one id are eight: the one that disconnected first is evicted, and no connected one', async t => {
      let now = 0
      t.mock.method(performance, 'now', () => ++now)
      const node = nodeOf(openMemory().streams!)
      const { store } = node
      store.enter('other', 'e')
      const all = Array.from({ length: 8 }, (_, i) => store.enter('a', `e${i}`))
      const message = '8 incarnations with this id are connected, at most 8'
      assert.throws(() => store.enter('a', 'e8'), busy(message))
      for (const i of [5, 2]) {
        await all[i]!.once(1, false, () => 'done')
        all[i]!.leave()
      }
      assert.equal(store.enter('a', 'e5'), all[5])
      store.enter('a', 'e8')
      assert.deepEqual(await node.attributesOf('a', 'e2'), { from: '2' })
      assert.throws(() => store.enter('a', 'e9'), busy(message))
    })

    it('do not count as soon as they are evicted, although another node runs their requests', async () => {
      const { nodes } = cluster(2, { maxBytes: 10_000, rememberMs: 1 })
      const [a, b] = nodes.map(({ store }) => store) as [IdempotencyStore, IdempotencyStore]
      for (let i = 0; i < 30; i++) {
        void a.enter(`${i}`, 'e').once(1, false, slow().run)
        await until(async () => (await nodes[0]!.attributesOf(`${i}`, 'e')).n1 !== undefined)
        const sender = b.enter(`${i}`, 'e')
        const outcome = sender.once(1, true, counting().run)
        sender.leave()
        await assert.rejects(outcome, { code: 'gone' })
      }
      for (let i = 0; i < 3; i++) await turn()
      b.sweep()
      const sender = b.enter('a', 'e')
      await sender.once(1, false, () => 'one')
      assert.equal(await sender.once(1, true, () => 'again'), 'one')
    })

    it('are so many of all ids', () => {
      const { store } = nodeOf(openMemory().streams!, { maxSenders: 2 })
      const one = store.enter('a', 'e')
      store.enter('b', 'e')
      assert.throws(() => store.enter('c', 'e'), busy('2 senders are connected, at most 2'))
      one.leave()
      store.enter('c', 'e')
    })

    it('are evicted when they have disconnected long ago, unless a request is under way', async t => {
      let now = 0
      t.mock.method(performance, 'now', () => now)
      const node = nodeOf(openMemory().streams!, { rememberMs: 1000 })
      const [one, two] = ['a', 'b'].map(id => node.store.enter(id, 'e')) as [Sender, Sender]
      await one.once(1, false, () => 'done')
      void two.once(1, false, slow().run)
      for (const sender of [one, two]) sender.leave()
      const counts: number[] = []
      for (now of [1000, 1001]) {
        node.store.sweep()
        counts.push(Object.keys(await node.attributesOf('a', 'e')).length)
      }
      assert.deepEqual(counts, [2, 1])
      assert.equal(node.store.enter('b', 'e'), two)
    })
  })
})
