import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { Leases } from '../../src/kit/leases.ts'
import { openMemory } from '../support/memory-storage.ts'

const LEASE = 9000

function stopClock(t: TestContext): (ms: number) => void {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'] })
  return ms => t.mock.timers.tick(ms)
}

describe('leases', () => {
  it('a node lives as long as it renews its lease, and not beyond', async t => {
    const pass = stopClock(t)
    const values = openMemory().values!
    const [a, b] = [new Leases(values, 'x', 'a', LEASE), new Leases(values, 'x', 'b', LEASE)]
    assert.equal(await b.isAlive('a'), false)
    assert.equal(await a.renew(), true)
    for (let i = 0; i < 3; i++) {
      pass(LEASE - 1000)
      assert.equal(await b.isAlive('a'), true)
      assert.equal(await a.renew(), true)
    }
    assert.equal(await new Leases(values, 'y', 'b', LEASE).isAlive('a'), false, 'of another prefix')
    pass(LEASE + 1)
    assert.equal(await b.isAlive('a'), false)
    assert.equal(await a.isAlive('a'), true)
    assert.equal(await a.renew(), false, 'it had ended')
    assert.equal(await a.renew(), true)
    await a.end()
    assert.equal(await b.isAlive('a'), false)
  })

  it('a renewal that the storage has lost is noticed', async () => {
    const values = openMemory().values!
    const lease = new Leases(values, 'x', 'a', LEASE)
    for (let i = 0; i < 3; i++) await lease.renew()
    await values.set('x:a', '2', { ttlMs: LEASE })
    assert.equal(await lease.renew(), false)
    assert.equal(await lease.renew(), true)
  })

  it('a renewal whose answer is lost counts as made', async () => {
    const values = openMemory().values!
    let isBroken = false
    const lease = new Leases(
      {
        ...values,
        get: key => values.get(key),
        set: async (...args) => {
          const done = await values.set(...args)
          if (isBroken) throw new Error('no answer')
          return done
        },
      },
      'x',
      'a',
      LEASE,
    )
    await lease.renew()
    isBroken = true
    await assert.rejects(lease.renew(), { message: 'no answer' })
    isBroken = false
    assert.equal(await lease.renew(), true)
  })
})
