import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { CentrifugeApi } from '../../../filters/centrifuge.ts'
import type { Client } from '../../../src/contract/client.ts'
import { centrifuge } from '../../support/centrifuge.ts'
import { serve, until } from '../../support/peer.ts'

const RESULTS: readonly [method: string, result: unknown][] = [
  ['add', 3],
  ['later', 3],
  ['nothing', null],
  ['function', null],
  ['string', 'a\nb'],
]

const ERRORS: readonly [method: string, error: object][] = [
  ['missing', { code: 104, message: 'method not found' }],
  ['constructor', { code: 104, message: 'method not found' }],
  ['own', { code: 1000, message: 'sold out' }],
  ['broken', { code: 100, message: 'internal server error' }],
  ['bigint', { code: 100, message: 'internal server error' }],
]

/** Registers the procedures of the tests. */
const procedures = (more: (api: CentrifugeApi) => void = () => {}) => ({
  uses: ['centrifuge'],
  setup: (host: { use(name: 'centrifuge'): CentrifugeApi }) => {
    const api = host.use('centrifuge')
    api.rpc('add', data => Number((data as { a: number }).a) + 1)
    api.rpc('later', async data => Number((data as { a: number }).a) + 1)
    api.rpc('nothing', () => undefined)
    api.rpc('function', () => () => 1)
    api.rpc('string', () => 'a\nb')
    api.rpc('id', (_, client) => client.id)
    api.rpc('own', () => {
      throw Object.assign(new Error('sold out'), { code: 1000 })
    })
    api.rpc('broken', async () => {
      throw new Error('a secret')
    })
    api.rpc('bigint', () => 1n)
    more(api)
  },
})

async function connected(t: { after(fn: () => Promise<void> | void): void }, more?: (api: CentrifugeApi) => void) {
  const server = await serve(t, { filters: [procedures(more), 'centrifuge'] as never })
  const client = centrifuge(t, server.url)
  client.connect()
  await client.ready()
  return { server, client }
}

describe('rpc', () => {
  for (const [method, result] of RESULTS)
    it(`answers ${method}`, async t => {
      const { client } = await connected(t)
      assert.deepEqual(await client.rpc(method, { a: 2 }), { data: result })
    })

  for (const [method, error] of ERRORS)
    it(`answers ${method} with an error`, async t => {
      const { client } = await connected(t)
      await assert.rejects(client.rpc(method, {}), ({ code, message }) => {
        assert.deepEqual({ code, message }, error)
        return true
      })
    })

  it('has the client', async t => {
    const { server, client } = await connected(t)
    assert.deepEqual([...server.clients.keys()], [(await client.rpc('id', {})).data])
  })

  it('refuses a name that is taken', async t => {
    let message = ''
    await connected(t, api => {
      try {
        api.rpc('add', () => 1)
      } catch (error) {
        ;({ message } = error as Error)
      }
    })
    assert.equal(message, 'rpc() takes a name without a procedure; "add" has one, choose another')
  })

  it('send reaches its handlers without an answer', async t => {
    const sent: [unknown, Client][] = []
    const { server, client } = await connected(t, api => api.onSend((...received) => void sent.push(received)))
    await client.send({ one: 'way' })
    await until(() => sent.length > 0)
    assert.deepEqual(sent, [[{ one: 'way' }, [...server.clients.values()][0]]])
  })
})
