import assert from 'node:assert/strict'
import { after, before, describe, it, type TestContext } from 'node:test'
import type { FilterModule, RunningServer, Server } from '../../../../src/index.ts'
import { launch } from '../../../support/cli.ts'
import { becomes, Peer, serve, until } from '../../../support/peer.ts'
import { type RedisServer, skipWithoutOwn, startRedis } from '../../../support/redis.ts'
import { API_KEY, call } from '../../../support/server-api.ts'

/** A client names itself, joins the topics of its messages, and is notified when it was removed from one. */
const named: FilterModule = {
  connect: client => {
    client.identity = client.handshake!.url.searchParams.get('as') ?? undefined
  },
  open: client => client.onRemoved((topic, why) => client.send(`${why} from ${topic}`)),
  message: (payload, client) => client.join(String(payload)),
}

const done = (result: object = {}) => ({ result })

describe('the server API on several nodes', { skip: skipWithoutOwn }, () => {
  let redis: RedisServer
  before(async () => {
    redis = await startRedis()
  })
  after(() => redis.stop())

  async function nodes(t: TestContext): Promise<[RunningServer, RunningServer]> {
    const options = {
      filters: ['streams', 'centrifuge', named],
      streamsRules: ['kept:* size=100 ttl=5m'],
      centrifugeApiKey: [API_KEY],
      storage: 'redis',
      redisUrl: redis.url,
    }
    return [await serve(t, options), await serve(t, options)]
  }

  async function member({ url, clients }: RunningServer, as: string, topics: readonly string[]): Promise<Peer> {
    const peer = await Peer.open(`${url}/?as=${as}`)
    for (const topic of topics) peer.send(topic)
    await until(() => topics.every(topic => clientOf(clients, as)?.topics.has(topic)), 'a member')
    return peer
  }

  const clientOf = (clients: Server['clients'], as: string) =>
    [...clients.values()].find(({ identity }) => identity === as)

  it('publishes to the members on all nodes, once with a key', async t => {
    const [one, two] = await nodes(t)
    const ann = await member(two, 'ann', ['a', 'kept:1'])
    const publish = ({ url }: RunningServer, channel: string, data: unknown) =>
      call(url, 'publish', { channel, data, idempotency_key: `key of ${data}` })
    // Until the other node is subscribed.
    await until(async () => {
      await call(one.url, 'publish', { channel: 'a', data: 'ready' })
      return ann.received.length > 0
    }, 'a message')
    const first = await publish(one, 'kept:1', 1)
    assert.deepEqual(await publish(two, 'kept:1', 1), first)
    for (const node of [one, two]) assert.deepEqual(await publish(node, 'a', 2), done())
    await call(one.url, 'broadcast', { channels: ['kept:1', 'a'], data: 'last' })
    await until(() => ann.received.filter(text => text === '"last"').length === 2, 'the last messages')
    const received = ann.received.filter(text => text !== '"ready"').sort()
    assert.deepEqual(received, ['"last"', '"last"', '1', '2'])
  })

  it('unsubscribes and disconnects the clients of a user on all nodes', async t => {
    const [one, two] = await nodes(t)
    const [here, there] = [await member(one, 'ann', ['a', 'b']), await member(two, 'ann', ['a', 'b'])]
    const bob = await member(two, 'bob', ['a'])
    // Orders arrive once the nodes know each other.
    await until(async () => {
      await call(one.url, 'unsubscribe', { user: 'ann', channel: 'a' })
      return there.received.length > 0
    }, 'an order')
    for (const peer of [here, there]) assert.deepEqual(await peer.get(1), ['unsubscribed from a'])
    const { id } = clientOf(two.clients, 'ann')!
    await call(one.url, 'unsubscribe', { user: 'bob', client: id, channel: 'b' })
    await call(one.url, 'unsubscribe', { user: 'ann', client: id, channel: 'b' })
    assert.deepEqual(await there.get(2), ['unsubscribed from a', 'unsubscribed from b'])
    assert.equal(here.received.length, 1)
    await call(one.url, 'disconnect', { user: 'ann' })
    for (const peer of [here, there]) assert.deepEqual(await peer.end(), { code: 3503, reason: 'force disconnect' })
    assert.deepEqual([bob.closed, bob.received], [undefined, []])
  })

  it('counts the clients of all nodes that live', async t => {
    const [one, two] = await nodes(t)
    await member(one, 'ann', ['a', 'b'])
    for (const name of ['ann', 'bob']) await member(two, name, ['a'])
    const clientsOf = async ({ url }: RunningServer) => {
      const { result } = (await call(url, 'info')) as { result: { nodes: { num_clients: number }[] } }
      return result.nodes.map(node => node.num_clients)
    }
    // A node that does not answer within a second is left out.
    await becomes(() => clientsOf(one), [1, 2])
    await becomes(() => clientsOf(two), [2, 1])
    const channels = { a: { num_clients: 3 }, b: { num_clients: 1 } }
    for (const { url } of [one, two]) await becomes(() => call(url, 'channels'), done({ channels }))
    await two.close()
    assert.deepEqual(await clientsOf(one), [1])
    const argv = ['-p', '0', '-f', 'centrifuge', '--storage', 'redis', '--redis-url', redis.url]
    const three = await launch(t, argv, { env: { FWS_CENTRIFUGE_API_KEY: API_KEY } })
    await becomes(() => clientsOf(one), [1, 0])
    // It stays in the set of nodes until its lease ends.
    three.child.kill('SIGKILL')
    assert.deepEqual(await clientsOf(one), [1])
  })

  it('ignores what is not a message of a node', async t => {
    const [one] = await nodes(t)
    const info = async () =>
      (await call(one.url, 'info')) as {
        result: { nodes: readonly [{ readonly uid: string; readonly num_clients: number }] }
      }
    const [{ uid }] = (await info()).result.nodes
    for (const text of [
      '',
      '7',
      'null',
      '{}',
      '{"call":1,"from":"x","question":{"pattern":"**/a"}}',
      '{"call":"1","answer":1}',
    ])
      await redis.command('PUBLISH', `centrifuge:node:${uid}`, text)
    assert.equal((await info()).result.nodes[0].num_clients, 0)
  })

  it('answers an error while the storage is away', async t => {
    const [one] = await nodes(t)
    await redis.kill()
    t.after(() => redis.restart())
    const params = { channel: 'kept:1', limit: 1 }
    assert.deepEqual(await call(one.url, 'history', params), { error: { code: 100, message: 'internal server error' } })
  })
})
