import assert from 'node:assert/strict'
import { after, before, describe, it, type TestContext } from 'node:test'
import { folder, type Launched, launch } from '../support/cli.ts'
import { envelope, opened } from '../support/media.ts'
import { TcpPeer } from '../support/messaging.ts'
import { becomes, Peer, until } from '../support/peer.ts'
import { type RedisServer, skipWithoutOwn, startRedis } from '../support/redis.ts'
import { PNG } from '../support/uploads.ts'

/** Answers `who KEY` with the members of a set. */
const WHO = `export const needs = ['sets']
export const setup = ({ storage }) => ({
  message: async (payload, client) => {
    const [, key] = /^who (.*)$/.exec(payload) ?? []
    if (key === undefined) return
    return client.answer(JSON.stringify([...(await storage.sets.get(key))]))
  },
})`

/** Publishes messages on an application channel. */
const SHOUT = `export const message = async (payload, client) => {
  await client.server.publish('global', payload)
  return client.drop()
}`

/** `am NAME` sets an identity, `kick NAME` disconnects it, `close TOPIC` disconnects a topic, `enter TOPIC` joins it. */
const BOUNCER = `export const message = (payload, client) => {
  const [verb, name] = payload.split(' ')
  if (verb === 'am') client.identity = name
  else if (verb === 'enter') client.join(name)
  else if (verb === 'kick') client.server.disconnect({ sub: name }, 4403, 'out')
  else if (verb === 'close') {
    client.server.broadcast('closing time', { topic: name })
    client.server.disconnect({ topic: name }, 4000)
  }
  return client.answer('done')
}`

/** `(TEXT)` for clients whose codec reads the format `round`, and no others. */
const ROUND = `const codec = { name: 'round', formats: ['round'], encode: (payload, format) => format ? '(' + payload + ')' : payload }
export const open = client => void (client.handshake.url.pathname === '/round' && (client.codec = codec))
export const message = (payload, client) => {
  client.server.broadcast(payload, { format: 'round' })
  client.server.broadcast('end')
  return client.drop()
}`

/** Broadcasts each message to the others. */
const GALLERY = `export const uses = ['media']
export const setup = host => {
  const media = host.use('media')
  const share = ({ kind, payload, metadata }, client) =>
    void media.broadcast(client.server, kind, payload, { metadata, except: client })
  media.on('image', share)
  media.on(300, share)
  media.on('text', (_, client) => client.answer('noted'))
}`

/** Publishes an action to all messaging clients. */
const FLEET = `export const uses = ['messaging']
export const setup = host => {
  const messaging = host.use('messaging')
  messaging.action('all', (client, [action, ...args]) => messaging.broadcast(client.server, action, args, { at: 1 }))
}`

const QUICK = ['--redis-lease', '1.5', '--drain', '1']

describe('nodes of one server', { skip: skipWithoutOwn }, () => {
  let shared: RedisServer
  before(async () => {
    shared = await startRedis()
  })
  after(() => shared.stop())

  let group = 0
  /** Real processes and clients; each test has separate keys and an application channel. */
  async function nodes(t: TestContext, count: number, filters: readonly string[], redis = shared, args: string[] = []) {
    const key = `group${++group}`
    const start = () =>
      launch(t, ['-p', '0', '-f', ...filters, '--redis-url', redis.url, '--redis-key', key, ...QUICK, ...args], {
        env: { STORAGE_OBJECT_MODULE: 'redis' },
        cwd: folder(t, {
          'who.js': WHO,
          'shout.js': SHOUT,
          'bouncer.js': BOUNCER,
          'round.js': ROUND,
          'gallery.js': GALLERY,
          'fleet.js': FLEET,
        }),
      })
    const started: Launched[] = []
    for (let i = 0; i < count; i++) started.push(await start())
    return { key, nodes: started, start }
  }
  const open = (node: Launched) => Peer.open(node.url)
  /** The number of members of a token group, as the node of a client counts them. */
  const members = async (peer: Peer, token: string): Promise<number> => {
    const before = peer.received.length
    peer.send(`who broadcast-by-token:${token}`)
    const answer = () => peer.received.slice(before).find(payload => String(payload).startsWith('['))
    await until(() => answer() !== undefined, 'the members')
    return JSON.parse(String(answer())).length
  }
  const logged = (node: Launched, text: string) => node.logged().filter(({ msg }) => String(msg).includes(text))

  it('a broadcast reaches all clients of all nodes except the sender, once and in order', async t => {
    const { nodes: all } = await nodes(t, 3, ['broadcast'])
    const [ann, bob, cy, dan] = await Promise.all([all[0]!, all[0]!, all[1]!, all[2]!].map(open))
    const sent = Array.from({ length: 500 }, (_, i) => (i % 2 ? `text ${i}` : Buffer.from([i, i >> 8, 255])))
    for (const payload of sent) ann!.send(payload)
    for (const peer of [bob!, cy!, dan!]) assert.deepEqual(await peer.get(sent.length), sent)
    cy!.send('answer')
    for (const peer of [ann!, dan!]) await until(() => peer.received.at(-1) === 'answer')
    assert.deepEqual(ann!.received, ['answer'])
    assert.equal(cy!.received.length, sent.length)
  })
  it('a token group is one group on all nodes, and any node knows its members', async t => {
    const { nodes: all } = await nodes(t, 2, ['./who.js', 'broadcast-by-token'])
    const [ann, bob, eve] = await Promise.all([all[0]!, all[1]!, all[1]!].map(open))
    ann!.send('token:friends')
    bob!.send('token:friends')
    eve!.send('token:others')
    for (const peer of [ann!, bob!, eve!]) await peer.get(1)
    await until(async () => (await members(eve!, 'friends')) === 2)
    const before = eve!.received.length
    // The subscription to the topic follows the registration.
    await until(() => {
      ann!.send('to friends')
      return bob!.received.at(-1) === 'to friends'
    })
    assert.equal(eve!.received.length, before)
    bob!.ws.close()
    await until(async () => (await members(eve!, 'friends')) === 1)
  })
  it('redis-cli PUBLISH global reaches every browser on every node exactly once', async t => {
    const { nodes: all } = await nodes(t, 2, ['broadcast-pubsub'])
    const peers = await Promise.all([all[0]!, all[0]!, all[1]!].map(open))
    await shared.command('PUBLISH', 'global', 'hello')
    await shared.command('PUBLISH', 'global', 'again')
    for (const peer of peers) assert.deepEqual(await peer.get(2), ['hello', 'again'])
  })
  it('what a filter publishes feeds the consumer chain of every node, its own included; binary stays binary', async t => {
    const { nodes: all } = await nodes(t, 2, ['./shout.js', 'broadcast-pubsub'], await own(t))
    const peers = await Promise.all([all[0]!, all[1]!].map(open))
    peers[0]!.send('text')
    peers[0]!.send(Buffer.from('bytes'))
    for (const peer of peers) assert.deepEqual(await peer.get(2), ['text', Buffer.from('bytes')])
  })
  it('a broadcast in a format reaches the clients of every node whose codec reads it', async t => {
    const { nodes: all } = await nodes(t, 2, ['./round.js'])
    const places = all.flatMap(node => [`${node.url}/round`, node.url])
    const peers = await Promise.all(places.map(place => Peer.open(place)))
    peers[0]!.send('ünï')
    peers[0]!.send(Buffer.from('2'))
    for (const [i, peer] of peers.entries()) {
      const expected = i % 2 === 0 ? ['(ünï)', 'end', '(2)', 'end'] : ['end', 'end']
      assert.deepEqual(await peer.get(expected.length), expected)
    }
  })
  it('actions reach the messaging clients of all nodes, in the format of each, and no other clients', async t => {
    const { nodes: all } = await nodes(t, 2, ['./fleet.js', 'broadcast'], shared, ['--messaging-port', '0'])
    const [ann, bob, eve] = [
      await Peer.open(all[0]!.url, {}, ['messaging']),
      await Peer.open(all[1]!.url, {}, ['messaging']),
      await Peer.open(all[1]!.url),
    ]
    const { url } = all[1]!.logged().find(({ msg }) => String(msg).startsWith('messaging listens on')) as {
      url: string
    }
    const drone = await TcpPeer.open(t, Number(new URL(url).port))
    await drone.get(1)
    ann.send('{"action": "all", "args": ["land", 7]}')
    ann.send('{"action": "own"}')
    await Promise.all([ann.get(1), bob.get(2), drone.get(3), eve.get(1)])
    const land = '{"action":"land","args":[7],"kwargs":{"at":1}}'
    const own = '{"action":"own","args":[],"kwargs":{}}'
    assert.deepEqual([ann.received, bob.received, eve.received], [[land], [land, own], [own]])
    assert.deepEqual(drone.names.slice(1), [
      ['land', [7]],
      ['own', []],
    ])
  })

  it('media of any kind reaches the clients of every node, each with its own numbers', async t => {
    const { nodes: all } = await nodes(t, 2, ['media', './gallery.js'])
    const [ann, bob, simple] = await Promise.all([all[0]!, all[1]!, all[1]!].map(open))
    simple!.send('text')
    await until(() => simple!.received.length === 1)
    ann!.send(envelope(5, PNG, 'png', 0))
    ann!.send(envelope(300, 'own', '', 1))
    const seen = (await bob!.get(2)).map(opened).map(({ id, type, metadata, said }) => [id, type, metadata, said])
    assert.deepEqual(seen, [
      [0, 5, 'png', PNG],
      [1, 300, '', Buffer.from('own')],
    ])
    assert.deepEqual((await simple!.get(3)).slice(1), [PNG, Buffer.from('own')])
  })
  it('an identity, or a topic, is disconnected on all nodes, after everything that was sent to it', async t => {
    const { nodes: all } = await nodes(t, 2, ['./bouncer.js'], await own(t))
    const [ann, here, there, other] = await Promise.all([all[0]!, all[0]!, all[1]!, all[1]!].map(open))
    for (const peer of [here!, there!]) peer.send('am bob')
    other!.send('enter room')
    for (const peer of [here!, there!, other!]) await peer.get(1)
    ann!.send('kick bob')
    for (const peer of [here!, there!]) assert.deepEqual(await peer.end(), { code: 4403, reason: 'out' })
    // The subscription to the topic follows the join.
    await until(() => {
      ann!.send('close room')
      return other!.closed !== undefined
    })
    assert.equal(other!.closed?.code, 4000)
    assert.equal(other!.received.at(-1), 'closing time')
  })
  it('nodes with another --redis-key are another server', async t => {
    const [one, two] = [await nodes(t, 1, ['broadcast']), await nodes(t, 1, ['broadcast'])]
    const [ann, bob] = [await open(one.nodes[0]!), await open(two.nodes[0]!)]
    const cy = await open(one.nodes[0]!)
    ann.send('hello')
    await cy.get(1)
    assert.deepEqual(bob.received, [])
  })
  it('the members of a killed node expire within the lease on all nodes, and no key of it remains', async t => {
    const { key, nodes: all } = await nodes(t, 3, ['./who.js', 'broadcast-by-token'])
    const [ann, bob, cy] = await Promise.all(all.map(open))
    ann!.send('token:x')
    bob!.send('token:x')
    cy!.send('token:x')
    for (const peer of [ann!, bob!, cy!]) await peer.get(1)
    const areAll = async (count: number) => (await members(bob!, 'x')) === count && (await members(cy!, 'x')) === count
    await until(() => areAll(3))
    all[0]!.child.kill('SIGKILL')
    const killed = Date.now()
    await until(() => areAll(2))
    // Far less than the default lease of 15 s; a loaded machine adds to the 1.5 s of this test.
    assert.ok(Date.now() - killed < 7500, `${Date.now() - killed} ms with a lease of 1,500`)
    // Two owners remain, with their keys.
    await until(async () => ((await shared.command('SMEMBERS', `${key}:owners`)) as string[]).length === 2)
    await until(async () => ((await shared.command('KEYS', `${key}:*`)) as string[]).length === 8)
    await Promise.all([all[1]!.stop(), all[2]!.stop()])
    assert.deepEqual(await shared.command('KEYS', `${key}:*`), [])
  })
  it('a paused node that comes back is a member again', async t => {
    const { nodes: all } = await nodes(t, 2, ['./who.js', 'broadcast-by-token'])
    const [ann, bob] = await Promise.all(all.map(open))
    for (const peer of [ann!, bob!]) peer.send('token:x')
    for (const peer of [ann!, bob!]) await peer.get(1)
    const are = async (count: number) => (await members(bob!, 'x')) === count
    const written = () => logged(all[0]!, 'sets of this node written again').length
    await until(() => are(2))
    const before = written()
    all[0]!.child.kill('SIGSTOP')
    await until(() => are(1))
    all[0]!.child.kill('SIGCONT')
    await until(() => are(2))
    // The members are written before the log line.
    await until(() => written() > before)
  })
  it('after a restart of Redis without data the nodes recover, and local clients are not affected', async t => {
    const redis = await own(t)
    const { nodes: all } = await nodes(t, 2, ['./who.js', 'broadcast-by-token'], redis)
    const [ann, bob, cy] = await Promise.all([all[0]!, all[0]!, all[1]!].map(open))
    for (const peer of [ann!, bob!, cy!]) peer.send('token:x')
    for (const peer of [ann!, bob!, cy!]) await peer.get(1)
    await redis.kill()
    await until(() => all.every(node => logged(node, 'is lost').length === 1))
    ann!.send('while down')
    await until(() => bob!.received.at(-1) === 'while down')
    const late = await open(all[0]!)
    late.send('token:x')
    await late.get(1)
    late.send('from one that came while down')
    await until(() => bob!.received.at(-1) === 'from one that came while down')
    await redis.restart()
    await until(() => all.every(node => logged(node, 'is back').length === 1))
    await until(() => {
      late.send('to all nodes')
      return cy!.received.at(-1) === 'to all nodes'
    })
    assert.ok(!cy!.received.includes('while down'))
    await becomes(() => members(cy!, 'x'), 4)
    // Once per outage, however often the client library retried.
    for (const node of all) assert.equal(logged(node, 'is lost').length, 1)
  })
  it('a node stops cleanly while Redis is down', async t => {
    const redis = await own(t)
    const { nodes: all } = await nodes(t, 1, ['broadcast'], redis)
    const peer = await open(all[0]!)
    await redis.kill()
    await until(() => logged(all[0]!, 'is lost').length === 1)
    const ended = all[0]!.stop()
    assert.deepEqual(await peer.end(), { code: 1001, reason: 'server is shutting down' })
    assert.equal((await ended).code, 0)
  })

  async function own(t: TestContext): Promise<RedisServer> {
    const redis = await startRedis()
    t.after(() => redis.stop())
    return redis
  }
})
