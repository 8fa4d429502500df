import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { skipWithoutBrowser, suiteBrowser, UNREACHABLE, watched } from '../support/browser.ts'
import { folder, type Launched, launch } from '../support/cli.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { serve, until } from '../support/peer.ts'
import { freePort } from '../support/port.ts'
import { skipWithoutOwn, startRedis } from '../support/redis.ts'
import { SECRET, sign } from '../support/tokens.ts'
import { closesOf, topicsAt, View } from '../support/topics.ts'

type Test = Parameters<typeof launch>[0]

const ARGV = [
  '-f',
  'jwt',
  'streams',
  'presence',
  'centrifuge',
  '--jwt-secret',
  SECRET,
  '--centrifuge-publish',
  '-p',
  '0',
]
const RULES = [
  '--streams-rules',
  'chat/* size=50 ttl=5m',
  '--presence-topics',
  'chat/*',
  '--presence-grace',
  '10',
  '--presence-lease',
  '1',
]

const tokenOf = (sub: string) => () => sign({ sub, exp: Math.floor(Date.now() / 1000) + 300 })

/** Two nodes with a Redis, and an address that leads to the first until `move`. */
async function twoNodes(t: Test) {
  const redis = await startRedis()
  t.after(() => redis.stop())
  const node = () => launch(t, [...ARGV, ...RULES, '--storage', 'redis', '--redis-url', redis.url])
  const nodes: Launched[] = [await node(), await node()]
  const upstream = { host: '127.0.0.1', port: Number(new URL(nodes[0]!.url).port) }
  const proxy = await startFaultProxy(upstream)
  t.after(() => proxy.stop())
  const move = () => {
    upstream.port = Number(new URL(nodes[1]!.url).port)
  }
  return { redis, nodes, url: `ws://127.0.0.1:${proxy.port}`, move, proxy }
}

describe('topics on two nodes with Redis', { skip: skipWithoutOwn }, () => {
  it('lose no message, and no user, when a node is killed', async t => {
    const { nodes, url, move } = await twoNodes(t)
    const [ann, bob] = [
      topicsAt(t, url, { token: tokenOf('ann') }),
      topicsAt(t, nodes[1]!.url, { token: tokenOf('bob') }),
    ]
    const presence: string[] = []
    const seeing = new View(bob, 'chat/1', {
      onPresence: users =>
        presence.push(
          users
            .map(({ user }) => user)
            .sort()
            .join(' '),
        ),
    })
    const view = new View(ann, 'chat/1', { newest: 10 })
    await until(() => presence.at(-1) === 'ann bob' && view.position !== undefined)
    for (let i = 0; i < 20; i++) await bob.publish('chat/1', i)
    await view.get(20)
    move()
    await nodes[0]!.kill()
    for (let i = 20; i < 40; i++) await bob.publish('chat/1', i)
    await view.get(40)
    await ann.publish('chat/1', 40)
    const all = Array.from({ length: 41 }, (_, i) => i)
    assert.deepEqual(await view.get(41), all)
    assert.deepEqual(await seeing.get(41), all)
    assert.deepEqual(
      view.offsets,
      all.map(i => i + 1),
    )
    assert.ok(
      presence.slice(presence.indexOf('ann bob')).every(users => users === 'ann bob'),
      `${presence}`,
    )
  })

  it('reset when Redis has lost everything', async t => {
    const { redis, url } = await twoNodes(t)
    const topics = topicsAt(t, url, { token: tokenOf('ann') })
    const view = new View(topics, 'chat/1', { newest: 5 })
    await until(() => view.position !== undefined)
    await topics.publish('chat/1', 1)
    await view.get(1)
    await redis.command('FLUSHALL')
    await topics.publish('chat/1', 2)
    assert.deepEqual(await view.get(3), [1, 'reset: unrecoverable position', 2])
  })
})

describe('a server that is silent', () => {
  it('counts as dead 10 seconds after a ping is due, and the next one gets the connection', async t => {
    const server = await serve(t, {
      filters: ['streams', 'centrifuge'],
      streamsRules: ['chat/* size=50 ttl=5m'],
      centrifugePing: 0.5,
    })
    const proxy = await startFaultProxy({ host: '127.0.0.1', port: Number(new URL(server.url).port) })
    t.after(() => proxy.stop())
    const topics = topicsAt(t, `ws://127.0.0.1:${proxy.port}`)
    const closes = closesOf(topics)
    const view = new View(topics, 'chat/1')
    await until(() => view.position !== undefined)
    proxy.halfOpen()
    const start = Date.now()
    await server.append('chat/1', '1')
    await until(() => closes.length > 0)
    assert.ok(Date.now() - start > 5000 && Date.now() - start < 25_000)
    proxy.resume()
    assert.deepEqual(await view.get(1), [1])
  })
})

describe('topics in Chromium', { skip: skipWithoutBrowser }, () => {
  const chromium = suiteBrowser()

  it('recover over a restart of the node, know who is there, and continue after a reload', async t => {
    const redis = await startRedis()
    t.after(() => redis.stop())
    const pages = folder(t, { 'index.html': '<!doctype html><title>Topics</title>' })
    const argv = [...ARGV, ...RULES, '--storage', 'redis', '--redis-url', redis.url, '--pages-root', pages]
    argv.splice(argv.indexOf('centrifuge') + 1, 0, 'pages')
    const port = `${await freePort()}`
    argv[argv.indexOf('-p') + 1] = port
    const first = await launch(t, argv)
    const page = watched(t, await chromium().newPage(), UNREACHABLE)
    const open = `(async () => {
      const { connectTopics } = await import('/fws/client.js')
      const topics = connectTopics(location.origin, { firstDelay: 50, token: '${tokenOf('ann')()}' })
      window.seen = []
      window.present = []
      window.topics = topics
      const stored = sessionStorage.position
      window.room = topics.subscribe('chat/1', {
        newest: 5,
        after: stored && JSON.parse(stored),
        onMessage(data) { seen.push(data); sessionStorage.position = JSON.stringify(room.position) },
        onReset: reason => seen.push(reason),
        onPresence: (users, count) => { present = [count, ...users.map(({ user }) => user).sort()] },
      })
    })()`
    // The Content-Security-Policy forbids page.waitForFunction.
    const seen = async (count: number) => {
      await until(() => page.evaluate<boolean>(`seen.length >= ${count}`), `${count} messages`)
      return page.evaluate('seen')
    }
    const bothPresent = () => until(() => page.evaluate<boolean>("present.join() === '2,ann,bob'"), 'ann and bob')
    await page.goto(`http://127.0.0.1:${port}`)
    await page.evaluate(open)
    const bob = topicsAt(t, first.url, { token: tokenOf('bob') })
    new View(bob, 'chat/1')
    await bob.publish('chat/1', 'one')
    assert.deepEqual(await seen(1), ['one'])
    await bothPresent()
    await first.kill()
    await launch(t, argv)
    await bob.publish('chat/1', 'two')
    assert.deepEqual(await seen(2), ['one', 'two'])
    await page.goto('about:blank')
    await bob.publish('chat/1', 'three')
    await page.goBack()
    await page.evaluate(open)
    assert.deepEqual(await seen(1), ['three'])
    await page.evaluate("topics.publish('chat/1', { text: 'four' })")
    assert.deepEqual(await seen(2), ['three', { text: 'four' }])
    await bothPresent()
  })
})
