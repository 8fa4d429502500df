import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Sessions } from '../../../filters/jwt/sessions.ts'
import type { Client } from '../../../src/contract/client.ts'
import { slices } from '../../support/slices.ts'

const CLIENTS = 100_000
const NOW = 1_000_000
/** Milliseconds of processor time for a client that is sent a message or closed. */
const WORK = 0.005

/** Open clients, whose tokens expire at `expires(i)`; with their token ids `id i`. */
async function sessionsOf(count: number, expires: (i: number) => number) {
  const sessions = new Sessions(10, undefined)
  const measured = slices()
  const [warned, closed] = [new Set<number>(), new Set<number>()]
  const clients = Array.from({ length: count }, (_, i) => {
    const client = {
      state: {},
      onGone: (handler: () => void) => handler(),
      recheck: () => {},
      send(payload: string) {
        measured.work(WORK)
        assert.equal(payload, JSON.stringify({ auth: 'expiring', expires: expires(i) }))
        warned.add(i)
      },
      disconnect(code: number) {
        measured.work(WORK)
        assert.ok(code === 4401 || code === 4403)
        closed.add(i)
        sessions.closed(client)
      },
    } as unknown as Client
    return client
  })
  for (const [i, client] of clients.entries()) {
    await sessions.begin(client, { claims: { jti: `id ${i % 10}` }, expires: expires(i) }, async () => {})
    sessions.opened(client)
  }
  return { sessions, measured, warned, closed, clients }
}

describe('the tokens of 100,000 clients', () => {
  it('expire in slices', async () => {
    const { sessions, measured, warned, closed } = await sessionsOf(CLIENTS, i => NOW - (i % 2) * 20)
    await sessions.sweep(NOW - 21)
    assert.deepEqual([warned.size, closed.size], [0, 0])
    await sessions.sweep(NOW)
    assert.deepEqual([warned.size, closed.size], [CLIENTS / 2, CLIENTS / 2])
    assert.ok([...closed].every(i => i % 2 === 1))
    measured.check()
    await sessions.sweep(NOW + 9)
    assert.deepEqual([warned.size, closed.size], [CLIENTS / 2, CLIENTS / 2])
    await sessions.sweep(NOW + 10)
    assert.equal(closed.size, CLIENTS)
  })

  it('are revoked by id in slices', async () => {
    const { sessions, measured, closed } = await sessionsOf(CLIENTS, () => Number.POSITIVE_INFINITY)
    await sessions.eachWithId('id', () => assert.fail())
    await sessions.eachWithId('id 3', client => client.disconnect(4403))
    assert.equal(closed.size, CLIENTS / 10)
    measured.check()
  })
})

describe('clients that open, close and refresh during a sweep', () => {
  it('are revoked if they open meanwhile', async () => {
    const { sessions } = await sessionsOf(10, () => Number.POSITIVE_INFINITY)
    const revoked: Client[] = []
    const arriving = Array.from({ length: 2 }, () => {
      return { state: {}, onGone: () => {}, recheck: () => {} } as unknown as Client
    })
    for (const client of arriving)
      await sessions.begin(client, { claims: { jti: 'late' }, expires: NOW }, async () => {})
    const done = sessions.eachWithId('late', client => {
      revoked.push(client)
      // A slice is over.
      for (const end = performance.now() + 3; performance.now() < end; );
    })
    assert.deepEqual(revoked, arriving.slice(0, 1))
    for (const client of arriving) sessions.opened(client)
    await done
    // One that was handled before is closed, or found again.
    assert.deepEqual(new Set(revoked), new Set(arriving))
  })

  it('are not closed after they have left', async () => {
    const { sessions, closed, clients } = await sessionsOf(1000, () => NOW)
    const done = sessions.sweep(NOW + 10)
    assert.ok(closed.size < 1000)
    sessions.closed(clients[999]!)
    await done
    assert.deepEqual([closed.size, closed.has(999)], [999, false])
  })
})
