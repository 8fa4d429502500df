import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import type { MemberPage, PresenceApi, PresenceChange } from '../../filters/presence.ts'
import { type Client, createServer, DROP, type FilterModule, type Host } from '../../src/index.ts'
import type { TestServer } from '../../src/testing/index.ts'
import { folder, run } from '../support/cli.ts'
import { until } from '../support/peer.ts'
import { startTestServer } from '../support/test-server.ts'

/** Gives the test the api of `presence`. */
function tester() {
  let api: PresenceApi | undefined
  const filter: FilterModule = {
    uses: ['presence'],
    setup: (host: Host) => {
      api = host.use('presence')
    },
  }
  return { filter, api: () => api! }
}

interface Room extends TestServer {
  readonly api: PresenceApi
  /** A client with an identity, in a topic. */
  enter(identity: string | undefined, topic?: string): Promise<Client>
  /** Changes of the topic `room`, as compact strings. */
  readonly changes: string[]
}

async function room(
  t: TestContext,
  options: Readonly<Record<string, unknown>> = {},
  filters: (FilterModule | string)[] = [],
): Promise<Room> {
  const { filter, api } = tester()
  const server = await startTestServer(t, [...filters, 'presence', filter], {
    'presence-topics': ['room', 'room/*'],
    'presence-grace': 0,
    ...options,
  })
  const changes: string[] = []
  api().watch('room', change => changes.push(shown(change)))
  // Its membership begins in a later turn.
  await api().count('room')
  return {
    ...server,
    api: api(),
    changes,
    enter: async (identity, topic = 'room') => {
      const { client } = await server.connect()
      client.identity = identity
      client.join(topic)
      return client
    },
  }
}

function shown(change: PresenceChange): string {
  if ('join' in change) return `+${change.join.user}`
  if ('leave' in change) return `-${change.leave.user}`
  if ('lost' in change) return `lost ${change.lost}`
  return `${change.crowded ? 'crowded' : 'calm'} ${change.users}/${change.clients}`
}

const usersOf = ({ members }: MemberPage) => members.map(({ user }) => user)

describe('presence', () => {
  it('lists who is in a topic, and announces the first and the last client of a user', async t => {
    const { api, enter, changes } = await room(t)
    const ann = await enter('ann')
    const tab = await enter('ann')
    const bob = await enter('bob')
    const { members, position, ...rest } = await api.list('room')
    assert.deepEqual(
      members.map(({ client, user }) => [client, user]),
      [ann, tab]
        .toSorted((a, b) => (a.id < b.id ? -1 : 1))
        .map(({ id }) => [id, 'ann'])
        .concat([[bob.id, 'bob']]),
    )
    assert.ok(members.every(({ since }) => Math.abs(Date.now() - since) < 10_000))
    assert.deepEqual(rest, { clients: 3, users: 2 })
    assert.equal(position.offset, 2)
    ann.leave('room')
    assert.deepEqual(await api.count('room'), { clients: 2, users: 2 })
    tab.disconnect()
    bob.leave('room')
    assert.deepEqual(await api.count('room'), { clients: 0, users: 0 })
    assert.deepEqual(changes, ['+ann', '+bob', '-ann', '-bob'])
    assert.deepEqual((await api.list('room')).members, [])
  })

  it('a list and the changes behind its position have no gap', async t => {
    const { api, enter, server } = await room(t)
    await enter('ann')
    const { position } = await api.list('room')
    const bob = await enter('bob')
    await api.count('room')
    const watcher = await enter('eve', 'room/2')
    const { entries, recovered } = await watcher.join('@presence/room', { after: position, onJoined: () => {} })
    assert.equal(recovered, true)
    assert.deepEqual(
      entries.map(({ payload }) => String(payload)),
      [`{"join":{"user":"bob","client":"${bob.id}"}}`],
    )
    await assert.rejects(watcher.publish('@presence/room', '{}'), { code: 'ERR_FORBIDDEN' })
    assert.equal(server.counters.errors, 0)
  })

  it('a client without an identity is a user of its own', async t => {
    const { api, enter } = await room(t)
    const [one, two] = [await enter(undefined), await enter(undefined)]
    assert.deepEqual(usersOf(await api.list('room')), [one.id, two.id].toSorted())
  })

  it('counts pending clients from their admission on', async t => {
    const holder: FilterModule = { connect: client => client.hold() }
    const { api, enter } = await room(t, {}, [holder])
    const ann = await enter('ann')
    assert.deepEqual(await api.count('room'), { clients: 0, users: 0 })
    ann.admit()
    assert.deepEqual(await api.count('room'), { clients: 1, users: 1 })
  })

  it('a client that joins and leaves in one turn is not announced', async t => {
    const { api, enter, changes } = await room(t)
    const ann = await enter('ann')
    ann.leave('room')
    await enter('bob')
    await api.count('room')
    assert.deepEqual(changes, ['+bob'])
  })

  it('another identity leaves as the old user and joins as the new one', async t => {
    const { api, enter, changes } = await room(t, { 'presence-grace': 60 })
    const ann = await enter('ann')
    const tab = await enter('ann')
    await api.count('room')
    ann.identity = 'bob'
    await ann.recheck()
    assert.deepEqual(usersOf(await api.list('room')).toSorted(), ['ann', 'bob'])
    tab.identity = 'bob'
    await tab.recheck()
    await tab.recheck()
    assert.deepEqual(await api.count('room'), { clients: 2, users: 1 })
    assert.deepEqual(changes, ['+ann', '+bob', '-ann'])
  })

  it('a client that loses the right to join leaves, and watches no more', async t => {
    const guard: FilterModule = { stage: 'guard', permit: (_, { identity }) => identity !== 'out' }
    const { api, enter, changes } = await room(t, {}, [guard])
    const ann = await enter('ann')
    ann.join('@presence/room')
    await api.count('room')
    ann.identity = 'out'
    await ann.recheck()
    assert.deepEqual([...ann.topics], [])
    assert.deepEqual(await api.count('room'), { clients: 0, users: 0 })
    assert.deepEqual(changes, ['+ann', '-ann'])
    assert.throws(() => ann.join('@presence/room'), { code: 'ERR_FORBIDDEN' })
  })

  it('members of a stream that the storage has deleted are listed, and counted', async t => {
    const { api, enter, server } = await room(t, { 'memory-streams-topics': 2 })
    const users = Array.from({ length: 500 }, (_, i) => `user${i}`)
    for (const user of users) await enter(user, 'room/1')
    const { position } = await api.list('room/1')
    for (const method of ['list', 'count'] as const) {
      for (let i = 2; i < 6; i++) await enter('ann', `room/${i}`).then(() => api.list(`room/${i}`))
      const { clients, users } = await api[method]('room/1')
      assert.deepEqual([clients, users], [500, 500])
    }
    assert.notEqual((await api.list('room/1')).position.epoch, position.epoch)
    assert.equal(server.counters.errors, 0)
  })

  it('pages of a list have each member once, users and clients with any characters too', async t => {
    const { api, enter } = await room(t)
    const names = ['b', 'a', '__proto__', '\0', 'a\0b', '\ud800', 'ü', '{}', 'a', 'x'.repeat(300)]
    for (const name of names) await enter(name)
    const found: string[] = []
    let after: string | undefined
    do {
      const page = await api.list('room', { limit: 3, after })
      assert.ok(page.members.length <= 3)
      found.push(...usersOf(page))
      after = page.next
    } while (after !== undefined)
    assert.deepEqual(found, names.toSorted())
  })
})

describe('presence-grace', () => {
  it('a user that returns in time, or has another client, does not leave', async t => {
    const { api, enter, changes } = await room(t, { 'presence-grace': 60 })
    const ann = await enter('ann')
    const bob = await enter('bob')
    await api.count('room')
    ann.disconnect()
    bob.leave('room')
    assert.deepEqual(await api.count('room'), { clients: 0, users: 2 })
    assert.deepEqual(usersOf(await api.list('room')), ['ann', 'bob'])
    const again = await enter('ann')
    bob.join('room')
    assert.deepEqual(await api.count('room'), { clients: 2, users: 2 })
    assert.deepEqual(
      (await api.list('room')).members.map(({ client }) => client),
      [again.id, bob.id],
    )
    assert.deepEqual(changes, ['+ann', '+bob'])
  })

  it('a user leaves once when it has ended', async t => {
    const { api, enter, changes } = await room(t, { 'presence-grace': 2 })
    const [ann, tab] = [await enter('ann'), await enter('ann')]
    await api.count('room')
    for (const client of [ann, tab]) client.disconnect()
    await api.count('room')
    assert.deepEqual(changes, ['+ann'])
    await until(() => changes.length === 2)
    assert.deepEqual(changes, ['+ann', '-ann'])
    assert.deepEqual(await api.count('room'), { clients: 0, users: 0 })
  })
})

describe('presence-max', () => {
  it('above it joins and leaves are not announced until 80 %, and counts go on', async t => {
    const { api, enter, changes } = await room(t, { 'presence-max': 5 })
    const clients: Client[] = []
    for (const user of 'abcdefg') clients.push(await enter(user))
    assert.deepEqual(await api.count('room'), { clients: 7, users: 7 })
    assert.deepEqual(changes.splice(0), ['+a', '+b', '+c', '+d', '+e', 'crowded 6/6'])
    for (const client of clients.slice(0, 3)) client.leave('room')
    assert.deepEqual(await api.count('room'), { clients: 4, users: 4 })
    assert.deepEqual(changes, [])
    clients[3]!.leave('room')
    assert.equal(usersOf(await api.list('room')).join(''), 'efg')
    clients[4]!.leave('room')
    await api.count('room')
    assert.deepEqual(changes, ['calm 3/3', '-e'])
  })
})

describe('describe', () => {
  it('names the user and the info of a client in one topic', async t => {
    const { api, enter, server } = await room(t)
    const ann = await enter('ann', 'room/0')
    const joins: string[] = []
    api.watch('room', change => joins.push(JSON.stringify(change)))
    await api.count('room')
    api.describe(ann, 'room', { user: 'Ann', info: ' {"name": "ünï",\n "n": 1} ' })
    for (const topic of ['room', 'room/1']) ann.join(topic)
    assert.deepEqual(usersOf(await api.list('room/1')), ['ann'])
    const [member] = (await api.list('room')).members
    assert.deepEqual([member!.user, member!.info], ['Ann', '{"name":"ünï","n":1}'])
    ann.leave('room')
    await api.count('room')
    const change = `{"user":"Ann","client":"${ann.id}","info":{"name":"ünï","n":1}}`
    assert.deepEqual(joins, [`{"join":${change}}`, `{"leave":${change}}`])
    ann.join('room')
    assert.deepEqual(usersOf(await api.list('room')), ['ann'], 'it holds for one membership')
    assert.equal(server.counters.errors, 0)
  })

  for (const [as, message] of [
    [{ user: '' }, 'a user is a string of 1 to 256 characters, received 0 characters'],
    [{ user: 'x'.repeat(257) }, 'a user is a string of 1 to 256 characters, received 257 characters'],
    [{ user: 7 }, 'a user is a string of 1 to 256 characters, received number'],
    [{ info: 'no JSON' }, 'info is JSON as a string, received a string of 7 characters that is not JSON'],
    [{ info: '' }, 'info is JSON as a string, received a string of 0 characters that is not JSON'],
    [{ info: '{"a":1}{"b":2}' }, 'info is JSON as a string, received a string of 14 characters that is not JSON'],
    [{ info: {} }, 'info is JSON as a string of at most 4096 bytes, received object'],
    [{ info: `"${'ü'.repeat(2048)}"` }, 'info is JSON as a string of at most 4096 bytes, received 2050 characters'],
    [
      { info: `"${'x'.repeat(1_048_576)}"` },
      'info is JSON as a string of at most 4096 bytes, received 1048578 characters',
    ],
  ] as const)
    it(`refuses ${JSON.stringify(as).slice(0, 40)}`, async t => {
      const { api, enter } = await room(t)
      const ann = await enter('ann')
      assert.throws(() => api.describe(ann, 'room', as as never), { code: 'ERR_PAYLOAD', message })
    })

  it('describes a client that leaves and joins again as its protocol does now', async t => {
    const server = await room(t)
    const ann = await server.enter('ann')
    await server.api.list('room')
    ann.leave('room')
    server.api.describe(ann, 'room', { info: '"new"' })
    ann.join('room')
    const { members } = await server.api.list('room')
    assert.deepEqual(
      members.map(({ client, info }) => [client, info]),
      [[ann.id, '"new"']],
    )
    assert.deepEqual(await server.api.count('room'), { clients: 1, users: 1 })
  })

  it('descriptions of topics that are not joined are bounded', async t => {
    const { api, enter } = await room(t)
    const ann = await enter('ann')
    for (let i = 0; i < 300; i++) api.describe(ann, `room/${i}`, { user: 'x' })
    for (const topic of ['room/1', 'room/299']) ann.join(topic)
    assert.deepEqual(usersOf(await api.list('room/1')), ['ann'])
    assert.deepEqual(usersOf(await api.list('room/299')), ['x'])
  })
})

describe('the api', () => {
  it('watches until the returned function is called; errors of the function are logged', async t => {
    const { api, enter, changes, logged } = await room(t)
    const seen: string[] = []
    const stops = [1, 2].map(n => api.watch('room', change => seen.push(`${n} ${shown(change)}`)))
    api.watch('room', () => {
      throw new Error('broken')
    })
    await api.count('room')
    await enter('ann')
    await api.count('room')
    for (const stop of stops) {
      stop()
      stop()
    }
    await enter('bob')
    await api.count('room')
    assert.deepEqual(seen, ['1 +ann', '2 +ann'])
    assert.deepEqual(changes, ['+ann', '+bob'])
    assert.equal((logged.find(({ level }) => level === 50)!.err as Error).message, 'broken')
  })

  it('does not read messages to all clients as changes', async t => {
    const { server, enter, changes, logged } = await room(t, { 'streams-rules': ['@everyone size=10 ttl=5m'] }, [
      'streams',
    ])
    await server.append('@everyone', 'not JSON')
    await enter('ann')
    await until(() => changes.length > 0, 'a change')
    assert.deepEqual(changes, ['+ann'])
    assert.deepEqual(
      logged.filter(({ level }) => level === 50),
      [],
    )
  })

  it('does not count what watches as a client, and watches on when the clients of the changes are disconnected', async t => {
    const { enter, changes, server } = await room(t, { 'max-clients': 1 })
    assert.equal(server.clients.size, 0)
    server.disconnect({ topic: '@presence/room' })
    await enter('ann')
    await until(() => changes.length > 0, 'a change')
    assert.deepEqual(changes, ['+ann'])
  })

  it('covers the topics that a pattern matches, and refuses others', async t => {
    const { api, enter } = await room(t)
    const covered = ['room', 'room/1', 'rooms', 'room/1/2', '@presence/room', '@everyone', '', 'x'.repeat(2000)]
    assert.deepEqual(covered.filter(api.covers.bind(api)), ['room', 'room/1'])
    const error = { code: 'ERR_STATE', message: 'no pattern of --presence-topics matches the topic "rooms"' }
    await assert.rejects(api.list('rooms'), error)
    await assert.rejects(api.count('rooms'), error)
    assert.throws(() => api.watch('rooms', () => {}), error)
    const ann = await enter('ann', 'rooms')
    assert.deepEqual([...ann.topics], ['rooms'])
  })

  for (const how of [
    { limit: 0 },
    { limit: 10_001 },
    { limit: 1.5 },
    { after: 7 },
    { after: 'ann' },
    { after: '[1,2]' },
  ] as const)
    it(`refuses a list with ${JSON.stringify(how)}`, async t => {
      const { api } = await room(t)
      await assert.rejects(api.list('room', how as never), { code: 'ERR_STATE', message: /^list\(\) takes a limit / })
    })

  it('refuses what a filter sends for a client to the changes of a topic', async t => {
    const { api, enter, changes } = await room(t)
    const { server } = await enter('eve')
    const forged = '{"join":{"user":"ann","client":"x"}}'
    const refused = { code: 'ERR_FORBIDDEN' }
    assert.throws(() => server.broadcast(forged, { topic: '@presence/room' }), refused)
    await assert.rejects(server.append('@presence/room', forged), refused)
    await assert.rejects(server.publishTo('@presence/room', forged), refused)
    await api.count('room')
    assert.deepEqual(changes, ['+eve'])
  })

  it('drops what a backend publishes to the changes of a topic', async t => {
    const { server, enter, changes, api } = await room(t)
    await enter('ann')
    assert.equal(await server.publishTo('@presence/room', '{"join":{"user":"eve","client":"x"}}'), DROP)
    await api.count('room')
    assert.deepEqual(changes, ['+ann'])
  })
})

describe('the options of presence', () => {
  for (const [topic, why] of [
    ['@presence/*', 'topics that begin with @ belong to filters, and have no presence'],
    ['@everyone', 'topics that begin with @ belong to filters, and have no presence'],
    ['user/{sub}', 'braces stand for claims, which topics do not have; use *'],
    ['a/**/b', '"**" is only valid as the last part, received "a/**/b"'],
  ] as const)
    it(`refuse the pattern ${topic}`, async () => {
      await assert.rejects(createServer({ port: 0, filters: ['presence'], presenceTopics: ['x', topic] }), {
        code: 'ERR_OPTION',
        message: `filter presence: --presence-topics: "${topic}": ${why}`,
      })
    })

  it('need a pattern, and a storage with streams, values and sets', async t => {
    const bare = await run(['-f', 'presence'], { cwd: folder(t) })
    assert.equal(bare.code, 2)
    assert.match(bare.stderr, /filter presence needs --presence-topics: /)
    const cwd = folder(t, { 'poor.mjs': 'export const open = () => ({ streams: {}, values: {} })' })
    const poor = await run(['-f', 'presence', '--storage', './poor.mjs', '--presence-topics', 'x'], { cwd })
    assert.equal(poor.code, 2)
    assert.match(poor.stderr, /-f presence needs a storage with "sets"/)
  })
})
