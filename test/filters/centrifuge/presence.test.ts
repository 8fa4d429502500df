import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Subscription } from 'centrifuge'
import type { RunningServer } from '../../../src/index.ts'
import { centrifuge, page, Raw } from '../../support/centrifuge.ts'
import { serve, until } from '../../support/peer.ts'
import { SECRET, sign } from '../../support/tokens.ts'

type T = { after(fn: () => Promise<void> | void): void }

const OPTIONS = {
  filters: ['jwt', 'streams', 'presence', 'centrifuge'],
  jwtSecret: SECRET,
  streamsRules: ['chat:* size=300 ttl=5m'],
  presenceTopics: ['chat:*'],
  presenceGrace: 0,
}
const start = (t: T, options = {}) => serve(t, { ...OPTIONS, ...options })

const denied = { error: { code: 103, message: 'permission denied' } }
const unavailable = { error: { code: 108, message: 'not available' } }

/** A raw client with a token, in a channel. */
async function enter(server: RunningServer, claims: object, subscribe: object = { channel: 'chat:1' }) {
  const raw = await Raw.open(server.url)
  raw.send({ id: 1, connect: { token: sign(claims) } }, { id: 2, subscribe })
  const { connect } = (await raw.reply(1)) as { connect: { client: string } }
  const reply = (await raw.reply(2)) as { subscribe: Record<string, unknown> }
  return { raw, client: connect.client, reply }
}

describe('presence', () => {
  it('lists the members with the info of their tokens, and counts them', async t => {
    const server = await start(t)
    const ann = await enter(server, { sub: 'ann', info: { name: 'Ann\n' } })
    const tab = await enter(server, { sub: 'ann' })
    const token = sign({ sub: 'bob', channel: 'chat:1', info: 'of the channel' })
    const bob = await enter(server, { sub: 'bob', info: 1 }, { channel: 'chat:1', token })
    ann.raw.send({ id: 3, presence: { channel: 'chat:1' } }, { id: 4, presence_stats: { channel: 'chat:1' } })
    assert.deepEqual(await ann.raw.reply(3), {
      presence: {
        presence: {
          [ann.client]: { client: ann.client, user: 'ann', conn_info: { name: 'Ann\n' } },
          [tab.client]: { client: tab.client, user: 'ann' },
          [bob.client]: { client: bob.client, user: 'bob', conn_info: 'of the channel' },
        },
      },
    })
    assert.deepEqual(await ann.raw.reply(4), { presence_stats: { num_clients: 3, num_users: 2 } })
  })

  it('is what centrifuge-js expects, with joins and leaves', async t => {
    const server = await start(t)
    const events: string[] = []
    const watch = (sub: Subscription) => {
      sub.on('join', ({ info }) => events.push(`+ ${info.user} ${JSON.stringify(info.connInfo)}`))
      sub.on('leave', ({ info }) => events.push(`- ${info.user}`))
    }
    const ann = page(t, server.url, 'chat:1', { joinLeave: true, options: { token: sign({ sub: 'ann' }) } })
    watch(ann.sub)
    await ann.sees('= subscribed')
    const client = centrifuge(t, server.url, { token: sign({ sub: 'bob', info: { age: 7 } }) })
    const quiet = client.newSubscription('chat:1')
    quiet.on('join', () => assert.fail('it has not asked for joins'))
    quiet.on('leave', () => assert.fail('it has not asked for leaves'))
    quiet.subscribe()
    client.connect()
    await quiet.ready()
    await until(() => events.some(event => event.startsWith('+ bob')), 'a join')
    assert.deepEqual(
      Object.values((await ann.sub.presence()).clients)
        .map(({ user }) => user)
        .sort(),
      ['ann', 'bob'],
    )
    assert.deepEqual(await ann.sub.presenceStats(), { numClients: 2, numUsers: 2 })
    client.disconnect()
    await until(() => events.includes('- bob'), 'a leave')
    assert.deepEqual(
      events.filter(event => !event.includes('ann')),
      ['+ bob {"age":7}', '- bob'],
    )
    assert.deepEqual(ann.seen, ['= subscribed'])
  })

  it('needs the right to join, and a topic whose members are known', async t => {
    const options = { filters: ['jwt', 'allow', 'streams', 'presence', 'centrifuge'] }
    const server = await start(t, { ...options, allowRules: ['anyone join chat:1 other'] })
    const { raw } = await enter(server, { sub: 'ann' }, { channel: 'chat:2' })
    const asked = ['chat:2', 'other', 'chat:1', '@presence/chat:1']
    raw.send(...asked.map((channel, i) => ({ id: i + 3, presence_stats: { channel } })))
    assert.deepEqual(await raw.reply(3), denied)
    assert.deepEqual(await raw.reply(4), unavailable)
    assert.deepEqual(await raw.reply(5), { presence_stats: { num_clients: 0, num_users: 0 } })
    assert.deepEqual(await raw.reply(6), denied)
  })

  it('is error 108 without filter presence', async t => {
    const { presenceTopics: _, presenceGrace: __, ...options } = OPTIONS
    const server = await serve(t, { ...options, filters: ['jwt', 'streams', 'centrifuge'] })
    const { raw } = await enter(server, { sub: 'ann' })
    raw.send(
      { id: 3, presence: { channel: 'chat:1' } },
      { id: 4, presence_stats: { channel: 'chat:1' } },
      { id: 5, subscribe: { channel: '@presence/chat:1' } },
    )
    for (const id of [3, 4, 5]) assert.deepEqual(await raw.reply(id), unavailable)
  })

  it('asked for with join_leave on other topics does nothing', async t => {
    const server = await start(t)
    const { reply } = await enter(server, { sub: 'ann' }, { channel: 'other', join_leave: true })
    assert.deepEqual(reply, { subscribe: {} })
  })
})

describe('@presence/TOPIC', () => {
  it('has the list in its reply, true at its offset, and the changes follow', async t => {
    const server = await start(t)
    const ann = await enter(server, { sub: 'ann', info: [1] })
    const since = Date.now()
    const watcher = page(t, server.url, '@presence/chat:1', { options: { token: sign({ sub: 'eve' }) } })
    let data: unknown
    watcher.sub.on('subscribed', context => {
      data = context.data
    })
    await watcher.sees('= subscribed')
    const { members, ...counts } = data as { members: { since: number }[] }
    assert.ok(Math.abs(members[0]!.since - since) < 10_000)
    assert.deepEqual(
      members.map(({ since: _, ...member }) => member),
      [{ client: ann.client, user: 'ann', info: [1] }],
    )
    assert.deepEqual(counts, { clients: 1, users: 1 })
    const bob = await enter(server, { sub: 'bob' })
    await watcher.sees(`2 {"join":{"user":"bob","client":"${bob.client}"}}`)
    watcher.client.disconnect()
    bob.raw.peer.ws.close()
    await until(() => server.clients.size === 1 + (server.clients.has(bob.client) ? 1 : 0))
    watcher.client.connect()
    await watcher.sees(`3 {"leave":{"user":"bob","client":"${bob.client}"}}`)
    assert.ok(watcher.seen.includes('= recovered, publications'), `${watcher.seen}`)
  })

  it('has the list again if the changes are lost', async t => {
    const server = await start(t)
    const ann = await enter(server, { sub: 'ann' })
    ann.raw.send({ id: 3, subscribe: { channel: '@presence/chat:1', recover: true, offset: 0, epoch: '_' } })
    const { subscribe } = (await ann.raw.reply(3)) as { subscribe: Record<string, unknown> }
    const { epoch: _, data, ...rest } = subscribe
    const state = { recoverable: true, positioned: true, offset: 1, was_recovering: true, recovered: false }
    assert.deepEqual(rest, state)
    assert.equal((data as { users: number }).users, 1)
    ann.raw.send({ id: 4, unsubscribe: { channel: '@presence/chat:1' } })
    await ann.raw.reply(4)
    const recover = { recover: true, offset: 0, epoch: '_', flag: 2 }
    ann.raw.send({ id: 5, subscribe: { channel: '@presence/chat:1', ...recover } })
    assert.deepEqual(await ann.raw.reply(5), { error: { code: 112, message: 'unrecoverable position' } })
  })

  it('needs the right to join its topic, and no client publishes to it', async t => {
    const options = { filters: ['jwt', 'allow', 'streams', 'presence', 'centrifuge'] }
    const server = await start(t, { ...options, allowRules: ['anyone join,publish chat:1'] })
    const { raw } = await enter(server, { sub: 'ann' })
    raw.send(
      { id: 3, subscribe: { channel: '@presence/chat:2' } },
      { id: 4, subscribe: { channel: '@presence/@presence/chat:1' } },
      { id: 5, publish: { channel: '@presence/chat:1', data: { leave: { user: 'ann' } } } },
      { id: 6, history: { channel: '@presence/chat:2' } },
      { id: 7, history: { channel: '@presence/chat:1', limit: 10 } },
    )
    assert.deepEqual(await raw.reply(3), denied)
    assert.deepEqual(await raw.reply(4), unavailable)
    assert.deepEqual(await raw.reply(5), denied)
    assert.deepEqual(await raw.reply(6), denied)
    const { history } = (await raw.reply(7)) as { history: { offset: number } }
    assert.equal(history.offset, 1)
  })
})
