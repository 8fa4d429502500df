import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { describe, it, type TestContext } from 'node:test'
import type { MessagingApi } from '../../../../filters/messaging.ts'
import type { Client } from '../../../../src/contract/client.ts'
import type { FilterModule } from '../../../../src/contract/filter.ts'
import { building } from '../../../support/messaging.ts'
import { Browser, gate } from '../../../support/messaging-browser.ts'
import { serve, until } from '../../../support/peer.ts'

/** A server with an application. */
async function working(
  t: TestContext,
  on: (api: MessagingApi) => void,
  options: object = {},
  filters: FilterModule[] = [],
) {
  let api!: MessagingApi
  const builds = building(given => {
    api = given
    on(given)
  })
  const server = await serve(t, { filters: ['messaging', builds, ...filters], ...options })
  return { server, api, open: () => Browser.open(server.url) }
}

describe('the tasks of one client', () => {
  it('do not block the answers to calls when the limit is reached', async t => {
    const { open } = await working(
      t,
      api => {
        api.request('charge', async client => `${await api.call(client, 'battery')} V`)
        api.request('now', () => 1)
      },
      { messagingMaxWork: 1 },
    )
    const ann = await open()
    ann.say({ request: 'charge', id: 'a' })
    ann.say({ request: 'now', id: 'b' })
    ann.answer((await ann.todo(1))[0]!, 12)
    await until(() => 'b' in ann.answers)
    assert.deepEqual(ann.answers, { a: '12 V', b: 1 })
  })

  it('start in order when there is room, however many wait', async t => {
    const { opened, open: go } = gate()
    const begun: unknown[] = []
    const { open, server } = await working(
      t,
      api =>
        api.request('slow', async (_client, [n]) => {
          begun.push(n)
          await opened
          return n
        }),
      { messagingMaxWork: 2 },
    )
    const ann = await open()
    for (let n = 0; n < 10; n++) ann.say({ request: 'slow', id: `${n}`, args: [n] })
    await until(() => begun.length === 2)
    go()
    await until(() => Object.keys(ann.answers).length === 10)
    assert.deepEqual(begun, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    const [client] = server.clients.values()
    assert.ok(getEventListeners(client!.signal, 'abort').length <= 1)
  })

  it('are limited in bytes too, running and waiting ones', async t => {
    const { opened, open: go } = gate()
    let begun = 0
    const { open, server } = await working(
      t,
      api =>
        api.request('slow', async () => {
          begun++
          await opened
        }),
      { messagingMaxJson: 1024, maxQueued: 1 },
    )
    const ann = await open()
    for (let n = 0; n < 10; n++) ann.say({ request: 'slow', id: `${n}`, args: ['x'.repeat(900)] })
    await until(() => server.counters.paused > 0)
    assert.equal(begun, 2)
    go()
    await until(() => Object.keys(ann.answers).length === 10)
  })

  it('end with the signal of the client, which is released even if they never end', async t => {
    const ended: string[] = []
    const told: string[] = []
    const { open, api, server } = await working(
      t,
      api => {
        api.action('never', client => {
          client.signal.addEventListener('abort', () => told.push('gone'))
          return new Promise(() => {})
        })
      },
      { filterTimeout: 0.2, messagingMaxWork: 1 },
      [{ disconnect: (client: Client) => void ended.push(client.id) }],
    )
    const ann = await open()
    for (let i = 0; i < 5; i++) ann.say({ action: 'never' })
    await until(() => server.counters.messages > 0)
    await ann.drop()
    await until(() => ended.length === 1)
    assert.deepEqual(told, ['gone'])
    assert.deepEqual(await api.callAll('*', 'x'), [])
  })

  it('do not retain a client that has disconnected while its messages wait', async t => {
    const ended: string[] = []
    const { open, server } = await working(
      t,
      api => api.request('never', () => new Promise(() => {})),
      { messagingMaxWork: 1 },
      [{ disconnect: (client: Client) => void ended.push(client.id) }],
    )
    const ann = await open()
    for (let i = 0; i < 5; i++) ann.say({ request: 'never', id: i })
    await until(() => server.counters.messages > 0)
    await ann.drop()
    await until(() => ended.length === 1)
  })

  it('are answered before a stop closes the client', async t => {
    const { opened, open: go } = gate()
    const slow = (api: MessagingApi) =>
      api.request('slow', async () => {
        await opened
        return 'done'
      })
    const { open, server } = await working(t, slow, { drain: 30 })
    const ann = await open()
    ann.say({ request: 'slow', id: 'a' })
    await ann.read()
    const closed = server.close()
    setImmediate(go)
    assert.deepEqual(await ann.peer.end(), { code: 1001, reason: 'server is shutting down' })
    assert.equal(ann.answers.a, 'done')
    await closed
  })

  it('do not delay a stop for longer than the drain time', async t => {
    const { open, server } = await working(t, api => api.request('never', () => new Promise(() => {})), { drain: 0.1 })
    const ann = await open()
    ann.say({ request: 'never', id: 'a' })
    await ann.read()
    await server.close()
    await ann.peer.end()
    assert.deepEqual(Object.keys(ann.answers), ['read'])
  })
})
