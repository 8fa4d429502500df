import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import type { MessagingApi } from '../../../../filters/messaging.ts'
import type { Access } from '../../../../src/contract/client.ts'
import type { FilterModule } from '../../../../src/contract/filter.ts'
import { building, door, request } from '../../../support/messaging.ts'
import { Peer, until } from '../../../support/peer.ts'

/** A browser, and a function that sends a request and returns the value or the error of its answer. */
async function room(t: TestContext, messagingTopics: string[], filters: (FilterModule | string)[] = []) {
  let api!: MessagingApi
  const application = building(given => {
    api = given
  })
  const there = await door(t, [application], {
    filters: [...filters, 'messaging', application],
    messagingTopics,
    messagingOpen: true,
  })
  const ann = await Peer.open(there.server.url, {}, ['messaging'])
  const client = await there.clientOf(1)
  let count = 0
  async function ask(name: string, ...args: unknown[]): Promise<unknown> {
    ann.send(JSON.stringify({ request: name, id: `${++count}`, args }))
    const answers = () => ann.received.map(text => JSON.parse(String(text)))
    await until(() => answers().some(({ id }) => id === `${count}`))
    const { value, error } = answers().find(({ id }) => id === `${count}`)
    return error ?? value
  }
  return { ...there, api, ann, client, ask }
}

describe('fws.subscribe and fws.unsubscribe', () => {
  it('allow the topics of --messaging-topics', async t => {
    const { ask, client } = await room(t, ['fleet', 'news/**', 'led?'])
    for (const topic of ['fleet', 'news/a/b', 'led1']) assert.equal(await ask('fws.subscribe', topic), null)
    assert.deepEqual([...client.topics], ['fleet', 'news/a/b', 'led1'])
    for (const topic of ['fleet2', 'led', 'x'.repeat(100)])
      assert.deepEqual(await ask('fws.subscribe', topic), {
        code: 'forbidden',
        message: `topic ${JSON.stringify(topic.length > 60 ? `${topic.slice(0, 60)}...` : topic)} is not one of --messaging-topics`,
      })
    assert.deepEqual([...client.topics], ['fleet', 'news/a/b', 'led1'])
    assert.equal(await ask('fws.unsubscribe', 'fleet'), null)
    assert.equal(await ask('fws.unsubscribe', 'news/never'), null)
    assert.deepEqual([...client.topics], ['news/a/b', 'led1'])
  })

  it('allow topics that begin with @ only by a pattern that begins with it', async t => {
    const { ask, client } = await room(t, ['*', '?presence/*', '@presence/*'])
    const message = 'topic "@everyone" is not one of --messaging-topics'
    assert.deepEqual(await ask('fws.subscribe', '@everyone'), { code: 'forbidden', message })
    assert.equal(await ask('fws.subscribe', '@presence/chat'), null)
    assert.deepEqual([...client.topics], ['@presence/chat'])
  })

  it('allow no topic by default', async t => {
    const { ask, client, logged } = await room(t, [])
    client.join('fleet')
    const forbidden = { code: 'forbidden', message: 'topic "fleet" is not one of --messaging-topics' }
    assert.deepEqual(await ask('fws.subscribe', 'fleet'), forbidden)
    assert.deepEqual(await ask('fws.unsubscribe', 'fleet'), forbidden)
    assert.deepEqual([...client.topics], ['fleet'])
    // A peer that repeats a refused request does not fill the log.
    assert.deepEqual(
      logged.filter(({ level }) => Number(level) >= 40),
      [],
    )
  })

  it('need a string', async t => {
    const { ask } = await room(t, ['*'])
    const told = (what: string) => ({
      code: 'invalid',
      message: `a topic is a string of 1 to 1024 characters, received ${what}`,
    })
    assert.deepEqual(await ask('fws.subscribe'), told('undefined'))
    assert.deepEqual(await ask('fws.subscribe', ['a']), told('an array'))
    assert.deepEqual(await ask('fws.subscribe', ''), told('""'))
    assert.deepEqual(await ask('fws.subscribe', 'x'.repeat(1025)), told(`"${'x'.repeat(60)}..."`))
    assert.equal(await ask('fws.subscribe', 'x'.repeat(1024)), null)
  })

  it('respect the permits of guards', async t => {
    const { ask, client } = await room(
      t,
      ['*'],
      [{ stage: 'guard', permit: ({ topic }: Access) => topic !== 'secret' }],
    )
    assert.deepEqual(await ask('fws.subscribe', 'secret'), {
      code: 'forbidden',
      message: 'not allowed to join "secret"',
    })
    assert.equal(await ask('fws.subscribe', 'open'), null)
    assert.deepEqual([...client.topics], ['open'])
  })

  it('allow a thousand topics for one client', async t => {
    const { ask, client, ann } = await room(t, ['*'])
    for (let i = 0; i < 1000; i++) client.join(`${i}`)
    assert.deepEqual(await ask('fws.subscribe', 'one more'), {
      code: 'full',
      message: 'a client has at most 1000 topics; leave one',
    })
    assert.equal(await ask('fws.subscribe', '7'), null)
    assert.equal(await ask('fws.unsubscribe', '7'), null)
    assert.equal(await ask('fws.subscribe', 'one more'), null)
    assert.equal(ann.closed, undefined)
  })

  it('get the topic with broadcasts', async t => {
    const { api, server, ask, ann, peer } = await room(t, ['fleet'])
    const bob = await peer()
    bob.send(request('fws.subscribe', '0001', ['fleet']))
    await Promise.all([bob.get(1), ask('fws.subscribe', 'fleet')])
    api.broadcast(server, 'land', [1], {}, { topic: 'fleet' })
    api.broadcast(server, 'all')
    await Promise.all([bob.get(3), ann.get(3)])
    assert.deepEqual(ann.received.slice(1), [
      '{"action":"land","args":[1],"kwargs":{},"topic":"fleet"}',
      '{"action":"all","args":[],"kwargs":{}}',
    ])
    assert.deepEqual(
      bob.received.slice(1).map(said => [said.name, 'topic' in said ? said.topic : undefined]),
      [
        ['land', 'fleet'],
        ['all', undefined],
      ],
    )
  })

  it('do not limit the topics of broadcasts', async t => {
    const { api, server, client, ann } = await room(t, [])
    const topic = 'x'.repeat(70_000)
    client.join(topic)
    api.broadcast(server, 'land', [], {}, { topic })
    await ann.get(1)
    assert.deepEqual(ann.received, ['{"action":"land","args":[],"kwargs":{}}'])
  })

  it('run at once, also while an action of the client runs', async t => {
    let end = () => {}
    const waiting = building(api => api.action('slow', () => new Promise<void>(resolve => (end = resolve))))
    const { ask, ann, client } = await room(t, ['*'], [waiting])
    ann.send('{"action": "slow"}')
    assert.equal(await ask('fws.subscribe', 'a'), null)
    assert.deepEqual([...client.topics], ['a'])
    end()
  })
})
