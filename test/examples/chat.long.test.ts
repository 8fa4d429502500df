import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { WebSocket } from 'ws'
import type { SubscribeOptions, Topics, TopicsOptions } from '../../client/node.ts'
import type { RunningServer } from '../../src/index.ts'
import { serve, until } from '../support/peer.ts'
import { root } from '../support/root.ts'
import { topicsAt, View } from '../support/topics.ts'

type Test = Parameters<typeof serve>[0]

const CHAT = join(root, 'examples/chat')

const chat = (t: Test): Promise<RunningServer> =>
  serve(t, {
    filters: ['rate-limit', join(CHAT, 'chat.ts'), 'streams', 'presence', 'centrifuge', 'pages'],
    streamsRules: ['chat/* size=200 ttl=24h'],
    presenceTopics: ['chat/*'],
    centrifugePublish: true,
    pagesRoot: join(CHAT, 'public'),
  })

const request = (server: RunningServer, headers: Record<string, string> = {}) =>
  fetch(server.url.replace('ws:', 'http:'), { headers })

/** The cookies that the page of a new browser gets. */
async function browserOf(server: RunningServer): Promise<{ readonly id: string; readonly cookie: string }> {
  const cookies = (await request(server)).headers.getSetCookie().map(line => line.split(';')[0]!)
  return { cookie: cookies.join('; '), id: cookies[1]!.slice('chat_id='.length) }
}

/** A connection with cookies. */
function enter(t: Test, server: RunningServer, cookie: string): Topics {
  class WithCookie extends WebSocket {
    constructor(url: string, protocols?: string[]) {
      super(url, protocols, { headers: { cookie } })
    }
  }
  return topicsAt(t, server.url, { WebSocket: WithCookie as unknown as TopicsOptions['WebSocket'] })
}

/** A view of a room by a person with a name; its times are checked and removed. */
async function person(t: Test, server: RunningServer, name: string, options: Partial<SubscribeOptions> = {}) {
  const { id, cookie } = await browserOf(server)
  const topics = enter(t, server, `${cookie}; chat_name=${name}`)
  const start = Date.now()
  const seen: unknown[] = []
  const room = new View(topics, 'chat/lobby', {
    onMessage({ at, ...message }) {
      assert.ok(at >= start - 1 && at <= Date.now())
      seen.push(message)
    },
    ...options,
  })
  await until(() => room.position !== undefined)
  return { id, cookie, topics, seen }
}

describe('examples/chat: the cookies', () => {
  it('are a secret that scripts cannot read, and the public id; a browser gets them once', async t => {
    const server = await chat(t)
    const [secret, id] = (await request(server)).headers.getSetCookie()
    assert.match(secret!, /^chat_secret=[\w-]{22}; HttpOnly; Path=\/; Max-Age=31536000; SameSite=Lax$/)
    assert.match(id!, /^chat_id=[0-9a-f]{12}; Path=\/; Max-Age=31536000; SameSite=Lax$/)
    const cookie = secret!.split(';')[0]!
    assert.deepEqual((await request(server, { cookie })).headers.getSetCookie(), [])
    assert.equal((await request(server, { cookie: 'chat_secret=short' })).headers.getSetCookie().length, 2)
  })

  for (const cookie of ['', 'chat_id=e149b1c80f2a', 'chat_secret=', 'chat_secret=%', `chat_secret=${'a'.repeat(23)}`])
    it(`make one person of two connections, and two of those with "${cookie}"`, async t => {
      const server = await chat(t)
      const { cookie: valid, id } = await browserOf(server)
      const ids = new Set<string>()
      for (const one of [valid, valid, cookie, cookie]) {
        const topics = enter(t, server, one)
        const said = new Promise<string>(resolve => {
          topics.subscribe('chat/lobby', { onMessage: message => resolve(message.id) })
        })
        await topics.publish('chat/lobby', 'hello')
        ids.add(await said)
      }
      assert.equal(ids.size, 3)
      assert.ok(ids.has(id))
    })
})

describe('examples/chat: a room', () => {
  it('gets each message with the id and the name of its author, and the time of the server', async t => {
    const server = await chat(t)
    const [ann, bob] = [await person(t, server, 'ann'), await person(t, server, 'b%C3%B6b')]
    await ann.topics.publish('chat/lobby', ' hello ')
    await bob.topics.publish('chat/lobby', '<img src=x>')
    const expected = [
      { id: ann.id, name: 'ann', text: 'hello' },
      { id: bob.id, name: 'böb', text: '<img src=x>' },
    ]
    for (const { seen } of [ann, bob]) {
      await until(() => seen.length === 2)
      assert.deepEqual(seen, expected)
    }
  })

  it('gets the new name of a person, with the one before', async t => {
    const server = await chat(t)
    const ann = await person(t, server, '')
    await ann.topics.publish('chat/lobby', { name: 'ann', id: 'other', text: 'ignored' })
    await until(() => ann.seen.length === 1)
    assert.deepEqual(ann.seen, [{ id: ann.id, name: 'ann', was: `guest-${ann.id.slice(0, 4)}` }])
  })

  for (const name of ['', 'two%20words', '%3Cb%3E', 'x'.repeat(21), '%E0%A4%A', 'a%3Bb'])
    it(`names a guest whose cookie has the name "${name}"`, async t => {
      const server = await chat(t)
      const ann = await person(t, server, name)
      await ann.topics.publish('chat/lobby', 'hello')
      await until(() => ann.seen.length === 1)
      assert.equal((ann.seen[0] as { name: string }).name, `guest-${ann.id.slice(0, 4)}`)
    })

  for (const [what, topic, data] of [
    ['an empty string', 'chat/lobby', ' '],
    ['501 characters', 'chat/lobby', 'x'.repeat(501)],
    ['a number', 'chat/lobby', 1],
    ['null', 'chat/lobby', null],
    ['an object with the fields of a message', 'chat/lobby', { id: 'x', text: 'hello', at: 1 }],
    ['a name with a space', 'chat/lobby', { name: 'two words' }],
    ['a name that is no string', 'chat/lobby', { name: ['ann'] }],
    ['a room without a name', 'chat/', 'hello'],
    ['a room in a room', 'chat/a/b', 'hello'],
    ['another topic', 'news', 'hello'],
    ['the presence of a room', '@presence/chat/lobby', 'hello'],
  ] as const)
    it(`refuses ${what}`, async t => {
      const server = await chat(t)
      const ann = await person(t, server, 'ann')
      await assert.rejects(ann.topics.publish(topic, data), { code: 103, message: 'permission denied' })
      await ann.topics.publish('chat/lobby', 'x'.repeat(500))
      await until(() => ann.seen.length === 1)
    })

  it('gets messages of the operator as those of the server', async t => {
    const server = await chat(t)
    const ann = await person(t, server, 'ann')
    await server.publishTo('chat/lobby', '"a restart at noon"')
    await until(() => ann.seen.length === 1)
    assert.deepEqual(ann.seen, [{ name: 'server', text: 'a restart at noon' }])
  })

  it('lists a person with two tabs once, by name', async t => {
    const server = await chat(t)
    const people: string[] = []
    const ann = await person(t, server, 'ann', {
      onPresence: users => people.push(users.map(({ info }) => (info as { name: string }).name).join(' ')),
    })
    await until(() => people.at(-1) === 'ann')
    const second = new View(enter(t, server, ann.cookie), 'chat/lobby')
    await until(() => second.position !== undefined)
    await person(t, server, 'bob')
    await until(() => people.at(-1) === 'ann bob')
    assert.deepEqual([...new Set(people)], ['ann', 'ann bob'])
  })
})
