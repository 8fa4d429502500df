import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { NodeRegistry } from '../../src/kit/node-registry.ts'
import { openMemory } from '../support/memory-storage.ts'
import { until } from '../support/peer.ts'

const DEAD_AFTER = 800

/** Registries on one storage, with the calls of their listeners. */
function registries(count: number, prefix = 'x') {
  const { values, sets } = openMemory() as Required<ReturnType<typeof openMemory>>
  const storage = { values: { ...values }, sets }
  for (const name of ['get', 'set', 'delete'] as const) storage.values[name] = values[name].bind(values) as never
  const events: string[] = []
  const nodes = Array.from({ length: count }, (_, i) => {
    const onRenamed = () => void events.push(`${i} renamed`)
    const onDied = () => void events.push(`${i}: another died`)
    return new NodeRegistry({ ...storage, prefix, deadAfterMs: DEAD_AFTER, onRenamed, onDied })
  })
  return { nodes, storage, events }
}

describe('NodeRegistry', () => {
  it('a node is alive until it stops renewing, and dead after two leases', async () => {
    const { nodes, events } = registries(2)
    const [ann, bob] = nodes as [NodeRegistry, NodeRegistry]
    for (const node of nodes) await node.start()
    assert.deepEqual([ann.isOwn(ann.id), ann.wasAlive(ann.id), ann.isOwn(bob.id)], [true, true, false])
    await ann.look()
    assert.deepEqual([ann.wasAlive(bob.id), ann.isDead(bob.id)], [true, false])
    const since = performance.now()
    await until(async () => {
      await ann.look()
      return ann.isDead(bob.id)
    }, 'a dead node')
    assert.ok(performance.now() - since >= DEAD_AFTER / 2)
    assert.deepEqual([ann.wasAlive(bob.id), events], [false, ['0: another died']])
  })

  it('a node whose lease has ended takes another id, and its earlier one is dead for others', async () => {
    const { nodes, events } = registries(2)
    const [ann, bob] = nodes as [NodeRegistry, NodeRegistry]
    for (const node of nodes) await node.start()
    const before = bob.id
    await until(async () => {
      await ann.look()
      return ann.isDead(before)
    }, 'a dead node')
    await bob.look()
    assert.notEqual(bob.id, before)
    assert.deepEqual([bob.isOwn(before), bob.isOwn(bob.id)], [true, true])
    await ann.look()
    assert.equal(ann.wasAlive(bob.id), true)
    assert.ok(events.includes('1 renamed'))
  })

  it('the time in which the storage does not answer counts for no node', async () => {
    const { nodes, storage } = registries(2)
    const [ann, bob] = nodes as [NodeRegistry, NodeRegistry]
    for (const node of nodes) await node.start()
    await ann.look()
    await storage.values.delete(`x:node:${bob.id}`)
    await ann.look()
    const { get } = storage.values
    storage.values.get = async () => {
      throw new Error('away')
    }
    await assert.rejects(ann.look(), { message: 'away' })
    const since = performance.now()
    await until(() => performance.now() - since > DEAD_AFTER, 'two leases')
    storage.values.get = get
    await ann.look()
    assert.equal(ann.isDead(bob.id), false)
  })

  it('a node that stops leaves the set, and prefixes are apart', async () => {
    const { nodes, storage } = registries(1)
    const other = new NodeRegistry({ ...storage, prefix: 'y', deadAfterMs: DEAD_AFTER })
    await nodes[0]!.start()
    await other.start()
    assert.deepEqual([...(await storage.sets.get('x:nodes'))], [nodes[0]!.id])
    await nodes[0]!.stop()
    assert.deepEqual([...(await storage.sets.get('x:nodes'))], [])
    assert.equal(await storage.values.get(`x:node:${nodes[0]!.id}`), undefined)
    assert.deepEqual([...(await storage.sets.get('y:nodes'))], [other.id])
  })
})
