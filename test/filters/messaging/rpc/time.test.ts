import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Clock } from '../../../../filters/clock/clock.ts'
import { frameOf, type Request } from '../../../../filters/messaging/wire/message.ts'
import type { MessagingApi } from '../../../../filters/messaging.ts'
import type { ServerOptions } from '../../../../src/index.ts'
import { building, door, plainly, request, response, TcpPeer } from '../../../support/messaging.ts'
import { answerTo, ntpServer } from '../../../support/ntp.ts'
import { Peer, until } from '../../../support/peer.ts'
import { needsPython, PythonPeer } from '../../../support/python-peer.ts'

const clock = new Clock()

async function room(t: TestContext, on: (api: MessagingApi) => void = () => {}, options: ServerOptions = {}) {
  let api!: MessagingApi
  const application = building(given => {
    api = given
    on(given)
  })
  return { ...(await door(t, [application], options)), api }
}

/** A proxy that delays the bytes of a peer by so many milliseconds in each direction. */
async function relay(
  t: TestContext,
  port: number,
  delays: { readonly in: number; readonly out: number },
): Promise<number> {
  const sockets = new Set<Socket>()
  const listener = createServer({ noDelay: true }, near => {
    const far = connect({ port, host: '127.0.0.1', noDelay: true })
    for (const [from, to, ms] of [
      [near, far, delays.in],
      [far, near, delays.out],
    ] as const) {
      sockets.add(from)
      from.on('error', () => {})
      from.on('data', chunk => setTimeout(() => to.write(chunk), ms))
    }
  })
  t.after(() => {
    listener.close()
    for (const socket of sockets) socket.destroy()
  })
  await once(listener.listen(0, '127.0.0.1'), 'listening')
  return (listener.address() as AddressInfo).port
}

/** A peer with its own clock. It does not answer unknown requests, as clever-show. */
async function peerWith(t: TestContext, port: number, answers: Record<string, (asked: Request) => unknown>) {
  const peer = await TcpPeer.open(t, port)
  const asked: string[] = []
  let done = 0
  peer.socket.on('data', async () => {
    while (done < peer.received.length) {
      const said = peer.received[done++] as Request
      asked.push(said.name)
      const answer = answers[said.name]
      if (answer === undefined) continue
      const value = await answer(said)
      peer.send(value instanceof Buffer ? value : response(said.name, said.id, value))
    }
  })
  return { peer, asked }
}

const within = ({ offset, error }: { offset: number; error: number }, truth: number) =>
  assert.ok(error >= 0 && Math.abs(offset - truth) <= error + 0.001, `${offset} is not ${truth} within ${error}`)

describe('the time of the server', () => {
  it('is the answer to time and fws.clock', async t => {
    const { server, peer } = await room(t)
    const ann = await peer()
    const before = clock.now
    ann.send(request('time', '0001'))
    const [said] = await ann.get(1)
    const { value } = said as { value: number }
    assert.ok(value > before - 0.002 && value < clock.now + 0.002, `${value} ${clock.now}`)
    const bob = await Peer.open(server.url, {}, ['messaging'])
    bob.send('{"request": "fws.clock", "id": "1", "args": [1.5]}')
    const [text] = await bob.get(1)
    const [came, went] = JSON.parse(String(text)).value
    assert.ok(came > before - 0.002 && went >= came && went < clock.now + 0.002, `${text}`)
  })

  it('is that of the application if it has a handler', async t => {
    const { peer } = await room(t, api => api.request('time', () => 7))
    const ann = await peer()
    ann.send(request('time', '0001'))
    assert.deepEqual(await ann.get(1), [{ type: 'response', name: 'time', id: '0001', value: 7 }])
  })

  it('is answered at once, also while an action of the client runs', async t => {
    let end = () => {}
    const { server } = await room(t, api => api.action('slow', () => new Promise<void>(resolve => (end = resolve))))
    const ann = await Peer.open(server.url, {}, ['messaging'])
    ann.send('{"action": "slow"}')
    ann.send('{"request": "fws.clock", "id": "1"}')
    ann.send('{"request": "time", "id": "2"}')
    await ann.get(2)
    end()
  })

  it('is available to filters, in fractions of a millisecond', async t => {
    const { api } = await room(t)
    const before = clock.now
    const now = api.now()
    assert.ok(now > before - 0.002 && now < clock.now + 0.002, `${now} after ${before}`)
  })
})

describe('the clock of a client', () => {
  for (const ahead of [0, 3.25, -86_400.5])
    it(`is ${ahead} seconds ahead`, async t => {
      const { api, port, clientOf } = await room(t)
      const theirs = () => clock.now + ahead
      const { asked } = await peerWith(t, port, { 'fws.clock': () => [theirs(), theirs()] })
      const found = await api.clockOf(await clientOf(1))
      within(found, ahead)
      assert.ok(found.error < 1, `${found.error}`)
      // The first request finds out whether it is supported.
      assert.deepEqual(asked, Array(9).fill('fws.clock'))
      await api.clockOf(await clientOf(1))
      assert.equal(asked.length, 17)
      t.diagnostic(
        `off by ${((found.offset - ahead) * 1e6).toFixed(0)} us, told within ${(found.error * 1e6).toFixed(0)} us`,
      )
    })

  for (const [what, delays] of [
    ['on the way in', { in: 60, out: 0 }],
    ['on the way out', { in: 0, out: 60 }],
    ['on both', { in: 20, out: 40 }],
  ] as const)
    it(`is within its error, with a delay ${what}`, async t => {
      const { api, port, clientOf } = await room(t)
      const theirs = () => clock.now + 5
      await peerWith(t, await relay(t, port, delays), { 'fws.clock': () => [theirs(), theirs()] })
      const found = await api.clockOf(await clientOf(1))
      within(found, 5)
      // The error is half of the delay, and of the time that the test itself takes.
      assert.ok(found.error >= 0.028 && found.error < 1, `${found.error}`)
      // The error comes from the delay of one direction.
      const mistake = (delays.out - delays.in) / 2000
      const own = found.error - 0.03
      assert.ok(Math.abs(found.offset - 5 - mistake) <= own + 0.003, `${found.offset} within ${found.error}`)
    })

  it('is measured without the processing time of the answer', async t => {
    const { api, port, clientOf } = await room(t)
    const answer = async () => {
      const came = clock.now
      await sleep(200)
      return [came + 5, clock.now + 5]
    }
    await peerWith(t, port, { 'fws.clock': answer })
    const found = await api.clockOf(await clientOf(1))
    within(found, 5)
    assert.ok(found.error < 0.1, `${found.error}`)
  })

  it('is a median: three delayed samples have no effect', async t => {
    const { api, port, clientOf } = await room(t)
    let count = 0
    const answer = async () => {
      if (++count % 3 === 0) await sleep(400)
      return [clock.now + 5, clock.now + 5]
    }
    await peerWith(t, port, { 'fws.clock': answer })
    const found = await api.clockOf(await clientOf(1))
    within(found, 5)
    assert.ok(found.error < 0.2, `${found.error}`)
  })

  it('has the error of the best sample', async t => {
    const { api, port, clientOf } = await room(t)
    let count = 0
    const answer = async () => {
      const isSlow = ++count > 3
      if (isSlow) await sleep(150)
      const time = clock.now + 5
      if (isSlow) await sleep(150)
      return [time, time]
    }
    await peerWith(t, port, { 'fws.clock': answer })
    const found = await api.clockOf(await clientOf(1))
    within(found, 5)
    assert.ok(found.error < 0.1, `${found.error}`)
  })

  it('is requested by time if fws.clock is unknown', async t => {
    const { api, port, clientOf } = await room(t)
    const unknown = ({ id }: Request) =>
      frameOf({ type: 'response', name: 'fws.clock', id, value: null, error: { code: 'unknown', message: 'no' } })
    const { asked } = await peerWith(t, port, { 'fws.clock': unknown, time: () => clock.now + 5 })
    within(await api.clockOf(await clientOf(1)), 5)
    assert.deepEqual(asked, ['fws.clock', ...Array(8).fill('time')])
  })

  it('is measured of clever-show, which does not answer unknown requests', async t => {
    const { api, port, clientOf } = await room(t)
    const { asked } = await peerWith(t, port, { time: () => clock.now - 5 })
    within(await api.clockOf(await clientOf(1)), -5)
    within(await api.clockOf(await clientOf(1)), -5)
    assert.deepEqual(asked, ['fws.clock', ...Array(16).fill('time')])
  })

  it('is measured of a client in Python', needsPython, async t => {
    const { api, port, clientOf } = await room(t)
    await PythonPeer.open(t, port, 'copter1')
    const found = await api.clockOf(await clientOf(1))
    within(found, 0)
    t.diagnostic(`off by ${(found.offset * 1e6).toFixed(0)} us, told within ${(found.error * 1e6).toFixed(0)} us`)
  })

  it('is compared with the corrected time of the server', async t => {
    const ntp = await ntpServer(t, query => answerTo(query, 100))
    const { api, port, clientOf } = await room(t, () => {}, { messagingNtp: ntp.at })
    await until(() => api.now() - clock.now > 99)
    await peerWith(t, port, { 'fws.clock': () => [clock.now, clock.now] })
    const { offset } = await api.clockOf(await clientOf(1))
    assert.ok(Math.abs(offset + 100) < 0.5, `${offset}`)
  })

  const wrong: readonly (readonly [what: string, answer: () => unknown, code: string, message: RegExp])[] = [
    ['a text', () => 'noon', 'invalid', /^a time is in seconds since 1970, received "noon"$/],
    ['nothing', () => null, 'invalid', /received null$/],
    ['half of an answer', () => [1], 'invalid', /received an array$/],
    ['not in numbers', () => ['1', '2'], 'invalid', /received an array$/],
    ['what cannot be', () => [clock.now, clock.now + 60], 'invalid', /^client \S+ answers with impossible times$/],
    ['the end before the beginning', () => [clock.now, clock.now - 1], 'invalid', /answers with impossible times$/],
  ]
  for (const [what, answer, code, message] of wrong)
    it(`is refused: ${what}`, async t => {
      const { api, port, clientOf } = await room(t)
      await peerWith(t, port, { 'fws.clock': answer })
      await assert.rejects(api.clockOf(await clientOf(1)), { code, message })
    })

  it('is not measured of a client that disconnects, or is not a messaging client', async t => {
    const { api, server, port, clientOf } = await room(t)
    const { peer, asked } = await peerWith(t, port, {})
    const found = api.clockOf(await clientOf(1))
    await until(() => asked.length === 1)
    peer.socket.destroy()
    await assert.rejects(found, { code: 'gone' })
    await Peer.open(server.url)
    await assert.rejects(api.clockOf(await clientOf(1)), { code: 'none' })
  })
})

describe('an action at an instant', () => {
  it('is broadcast with it, also in the form of clever-show', async t => {
    const { api, server, peer, clientOf } = await room(t)
    const [ann, bob] = [await Peer.open(server.url, {}, ['messaging']), await peer()]
    for (const client of (await clientOf(2)).server.clients.values()) client.join('fleet')
    api.schedule(server, 1763755200.25, 'start')
    api.schedule(server, 2, 'start', [1], { time: 'mine', led: 'red' }, { topic: 'fleet' })
    api.schedule(server, 3, 'nobody', [], {}, { topic: 'none' })
    await Promise.all([ann.get(2), bob.get(2)])
    assert.deepEqual(ann.received, [
      '{"action":"start","args":[],"kwargs":{"time":"1763755200.25"},"at":1763755200.25}',
      '{"action":"start","args":[1],"kwargs":{"time":"mine","led":"red"},"at":2,"topic":"fleet"}',
    ])
    assert.deepEqual(plainly(bob.received), [
      { type: 'message', name: 'start', args: [], kwargs: { time: '1763755200.25' }, at: 1763755200.25 },
      { type: 'message', name: 'start', args: [1], kwargs: { time: 'mine', led: 'red' }, at: 2, topic: 'fleet' },
    ])
    for (const at of [Number.NaN, Number.POSITIVE_INFINITY, '5' as never])
      assert.throws(() => api.schedule(server, at, 'start'), {
        name: 'TypeError',
        message: `the time of an action is in seconds, received ${typeof at === 'string' ? '"5"' : at}`,
      })
  })
})
