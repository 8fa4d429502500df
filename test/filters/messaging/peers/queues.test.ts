import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { shown } from '../../../../protocols/clever-show/malformed.ts'
import { plainly, response, type TcpPeer } from '../../../support/messaging.ts'
import { Browser } from '../../../support/messaging-browser.ts'
import { until } from '../../../support/peer.ts'
import { skipWithoutOwn, startRedis } from '../../../support/redis.ts'
import { resuming } from '../../../support/resuming.ts'

/** A peer of clever-show: answers the request for its id, and nothing else. */
async function cleverShow(peer: Promise<TcpPeer>, id: string): Promise<TcpPeer> {
  const tcp = await peer
  const [asked] = await tcp.get(1)
  tcp.send(response('id', asked!.id!, id))
  return tcp
}

const names = (browser: Browser) => browser.tasks.map(({ action, resend = false }) => [action, resend])

describe('the queue of a peer', () => {
  it('is sent when the peer connects, in order, each action under its own id, once if it is answered', async t => {
    const { api, come } = await resuming(t)
    const peer = api.peer('copter1')
    assert.deepEqual([peer.id, peer.client], ['copter1', undefined])
    await peer.emit('arm')
    await peer.emit('led', [1], { a: 2 }, { at: 1.5 })
    const ann = await come()
    await ann.todo(2)
    await peer.emit('land')
    const tasks = await ann.todo(3)
    assert.deepEqual(
      tasks.map(({ id: _, ...task }) => task),
      [
        { action: 'arm', args: [], kwargs: {} },
        { action: 'led', args: [1], kwargs: { a: 2 }, at: 1.5 },
        { action: 'land', args: [], kwargs: {} },
      ],
    )
    assert.equal(new Set(tasks.map(({ id }) => id)).size, 3)
    assert.equal(peer.client?.state.messaging?.id, 'copter1')
    for (const task of tasks) ann.answer(task)
    await ann.read()
    await ann.drop()
    await peer.emit('again')
    const back = await come()
    assert.deepEqual(
      (await back.todo(1)).map(({ action }) => action),
      ['again'],
    )
  })

  it('is sent again, with resend, until it is answered; an error is an answer', async t => {
    const { api, come, logged } = await resuming(t)
    const peer = api.peer('copter1')
    for (const name of ['one', 'two', 'three', 'four']) await peer.emit(name)
    const ann = await come()
    const [one, two, , four] = await ann.todo(4)
    ann.answer(two!, null, { code: 'failed', message: 'no light' })
    ann.answer(four!)
    await ann.read()
    await ann.drop()
    await peer.emit('five')
    const again = await come()
    await again.todo(5)
    assert.deepEqual(names(again), [
      ['one', true],
      ['two', true],
      ['three', true],
      ['four', true],
      ['five', false],
    ])
    assert.deepEqual(again.tasks[0], { ...one, resend: true })
    for (const task of again.tasks.slice(0, 2)) again.answer(task, null, { code: 'failed', message: 'no light' })
    await again.read()
    await again.drop()
    const last = await come()
    await last.todo(3)
    assert.deepEqual(names(last), [
      ['three', true],
      ['four', true],
      ['five', true],
    ])
    const failures = logged.filter(({ msg }) => msg === 'a peer has refused "one"')
    assert.deepEqual(
      failures.map(({ peer, why }) => [peer, why]),
      [['copter1', { code: 'failed', message: 'no light' }]],
    )
  })

  it('is sent to a peer of clever-show without ids', async t => {
    const { api, peer } = await resuming(t, { messagingAskId: true })
    const copter = api.peer('copter1')
    await copter.emit('arm')
    const tcp = await cleverShow(peer(), 'copter1')
    await tcp.get(2)
    await copter.emit('land', [1])
    const told = (await tcp.get(3)).slice(1)
    assert.deepEqual(plainly(told), [
      { type: 'message', name: 'arm', args: [], kwargs: {} },
      { type: 'message', name: 'land', args: [1], kwargs: {} },
    ])
    tcp.socket.destroy()
    await until(() => copter.client === undefined)
    await copter.emit('again')
    const back = await cleverShow(peer(), 'copter1')
    assert.deepEqual((await back.get(2))[1]!.name, 'again')
  })

  it('is not sent to a peer of clever-show that is being closed', async t => {
    const { api, peer } = await resuming(t, { messagingAskId: true })
    const copter = api.peer('copter1')
    const tcp = await cleverShow(peer(), 'copter1')
    await until(() => copter.client !== undefined)
    copter.client!.disconnect()
    await copter.emit('arm')
    await tcp.end()
    tcp.socket.destroy()
    await until(() => copter.client === undefined)
    assert.equal(tcp.received.length, 1)
    const back = await cleverShow(peer(), 'copter1')
    assert.deepEqual((await back.get(2))[1]!.name, 'arm')
  })

  it('is sent to the latest connection; the others stay open, and get it when that one has closed', async t => {
    const { api, come } = await resuming(t)
    const peer = api.peer('copter1')
    const [old, young] = [await come(), await come()]
    await peer.emit('one')
    young.answer((await young.todo(1))[0]!)
    await young.read()
    await young.drop()
    await peer.emit('two')
    assert.deepEqual(
      (await old.todo(1)).map(({ action }) => action),
      ['two'],
    )
  })

  it('is sent again with resend after Redis comes back with an older state', { skip: skipWithoutOwn }, async t => {
    const redis = await startRedis()
    t.after(() => redis.stop())
    const { api, come, server } = await resuming(t, { storage: 'redis', redisPort: redis.port })
    const peer = api.peer('copter1')
    await peer.emit('land')
    const keys = (await redis.command('KEYS', '*stream*{*')) as string[]
    const copy = async (from: string, to: string) => {
      for (const key of keys) await redis.command('COPY', from + key, to + key, 'REPLACE')
    }
    await copy('', 'snapshot:')
    const ann = await come()
    const [land] = await ann.todo(1)
    ann.answer(land!)
    await ann.read()
    await ann.drop()
    // Its last changes.
    const start = { from: 'oldest', entries: 1, bytes: 1000 } as const
    await until(async () => {
      const { entries, attributes } = await server.read('@messaging/copter1', start)
      return entries.length === 0 && attributes.active === undefined
    }, 'an empty queue')
    await copy('snapshot:', '')
    const again = await come()
    assert.deepEqual(await again.todo(1), [{ ...land, resend: true }])
  })

  it('is sent to a slow client when it has read what was sent before', async t => {
    const { api, server } = await resuming(t, { maxBuffered: 2 ** 28 })
    api.onId(client => {
      for (let i = 0; i < 60; i++) api.emit(client, 'large', ['x'.repeat(500_000)])
    })
    const slow = await Browser.open(server.url)
    slow.peer.ws.pause()
    slow.say({ request: 'fws.resume', id: 'resume', kwargs: { id: 'copter1', epoch: 'e' } })
    const start = { from: 'oldest', entries: 1, bytes: 1 } as const
    // An empty page is read for it then, and waits until it has read.
    await until(async () => (await server.read('@messaging/copter1', start)).attributes.active !== undefined)
    for (let i = 0; i < 100; i++) await turn()
    await api.peer('copter1').emit('land')
    for (let i = 0; i < 100; i++) await turn()
    slow.peer.ws.resume()
    await until(() => slow.tasks.length > 60, 'the queued action')
    assert.deepEqual(names(slow).at(-1), ['land', false])
  })

  it('is sent once if the system accepts a large action at once', { skip: skipWithoutOwn }, async t => {
    const redis = await startRedis()
    t.after(() => redis.stop())
    const { api, come } = await resuming(t, { storage: 'redis', redisPort: redis.port })
    for (let i = 0; i < 8; i++) {
      const peer = api.peer(`copter${i}`)
      await peer.emit('large', ['x'.repeat(3_000_000)])
      await peer.emit('land')
      const ann = await come(peer.id)
      ann.answer((await ann.todo(1))[0]!)
      await ann.todo(2)
      assert.deepEqual(names(ann), [
        ['large', false],
        ['land', false],
      ])
    }
  })

  it('has limits in actions and bytes', async t => {
    const { api, come } = await resuming(t, { messagingQueue: 2, messagingQueueBytes: 1024 })
    const peer = api.peer('copter1')
    const full = {
      code: 'full',
      message:
        'the queue of peer "copter1" is full, it has at most 2 actions (--messaging-queue), 1024 bytes (--messaging-queue-bytes)',
    }
    await assert.rejects(peer.emit('long', ['x'.repeat(1024)]), full)
    for (const name of ['one', 'two']) await peer.emit(name)
    await assert.rejects(peer.emit('three'), full)
    await api.peer('copter2').emit('one')
    const ann = await come()
    ann.answer((await ann.todo(2))[0]!)
    await ann.read()
    await until(() =>
      peer.emit('four').then(
        () => true,
        () => false,
      ),
    )
    await ann.todo(3)
    assert.deepEqual(names(ann), [
      ['one', false],
      ['two', false],
      ['four', false],
    ])
    await assert.rejects(peer.emit('five', [() => {}, 1n]), TypeError)
  })

  it('is sent up to 1,000 actions that are not answered', async t => {
    const { api, come } = await resuming(t, { messagingQueue: 2000 })
    const peer = api.peer('copter1')
    await Promise.all(Array.from({ length: 1200 }, (_, i) => peer.emit(`do ${i}`)))
    const ann = await come()
    await ann.todo(1000)
    await ann.read()
    assert.equal(ann.tasks.length, 1000)
    for (const i of [1, 0, 5]) ann.answer(ann.tasks[i]!)
    const tasks = await ann.todo(1002)
    await ann.read()
    assert.equal(ann.tasks.length, 1002)
    assert.deepEqual(
      tasks.map(({ action, resend }) => [action, resend]),
      Array.from({ length: 1002 }, (_, i) => [`do ${i}`, undefined]),
    )
  })

  it('loses expired actions, which are counted in the log once', async t => {
    const { api, come, logged } = await resuming(t, { messagingQueue: 2, messagingQueueAge: 4 })
    const peer = api.peer('copter1')
    const emitted = (name: string) =>
      peer.emit(name).then(
        () => true,
        () => false,
      )
    await Promise.all(['one', 'two'].map(name => peer.emit(name)))
    await until(() => emitted('three'), 'room in the queue')
    for (const _ of [1, 2]) {
      const ann = await come()
      await ann.todo(1)
      assert.deepEqual(ann.tasks[0]!.action, 'three')
      await ann.drop()
    }
    const expired = logged.filter(({ msg }) => msg === 'queued actions have expired')
    assert.deepEqual(
      expired.map(({ peer, dropped }) => [peer, dropped]),
      [['copter1', 2]],
    )
  })

  it('exists for a limited number of peers; empty ones do not count', async t => {
    const { api, come } = await resuming(t, { messagingMaxPeers: 9 })
    for (let i = 1; i <= 9; i++) await api.peer(`copter${i}`).emit('one')
    const full = {
      code: 'full',
      message: '9 peers have queued actions of this node, --messaging-max-peers allows no more',
    }
    await assert.rejects(api.peer('other').emit('one'), full)
    const ninth = await come('copter9')
    ninth.answer((await ninth.todo(1))[0]!)
    await ninth.read()
    // The first eight were examined before.
    await api.peer('other').emit('one')
    await assert.rejects(api.peer('another').emit('one'), full)
    await api.peer('copter1').emit('two')
  })

  it('may have any id', async t => {
    const { api, come } = await resuming(t)
    const ids = ['{a}', 'done/ann e', 'queue/x', 'a b/*', '\u0000\ud83d\ude81', 'x'.repeat(128)]
    for (const id of ids) await api.peer(id).emit('hello', [id])
    for (const id of ids) {
      const ann = await come(id)
      assert.deepEqual((await ann.todo(1))[0]!.args, [id])
    }
  })

  it('accepts no action whose name a message cannot have', async t => {
    const { api } = await resuming(t)
    const refused = (received: string) => ({
      name: 'TypeError',
      message: `an action is a string of 1 to 1024 characters, received ${received}`,
    })
    const peer = api.peer('copter1')
    await assert.rejects(peer.emit(''), refused('""'))
    await assert.rejects(peer.emit('n'.repeat(1025)), refused(shown('n'.repeat(1025))))
    await peer.emit('n'.repeat(1024))
  })

  it('needs --messaging-resume and an id', async t => {
    const { api } = await resuming(t, { messagingResume: false })
    assert.throws(() => api.peer('copter1'), {
      code: 'off',
      message: 'peer() needs --messaging-resume',
    })
    assert.throws(() => api.peer(''), {
      name: 'TypeError',
      message: 'the id of a peer is a string of 1 to 128 characters, received ""',
    })
  })
})
