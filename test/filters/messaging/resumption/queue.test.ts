import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import type { MessagingApi } from '../../../../filters/messaging.ts'
import type { ServerOptions } from '../../../../src/index.ts'
import { launch, refusal } from '../../../support/cli.ts'
import { building, door, plainly, response, type TcpPeer } from '../../../support/messaging.ts'
import { Browser } from '../../../support/messaging-browser.ts'
import { until } from '../../../support/peer.ts'

/** A server that keeps actions for its peers. */
async function keeping(t: TestContext, options: ServerOptions = {}) {
  let api!: MessagingApi
  const builds = building(given => {
    api = given
  })
  const opened = await door(t, [builds], { messagingResume: true, ...options })
  const come = async (id = 'copter1') => {
    const browser = await Browser.open(opened.server.url)
    await browser.resume(id)
    return browser
  }
  return { ...opened, api, come }
}

/** The original: tells its id when it is asked, and answers nothing else. */
async function original(peer: Promise<TcpPeer>, id: string): Promise<TcpPeer> {
  const tcp = await peer
  const [asked] = await tcp.get(1)
  tcp.send(response('id', asked!.id!, id))
  return tcp
}

const names = (browser: Browser) => browser.tasks.map(({ action, resend = false }) => [action, resend])

describe('what is kept for a peer', () => {
  it('comes to it when it comes, in order, each under an id of its own, and once if it answers', async t => {
    const { api, come } = await keeping(t)
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

  it('comes again, and says so, as long as it is not answered; an error is an answer', async t => {
    const { api, come, logged } = await keeping(t)
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
    const failures = logged.filter(({ msg }) => msg === 'a peer could not do "one"')
    assert.deepEqual(
      failures.map(({ peer, why }) => [peer, why]),
      [['copter1', { code: 'failed', message: 'no light' }]],
    )
  })

  it('comes to an original peer too, which answers nothing', async t => {
    const { api, peer } = await keeping(t, { messagingAskId: true })
    const copter = api.peer('copter1')
    await copter.emit('arm')
    const tcp = await original(peer(), 'copter1')
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
    const back = await original(peer(), 'copter1')
    assert.deepEqual((await back.get(2))[1]!.name, 'again')
  })

  it('stays while an original peer is being closed, as nothing reaches it any more', async t => {
    const { api, peer } = await keeping(t, { messagingAskId: true })
    const copter = api.peer('copter1')
    const tcp = await original(peer(), 'copter1')
    await until(() => copter.client !== undefined)
    copter.client!.disconnect()
    await copter.emit('arm')
    await tcp.end()
    tcp.socket.destroy()
    await until(() => copter.client === undefined)
    assert.equal(tcp.received.length, 1)
    const back = await original(peer(), 'copter1')
    assert.deepEqual((await back.get(2))[1]!.name, 'arm')
  })

  it('comes to the connection that came last; the others stay, and get it when that has gone', async t => {
    const { api, come } = await keeping(t)
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

  it('is no more than the options say, in count and in bytes', async t => {
    const { api, come } = await keeping(t, { messagingQueue: 2, messagingQueueBytes: 1024 })
    const peer = api.peer('copter1')
    const full = {
      code: 'full',
      message: '2 actions or 1024 bytes are kept for peer "copter1", that is --messaging-queue',
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

  it('is dropped when it is too old, and the log tells how much that was', async t => {
    const { api, come, logged } = await keeping(t, { messagingQueue: 2, messagingQueueAge: 1 })
    const peer = api.peer('copter1')
    for (const name of ['one', 'two']) await peer.emit(name)
    await until(() => logged.some(({ dropped }) => dropped === 2), 'the end of what is kept')
    await peer.emit('three')
    const ann = await come()
    await ann.todo(1)
    assert.deepEqual(names(ann), [['three', false]])
  })

  it('is for some peers of a node only', async t => {
    const { api } = await keeping(t, { messagingMaxPeers: 1 })
    await api.peer('copter1').emit('one')
    await assert.rejects(api.peer('copter2').emit('one'), {
      code: 'full',
      message: 'this node keeps something for 1 peers already',
    })
  })

  it('is nothing unless it is asked for, and unless the storage keeps enough', async t => {
    const { api } = await keeping(t, { messagingResume: false })
    assert.throws(() => api.peer('copter1'), {
      code: 'off',
      message: 'peer() needs --messaging-resume',
    })
    assert.throws(() => api.peer(''), {
      name: 'TypeError',
      message: 'the id of a peer is a string of 1 to 128 characters, received ""',
    })
    assert.equal(
      await refusal(['-p', '0', '-f', 'messaging', '--messaging-resume', '--memory-history', '999']),
      'filter messaging: --messaging-queue 1000 is more than the 999 entries that the storage keeps of a history',
    )
    await launch(t, ['-p', '0', '-f', 'messaging', '--messaging-resume', '--memory-history', '1000'])
  })
})

describe('a call to a peer', () => {
  it('is asked again under the same id when the peer comes back in time', async t => {
    const { api, come } = await keeping(t)
    const peer = api.peer('copter1')
    const args = [{ a: 1 }]
    const called = peer.call('battery', args, { b: 2 })
    args[0]!.a = 7
    const ann = await come()
    const [asked] = await ann.todo(1)
    assert.deepEqual(asked, { request: 'battery', id: asked!.id, args: [{ a: 1 }], kwargs: { b: 2 } })
    await ann.drop()
    await until(() => peer.client === undefined)
    const again = await come()
    assert.deepEqual(await again.todo(1), [{ ...asked, resend: true }])
    again.answer(asked!, 12.5)
    assert.equal(await called, 12.5)
  })

  it('ends with an error of the peer, a deadline, or an abort', async t => {
    const { api, come } = await keeping(t, { messagingMaxCalls: 2 })
    const peer = api.peer('copter1')
    await assert.rejects(peer.call('x', [], {}, { timeout: 5 }), {
      code: 'timeout',
      message: 'peer "copter1" has not answered "x" within 5 ms',
    })
    const ann = await come()
    await assert.rejects(peer.call('x', [], {}, { timeout: 5 }), {
      code: 'timeout',
      message: 'peer "copter1" has not answered "x" within 5 ms',
    })
    const called = peer.call('y')
    ann.answer((await ann.todo(2))[1]!, null, { code: 'gone', message: 'its own word' })
    await assert.rejects(called, { code: 'gone', message: 'its own word' })
    const controller = new AbortController()
    const two = [1, 2].map(() => peer.call('z', [], {}, { signal: controller.signal }))
    await assert.rejects(peer.call('z'), {
      code: 'busy',
      message: '2 calls wait for answers, --messaging-max-calls allows no more',
    })
    controller.abort(new Error('enough'))
    for (const call of two) await assert.rejects(call, { message: 'enough' })
    await assert.rejects(peer.call('z', [1n]), TypeError)
  })
})
