import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Announcement, StreamRef } from '../../src/contract/streams.ts'
import { DelayedStreams } from '../../src/testing/index.ts'
import { storageConformance } from '../../src/testing/storage.ts'
import { openMemory } from '../support/memory-storage.ts'
import { until } from '../support/peer.ts'

storageConformance('memory, delayed', () => {
  const storage = openMemory()
  return { ...storage, streams: new DelayedStreams(storage.streams!, { seed: 1 }) }
})

const REF: StreamRef = { topic: 't', bounds: { size: 1000, ttlMs: 60_000, full: 'trim' } }

/** A node that says numbers; its announcements are `received`. */
function nodesOf(seed: number, count: number) {
  const { streams } = openMemory()
  const first = new DelayedStreams(streams!, { seed })
  return Array.from({ length: count }, (_, i) => {
    const node = i === 0 ? first : first.node()
    const received: number[] = []
    let call = 0
    node.start({
      announced: ({ top }: Announcement) => received.push(top.offset),
      interrupted: () => received.push(-1),
    })
    const say = () => node.append(REF, [{ entries: [{ payload: 'x' }] }], { node: `${i}`, call: ++call })
    return { node, received, say }
  })
}

/** Appends 100 entries, and waits for the announcement of a last one without faults. */
async function sayAll({ node, say, received }: ReturnType<typeof nodesOf>[number]): Promise<readonly number[]> {
  await node.listen('t')
  await Promise.all(Array.from({ length: 100 }, () => say()))
  Object.assign(node.faults, { lost: 0, late: 0, doubled: 0 })
  await say()
  await until(() => received.includes(101))
  for (let i = 0; i < 30; i++) await new Promise(setImmediate)
  return received
}

const sorted = (numbers: readonly number[]) => numbers.toSorted((a, b) => a - b)
const ALL = Array.from({ length: 101 }, (_, i) => i + 1)

describe('DelayedStreams', () => {
  it('each node gets the announcements of all, in order', async () => {
    const [ann, bob, eve] = nodesOf(1, 3)
    await bob!.node.listen('t')
    assert.deepEqual(await sayAll(ann!), ALL)
    assert.deepEqual(bob!.received, ALL)
    assert.deepEqual(eve!.received, [])
    bob!.node.stop()
    await ann!.say()
    ann!.node.interrupt()
    await until(() => ann!.received.at(-1) === -1)
    assert.deepEqual(bob!.received, ALL)
  })

  it('the same seed gives the same faults', async () => {
    const run = async (seed: number) => {
      const [node] = nodesOf(seed, 1)
      Object.assign(node!.node.faults, { lost: 0.2, doubled: 0.2, late: 0.2 })
      return sayAll(node!)
    }
    const first = await run(3)
    assert.deepEqual(await run(3), first)
    assert.notDeepEqual(await run(4), first)
  })

  it('loses, doubles and delays announcements', async () => {
    const run = async (faults: Partial<DelayedStreams['faults']>) => {
      const [node] = nodesOf(5, 1)
      Object.assign(node!.node.faults, faults)
      return sayAll(node!)
    }
    const lost = await run({ lost: 0.5 })
    assert.ok(lost.length > 20 && lost.length < 80)
    assert.deepEqual(sorted(lost), lost)
    const doubled = await run({ doubled: 0.5 })
    assert.deepEqual(sorted([...new Set(doubled)]), ALL)
    assert.ok(doubled.length > 120)
    const late = await run({ late: 0.5 })
    assert.notDeepEqual(late, ALL)
    assert.deepEqual(sorted(late), ALL)
  })

  it('a call without an answer rejects, and is executed', async () => {
    const [node] = nodesOf(6, 1)
    node!.node.faults.unanswered = 0.5
    const outcomes = await Promise.allSettled(ALL.map(() => node!.say()))
    node!.node.faults.unanswered = 0
    const rejected = outcomes.filter(({ status }) => status === 'rejected').length
    assert.ok(rejected > 20 && rejected < 80)
    assert.equal((await node!.node.tops([REF]))[0]!.offset, 101)
  })

  it('while it is away, calls reject or do not settle, and are not executed', async () => {
    const [node] = nodesOf(7, 1)
    node!.node.away = 'silent'
    assert.equal(node!.node.isReady(), false)
    let settled = false
    const settle = () => {
      settled = true
    }
    node!.say().then(settle, settle)
    node!.node.away = 'rejects'
    await assert.rejects(node!.say(), { message: 'the storage is away' })
    await assert.rejects(node!.node.read(REF, { from: 'oldest', entries: 1, bytes: 1 }), /away/)
    node!.node.away = undefined
    assert.deepEqual((await node!.node.tops([REF]))[0]!.offset, 0)
    assert.equal(settled, false)
  })
})
