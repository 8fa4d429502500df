import assert from 'node:assert/strict'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { RunningServer, ServerOptions } from '../../src/index.ts'
import { run } from '../support/cli.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { serve, until } from '../support/peer.ts'
import { freePort } from '../support/port.ts'
import { root } from '../support/root.ts'
import { SECRET, sign } from '../support/tokens.ts'
import { accept, type Command, closesOf, scripted, topicsAt, View } from '../support/topics.ts'

type Test = Parameters<typeof serve>[0]

const KEPT: ServerOptions = {
  filters: ['streams', 'centrifuge'],
  streamsRules: ['chat/* size=20 ttl=5m'],
  centrifugePublish: true,
}

const room = (t: Test, options: ServerOptions = {}) => serve(t, { ...KEPT, ...options })

/** A server behind a proxy that can break connections. */
async function behindProxy(t: Test, options: ServerOptions = {}) {
  const server = await room(t, options)
  const proxy = await startFaultProxy({ host: '127.0.0.1', port: portOf(server) })
  t.after(() => proxy.stop())
  return { server, proxy, url: `ws://127.0.0.1:${proxy.port}` }
}

const portOf = ({ url }: RunningServer) => Number(new URL(url).port)
const append = (server: RunningServer, topic: string, ...data: unknown[]) =>
  Promise.all(data.map(one => server.append(topic, JSON.stringify(one))))

describe('a topic of the client', () => {
  it('gets the messages of all clients in one order, each with its offset', async t => {
    const { url } = await room(t)
    const [ann, bob] = [topicsAt(t, url), topicsAt(t, url)]
    const views = [new View(ann, 'chat/1'), new View(bob, 'chat/1')]
    await until(() => views.every(view => view.position))
    await ann.publish('chat/1', 'hello')
    await bob.publish('chat/1', { text: 'hi' })
    for (const view of views) {
      assert.deepEqual(await view.get(2), ['hello', { text: 'hi' }])
      assert.deepEqual(view.offsets, [1, 2])
      assert.equal(view.position?.offset, 2)
    }
  })

  it('begins with the newest messages of the past, if it asks for them', async t => {
    const server = await room(t)
    await append(server, 'chat/1', 1, 2, 3, 4)
    const view = new View(topicsAt(t, server.url), 'chat/1', { newest: 2 })
    assert.deepEqual(await view.get(2), [3, 4])
    await append(server, 'chat/1', 5)
    assert.deepEqual(await view.get(3), [3, 4, 5])
    assert.deepEqual(view.offsets, [3, 4, 5])
  })

  it('continues at a stored position, as after a reload', async t => {
    const server = await room(t)
    const before = topicsAt(t, server.url)
    const first = new View(before, 'chat/1')
    await until(() => first.position !== undefined)
    await append(server, 'chat/1', 1, 2)
    await first.get(2)
    const after = JSON.parse(JSON.stringify(first.position))
    before.close()
    await append(server, 'chat/1', 3, 4)
    const second = new View(topicsAt(t, server.url), 'chat/1', { after, newest: 10 })
    assert.deepEqual(await second.get(2), [3, 4])
    assert.deepEqual(second.position, { epoch: after.epoch, offset: 4 })
  })

  it('gets what was sent while the connection was broken, once and in order', async t => {
    const { server, proxy, url } = await behindProxy(t)
    const topics = topicsAt(t, url)
    const views = [new View(topics, 'chat/1'), new View(topics, 'chat/2', { newest: 5 })]
    await until(() => views.every(view => view.position))
    await append(server, 'chat/1', 'a')
    await views[0]!.get(1)
    proxy.refuse()
    await append(server, 'chat/1', 'b', 'c')
    await append(server, 'chat/2', 'd')
    await proxy.accept()
    assert.deepEqual(await views[0]!.get(3), ['a', 'b', 'c'])
    assert.deepEqual(await views[1]!.get(1), ['d'])
    await append(server, 'chat/1', 'e')
    assert.deepEqual(await views[0]!.get(4), ['a', 'b', 'c', 'e'])
    assert.deepEqual(views[0]!.offsets, [1, 2, 3, 4])
  })

  it('resets when what it has missed is no longer kept, and begins again with the newest', async t => {
    const { server, proxy, url } = await behindProxy(t)
    const view = new View(topicsAt(t, url), 'chat/1', { newest: 2 })
    await until(() => view.position !== undefined)
    await append(server, 'chat/1', 'before')
    await view.get(1)
    proxy.refuse()
    await append(server, 'chat/1', ...Array.from({ length: 30 }, (_, i) => i))
    await proxy.accept()
    assert.deepEqual(await view.get(4), ['before', 'reset: unrecoverable position', 28, 29])
    await append(server, 'chat/1', 'after')
    assert.deepEqual(await view.get(5), ['before', 'reset: unrecoverable position', 28, 29, 'after'])
  })

  it('resets when the server has lost the topic, as a restart without Redis does', async t => {
    const port = await freePort()
    const server = await room(t, { port })
    const view = new View(topicsAt(t, server.url), 'chat/1')
    await until(() => view.position !== undefined)
    await append(server, 'chat/1', 'before')
    await view.get(1)
    await server.close()
    const restarted = await room(t, { port })
    await view.get(2)
    await append(restarted, 'chat/1', 'after')
    assert.deepEqual(await view.get(3), ['before', 'reset: unrecoverable position', 'after'])
    assert.equal(view.position?.offset, 1)
  })

  it('resets after a break if the topic is not kept', async t => {
    const { server, proxy, url } = await behindProxy(t)
    const topics = topicsAt(t, url)
    const view = new View(topics, 'plain')
    await topics.publish('plain', 1)
    assert.deepEqual(await view.get(1), [1])
    assert.deepEqual([view.offsets, view.position], [[undefined], undefined])
    proxy.cut()
    await view.get(2)
    server.broadcast('2', { topic: 'plain' })
    assert.deepEqual(await view.get(3), [1, 'reset: not kept', 2])
  })

  it('ends when it is unsubscribed, and can be subscribed again', async t => {
    const server = await room(t)
    const topics = topicsAt(t, server.url)
    const [one, two] = [new View(topics, 'chat/1'), new View(topics, 'chat/2')]
    await until(() => one.position !== undefined && two.position !== undefined)
    assert.throws(() => new View(topics, 'chat/1'), /^Error: already subscribed to chat\/1$/)
    one.unsubscribe()
    one.unsubscribe()
    await append(server, 'chat/1', 'a')
    await append(server, 'chat/2', 'b')
    assert.deepEqual(await two.get(1), ['b'])
    assert.deepEqual(one.seen, [])
    const again = new View(topics, 'chat/1', { after: one.position })
    assert.deepEqual(await again.get(1), ['a'])
  })

  it('ends with the error of the server, and the connection goes on', async t => {
    const server = await room(t, {
      filters: ['allow', 'streams', 'centrifuge'],
      allowRules: ['anyone join,read,publish chat/1', 'anyone join chat/2'],
    })
    const topics = topicsAt(t, server.url)
    const views = ['secret', 'chat/2', '@everyone', 'x'.repeat(300), 'chat/1'].map(
      topic => new View(topics, topic, { newest: 1 }),
    )
    await topics.publish('chat/1', 'hello')
    await views.at(-1)!.get(1)
    assert.deepEqual(
      views.map(({ seen }) => seen),
      [['end: 103'], ['end: 103'], ['end: 103'], ['end: 106'], ['hello']],
    )
    await assert.rejects(topics.publish('chat/2', 1), { code: 103, message: 'permission denied' })
  })

  it('gets what follows its subscription in the same frame behind what it has missed', async t => {
    const { url } = await scripted(t, ({ id, subscribe, ...command }, socket) => {
      if (!subscribe) return accept(command as Command)
      const reply = { recoverable: true, epoch: 'e', offset: 5, publications: [{ data: 6, offset: 6 }] }
      const push = (data: number) => ({ push: { channel: 'a', pub: { data, offset: data } } })
      const lines = [{ id, subscribe: reply }, push(7), push(8)]
      socket.send(lines.map(line => JSON.stringify(line)).join('\n'))
      return undefined
    })
    const view = new View(topicsAt(t, url), 'a', { after: { epoch: 'e', offset: 5 } })
    assert.deepEqual(await view.get(3), [6, 7, 8])
    assert.deepEqual(view.position, { epoch: 'e', offset: 8 })
  })

  it('reports the error of a handler as uncaught, and goes on', async t => {
    const { url } = await scripted(t, command =>
      command.subscribe ? { subscribe: { publications: [{ data: 1 }, { data: 2 }] } } : accept(command),
    )
    const code = `import { connectTopics } from '${import.meta.resolve('../../client/node.js')}'
      process.on('uncaughtException', ({ message }) => console.log(message))
      const topics = connectTopics('${url}')
      topics.subscribe('a', { onMessage(data) {
        if (data === 2) topics.close()
        throw new Error('failed at ' + data)
      } })`
    const { stdout } = await run(['-e', code], { command: ['--input-type=module'] })
    assert.equal(stdout, 'failed at 1\nfailed at 2\n')
  })

  it('that is subscribed again at once gets no message twice', async t => {
    const server = await room(t)
    const topics = topicsAt(t, server.url)
    const first = new View(topics, 'chat/1')
    await until(() => first.position !== undefined)
    const { position } = first
    await append(server, 'chat/1', 1, 2)
    first.unsubscribe()
    const second = new View(topics, 'chat/1', { after: position })
    await append(server, 'chat/1', 3)
    assert.deepEqual(await second.get(3), [1, 2, 3])
    assert.deepEqual(second.offsets, [1, 2, 3])
  })

  it('keeps its position until the reset has been reported', async t => {
    let subscribes = 0
    const { url } = await scripted(t, command => {
      if (!command.subscribe) return accept(command)
      return ++subscribes === 1
        ? { error: { code: 112, message: 'unrecoverable position' } }
        : { subscribe: { recoverable: true, epoch: 'f', offset: 9 } }
    })
    const view = new View(topicsAt(t, url), 'a', { after: { epoch: 'e', offset: 5 } })
    await until(() => subscribes === 1)
    assert.deepEqual(view.position, { epoch: 'e', offset: 5 })
    assert.deepEqual(await view.get(1), ['reset: unrecoverable position'])
    assert.deepEqual(view.position, { epoch: 'f', offset: 9 })
  })

  it('that has ended is forgotten: its process can end', async t => {
    const { url } = await scripted(t, accept)
    const code = `import { connectTopics } from '${import.meta.resolve('../../client/node.js')}'
      const topics = connectTopics('${url}', { timeout: 60_000 })
      topics.subscribe('a', { onMessage() {} })
      topics.publish('a', 1).then(() => topics.close())`
    const start = Date.now()
    assert.equal((await run(['-e', code], { command: ['--input-type=module'] })).code, 0)
    assert.ok(Date.now() - start < 40_000)
  })
})

describe('the connection of topics', () => {
  it('sends the commands of a turn in one frame, and large ones in several', async t => {
    const { url, frames } = await scripted(t, accept)
    const topics = topicsAt(t, url)
    for (const topic of ['a', 'b']) new View(topics, topic)
    await topics.publish('a', 1)
    const commands = [
      { id: 2, connect: {} },
      { id: 3, subscribe: { channel: 'a', recoverable: true, flag: 2 } },
      { id: 4, subscribe: { channel: 'b', recoverable: true, flag: 2 } },
      { id: 1, publish: { channel: 'a', data: 1 } },
    ]
    assert.deepEqual(frames, [commands.map(command => JSON.stringify(command)).join('\n')])
    await Promise.all(Array.from({ length: 100 }, () => topics.publish('a', 'x'.repeat(1000))))
    assert.ok(frames.slice(1).every(frame => frame.length < 34_000))
    assert.equal(frames.length, 5)
  })

  it('publishes what waits for a connection, and gives up after the timeout', async t => {
    const { server, proxy, url } = await behindProxy(t)
    proxy.refuse()
    const hasty = topicsAt(t, url, { timeout: 100 })
    await assert.rejects(hasty.publish('chat/1', 'late'), { code: 'timeout', message: 'no answer to publish' })
    hasty.close()
    const topics = topicsAt(t, url)
    const waiting = topics.publish('chat/1', 'in time')
    await proxy.accept()
    const { offset } = await waiting
    assert.equal(offset, 1)
    const { entries } = await server.read('chat/1', { from: 'oldest', entries: 10, bytes: 1000 })
    assert.deepEqual(
      entries.map(({ payload }) => payload),
      ['"in time"'],
    )
    proxy.refuse()
    const unsent = topics.publish('chat/1', 'never')
    topics.close()
    await assert.rejects(unsent, { code: 'lost', message: 'no reply' })
    assert.equal(topics.state, 'closed')
  })

  it('rejects a call whose answer is lost, since the server may have handled it', async t => {
    const { url } = await scripted(t, (command, socket) => {
      if (command.publish) socket.terminate()
      return accept(command)
    })
    await assert.rejects(topicsAt(t, url).publish('a', 1), { code: 'lost', message: 'no reply' })
  })

  it('answers pings only if the server expects it', async t => {
    for (const pong of [true, false]) {
      const { url, frames, sockets } = await scripted(t, command =>
        command.connect ? { connect: { ping: 25, pong } } : accept(command),
      )
      const topics = topicsAt(t, url)
      await topics.publish('a', 1)
      sockets[0]!.send('{}')
      for (const data of [2, 3]) await topics.publish('a', data)
      assert.equal(
        frames.some(frame => frame.split('\n').includes('{}')),
        pong,
      )
    }
  })

  for (const [what, frame] of [
    ['text', 'hello'],
    ['half an object', '{"id":'],
    ['null', 'null'],
  ] as const)
    it(`comes back after a message that is not of the protocol: ${what}`, async t => {
      const { url, sockets } = await scripted(t, accept)
      const topics = topicsAt(t, url)
      const closes = closesOf(topics)
      await topics.publish('a', 1)
      sockets[0]!.send(frame)
      await until(() => closes.length === 1)
      await topics.publish('a', 2)
      assert.deepEqual(closes, [[1006, false]])
    })

  for (const [code, isFinal] of [
    [1001, false],
    [1009, true],
    [1012, false],
    [3000, false],
    [3005, false],
    [3012, false],
    [3499, false],
    [3500, true],
    [3501, true],
    [3999, true],
    [4000, false],
    [4403, true],
    [4499, false],
    [4500, true],
  ] as const)
    it(`${isFinal ? 'does not come' : 'comes'} back after close code ${code}`, async t => {
      const { url, sockets } = await scripted(t, accept)
      const topics = topicsAt(t, url)
      const closes = closesOf(topics)
      await topics.publish('a', 1)
      sockets[0]!.close(code)
      await until(() => closes.length === 1)
      assert.deepEqual(closes, [[code, isFinal]])
      if (!isFinal) await topics.publish('a', 2)
    })

  for (const [what, error, close] of [
    ['a temporary error', { code: 100, message: 'internal server error', temporary: true }, [1006, false]],
    ['a final one', { code: 101, message: 'unauthorized' }, [101, true]],
    ['a token that has expired', { code: 109, message: 'token expired' }, [109, true]],
  ] as const)
    it(`is refused with ${what}`, async t => {
      const { url } = await scripted(t, () => ({ error }))
      const closes = closesOf(topicsAt(t, url))
      await until(() => closes.length > 0)
      assert.deepEqual(closes[0], close)
    })

  it('subscribes again after a temporary error, and from its position after an unsubscribe that is not final', async t => {
    const subscribes: unknown[] = []
    const { url, sockets } = await scripted(t, command => {
      if (!command.subscribe) return accept(command)
      const attempt = subscribes.push(command.subscribe)
      if (attempt === 1) return { error: { code: 100, message: 'internal server error', temporary: true } }
      return { subscribe: { recoverable: true, epoch: 'e', offset: 7 } }
    })
    const view = new View(topicsAt(t, url), 'a')
    await until(() => view.position !== undefined)
    const push = (push: object) => sockets[0]!.send(JSON.stringify({ push: { channel: 'a', ...push } }))
    push({ pub: { data: 'x', offset: 8 } })
    push({ unsubscribe: { code: 2500, reason: 'insufficient state' } })
    await until(() => subscribes.length === 3)
    push({ unsubscribe: { code: 2502, reason: 'state invalidated' } })
    await until(() => subscribes.length === 4)
    push({ unsubscribe: { code: 2000, reason: 'permission denied' } })
    assert.deepEqual(await view.get(3), ['x', 'reset: state invalidated', 'end: 2000'])
    const first = { channel: 'a', recoverable: true, flag: 2 }
    assert.deepEqual(subscribes, [first, first, { ...first, recover: true, epoch: 'e', offset: 8 }, first])
  })
})

describe('the token of topics', () => {
  const guarded = (t: Test) =>
    room(t, { filters: ['jwt', 'streams', 'centrifuge'], jwtSecret: SECRET, jwtGrace: 0 } as ServerOptions)

  for (const [what, tokens, calls] of [
    ['a string is refused for good', ['wrong'], 0],
    ['a function is called again once', ['wrong', 'wrong'], 2],
    ['a better one is accepted', ['wrong', sign({ sub: 'ann' })], 2],
  ] as const)
    it(`of the handshake: ${what}`, async t => {
      const server = await guarded(t)
      let called = 0
      const topics = topicsAt(t, server.url, { token: calls === 0 ? tokens[0] : () => tokens[called++]! })
      const closes = closesOf(topics)
      const isRefused = tokens.at(-1) === 'wrong'
      if (isRefused) await until(() => topics.state === 'closed')
      else await topics.publish('chat/1', 'hello')
      assert.equal(called, calls)
      assert.deepEqual(
        closes,
        isRefused && calls
          ? [
              [4401, false],
              [4401, true],
            ]
          : [[4401, isRefused]],
      )
    })

  it('that expires is replaced, and no message is lost', async t => {
    const server = await guarded(t)
    let called = 0
    const token = () => sign({ sub: 'ann', exp: Math.floor(Date.now() / 1000) + (called++ === 0 ? 1 : 60) })
    const topics = topicsAt(t, server.url, { token })
    const closes = closesOf(topics)
    const view = new View(topics, 'chat/1')
    await until(() => view.position !== undefined)
    await until(() => closes.length > 0)
    await append(server, 'chat/1', 'meanwhile')
    assert.deepEqual(await view.get(1), ['meanwhile'])
    assert.equal(called, 2)
  })
})

describe('the presence of a topic', () => {
  const member = (user: string, client: string, info?: unknown) => ({ user, client, info })

  /** A server with a scripted presence: list, then entries. */
  async function present(t: Test, list: object) {
    let lists = 0
    const { url, sockets } = await scripted(t, ({ subscribe, ...command }) => {
      if (!subscribe) return accept(command as Command)
      if (subscribe.channel === 'a') return { subscribe: {} }
      lists++
      return { subscribe: { recoverable: true, epoch: 'e', offset: 3, data: list } }
    })
    const seen: unknown[] = []
    const subscription = topicsAt(t, url).subscribe('a', {
      onMessage: () => {},
      onPresence: (users, count) => seen.push([users.map(({ user }) => user).join(' '), count]),
    })
    await until(() => seen.length > 0)
    const entry = (...data: object[]) =>
      sockets[0]!.send(
        data
          .map((one, i) => JSON.stringify({ push: { channel: '@presence/a', pub: { data: one, offset: 4 + i } } }))
          .join('\n'),
      )
    return { seen, entry, subscription, lists: () => lists }
  }

  it('is a list of users that joins and leaves keep up to date, once a frame', async t => {
    const members = [member('ann', '1'), member('bob', '2'), member('ann', '3')]
    const { seen, entry } = await present(t, { members, clients: 3, users: 2 })
    entry({ join: member('eve', '4') }, { join: member('dan', '5') })
    await until(() => seen.length === 2)
    entry({ leave: member('ann', '3') })
    await until(() => seen.length === 3)
    assert.deepEqual(seen, [
      ['ann bob', 2],
      ['ann bob eve dan', 4],
      ['bob eve dan', 3],
    ])
  })

  it('is a number while the topic is crowded, and a list again afterwards', async t => {
    const { seen, entry, lists } = await present(t, { members: [member('ann', '1')], clients: 1, users: 1 })
    entry({ crowded: true, clients: 1200, users: 1001 })
    await until(() => seen.length === 2)
    entry({ leave: member('ann', '1') }, { crowded: false, clients: 1, users: 1 })
    await until(() => lists() === 2 && seen.length >= 3)
    assert.deepEqual(
      [seen[0], seen[1], seen.at(-1)],
      [
        ['ann', 1],
        ['', 1001],
        ['ann', 1],
      ],
    )
  })

  it('is a number if the list has only a part of the users', async t => {
    const { seen } = await present(t, { members: [member('ann', '1')], clients: 9, users: 5 })
    assert.deepEqual(seen, [['', 5]])
  })
})

describe('dist/browser/client.js', () => {
  it('has less than 6,000 bytes', () => {
    const { size } = statSync(join(root, 'dist/browser/client.js'))
    assert.ok(size < 6000, `${size} bytes`)
  })
})
