import assert from 'node:assert/strict'
import type { IncomingMessage } from 'node:http'
import { createServer as createTcp } from 'node:net'
import { describe, it, type TestContext } from 'node:test'
import { delayBefore } from '../../client/backoff.ts'
import { type ConnectionEvents, type ConnectOptions, connect } from '../../client/node.ts'
import { queueOf } from '../../client/queue.ts'
import type { FilterModule } from '../../src/contract/filter.ts'
import { FOREIGN, foreignServer } from '../support/foreign-servers.ts'
import { serve, until } from '../support/peer.ts'
import { freePort } from '../support/port.ts'

/** Delays that allow several attempts within a second. */
const QUICK = { firstDelay: 20, maxDelay: 50 }

/** A connection that is closed after the test, and its events. */
function follow(t: TestContext, url: string, options: ConnectOptions = QUICK) {
  const connection = connect(url, options)
  t.after(() => connection.close())
  const opened: ConnectionEvents['open'][] = []
  const received: ConnectionEvents['message'][] = []
  const closed: ConnectionEvents['close'][] = []
  connection.on('open', event => opened.push(event))
  connection.on('message', event => received.push(event))
  connection.on('close', event => closed.push(event))
  return { connection, opened, received, closed }
}

const echo: FilterModule = { message: (payload, client) => client.send(payload) }

/** Closes on `close CODE`. */
const closing: FilterModule = {
  message: (payload, client) => {
    const [, code] = /^close (\d+)$/.exec(String(payload)) ?? []
    return code === undefined ? undefined : client.disconnect(Number(code), 'as told')
  },
}

describe('a connection', () => {
  it('sends text and bytes in order, first those from before it was open', async t => {
    const { url } = await serve(t, { filters: [echo] })
    const { connection, received, opened } = follow(t, url)
    assert.equal(connection.state, 'connecting')
    assert.equal(connection.send('one'), true)
    assert.equal(connection.send(new Uint8Array([1, 2])), true)
    assert.equal(connection.queued, 2)
    await until(() => received.length === 2)
    assert.equal(connection.queued, 0)
    connection.send('three')
    await until(() => received.length === 3)
    assert.deepEqual(
      received.map(data => (typeof data === 'string' ? data : [...new Uint8Array(data)])),
      ['one', [1, 2], 'three'],
    )
    assert.deepEqual(opened, [{ attempt: 0, protocol: '' }])
  })

  it('reconnects when the server returns, and then sends queued messages', async t => {
    const port = await freePort()
    const first = await serve(t, { filters: [echo], port })
    const { connection, opened, closed, received } = follow(t, first.url)
    await until(() => opened.length === 1)
    await first.close()
    await until(() => closed.length >= 3)
    assert.equal(closed[0]!.code, 1001)
    assert.ok(closed.every(({ retryIn }) => retryIn !== undefined && retryIn <= QUICK.maxDelay))
    assert.notEqual(connection.state, 'open')
    connection.send('while away')
    await serve(t, { filters: [echo], port })
    await until(() => received.length === 1)
    assert.deepEqual(received, ['while away'])
    assert.ok(opened[1]!.attempt >= 2)
  })

  it('passes all messages through the setup of each connection, queued ones first', async t => {
    const port = await freePort()
    const first = await serve(t, { filters: [echo], port })
    const numbering = () => {
      let number = 0
      return (data: unknown) => `${number++} ${data}`
    }
    const { connection, received, closed } = follow(t, first.url, { ...QUICK, outgoing: numbering })
    connection.send('a')
    connection.send('b')
    await until(() => received.length === 2)
    connection.send('c')
    await until(() => received.length === 3)
    await first.close()
    await until(() => closed.length >= 1)
    connection.send('d')
    await serve(t, { filters: [echo], port })
    await until(() => received.length === 4)
    connection.send('e')
    await until(() => received.length === 5)
    assert.deepEqual(received, ['0 a', '1 b', '2 c', '0 d', '1 e'])
  })

  it('sends messages that must not wait only while it is open', async t => {
    const { url } = await serve(t, { filters: [echo] })
    const { connection, opened, received } = follow(t, url)
    assert.deepEqual([connection.sendNow('early'), connection.queued], [false, 0])
    await until(() => opened.length === 1)
    assert.equal(connection.sendNow('now'), true)
    await until(() => received.length === 1)
    connection.close()
    assert.equal(connection.sendNow('late'), false)
    assert.deepEqual(received, ['now'])
  })

  for (const code of [1000, 1008, 4403])
    it(`does not reconnect after ${code}`, async t => {
      const { url } = await serve(t, { filters: [closing] })
      const { connection, closed } = follow(t, url)
      connection.send(`close ${code}`)
      await until(() => closed.length === 1)
      assert.deepEqual(closed, [{ code, reason: 'as told', retryIn: undefined }])
      assert.equal(connection.state, 'closed')
      assert.equal(connection.send('too late'), false)
    })

  it('reconnects after 4401 with a new token', async t => {
    const tokens: string[] = []
    const listen: FilterModule = { connect: client => void tokens.push(client.handshake!.protocols.join()) }
    const { url } = await serve(t, { filters: [listen, closing] })
    let number = 0
    const { connection, opened } = follow(t, url, { ...QUICK, protocols: ['chat'], token: async () => `t${++number}` })
    await until(() => opened.length === 1)
    connection.send('close 4401')
    await until(() => opened.length === 2)
    assert.deepEqual(tokens, ['chat,bearer,t1,fws,fws.refused', 'chat,bearer,t2,fws,fws.refused'])
    assert.equal(opened[0]!.protocol, 'chat')
  })

  for (const [status, code, reason] of [
    [401, 4401, 'token expired'],
    [403, 4403, 'not for you'],
    [401, 4401, undefined],
    [403, 4403, 'ü'.repeat(100)],
  ] as const)
    it(`is closed with ${code} by a handshake that is refused with ${status} ${reason}, and does not retry`, async t => {
      const refuse: FilterModule = { connect: async client => client.refuse(status, reason) }
      const server = await serve(t, { filters: [refuse, echo] })
      const { connection, opened, closed } = follow(t, server.url, { ...QUICK, token: 'old' })
      connection.send('kept until it is open')
      await until(() => connection.state === 'closed')
      assert.deepEqual(opened, [])
      assert.deepEqual(closed, [{ code, reason: (reason ?? '').slice(0, 61), retryIn: undefined }])
      assert.deepEqual({ ...server.counters.refusals }, { [status]: 1 })
      assert.deepEqual([server.counters.opened, server.counters.messages], [0, 0])
    })

  it('tries a refused token once more if a function gives it', async t => {
    const refuse: FilterModule = { connect: client => client.refuse(401, 'expired') }
    const { url } = await serve(t, { filters: [refuse] })
    let calls = 0
    const { connection, closed } = follow(t, url, { ...QUICK, token: () => `t${++calls}` })
    await until(() => connection.state === 'closed')
    assert.deepEqual([calls, closed.map(({ code }) => code)], [2, [4401, 4401]])
  })

  it('opens with the next token, and sends the queued messages only then', async t => {
    const handled: unknown[] = []
    const check: FilterModule = {
      connect: client => (client.handshake!.protocols.includes('t2') ? undefined : client.refuse(401, 'expired')),
      message: payload => void handled.push(payload),
    }
    const { url } = await serve(t, { filters: [check, echo] })
    let calls = 0
    const { connection, opened } = follow(t, url, { ...QUICK, token: () => `t${++calls}` })
    connection.send('hello')
    await until(() => handled.length === 1)
    assert.deepEqual([handled, opened.length, connection.state], [['hello'], 1, 'open'])
  })

  for (const status of [400, 404, 429, 500, 503])
    it(`retries after ${status}, as after a server that is down`, async t => {
      const refuse: FilterModule = { connect: client => client.refuse(status) }
      const { url } = await serve(t, { filters: [refuse] })
      const { closed } = follow(t, url, { ...QUICK, attempts: 3, token: 'x' })
      await until(() => closed.length === 3)
      assert.deepEqual(
        closed.map(({ code, retryIn }) => [code, Number.isInteger(retryIn)]),
        [
          [1006, true],
          [1006, true],
          [1006, false],
        ],
      )
    })

  it('without `refusals` offers nothing of its own', async t => {
    const offered: string[][] = []
    const listen: FilterModule = { connect: client => void offered.push([...client.handshake!.protocols]) }
    const { url } = await serve(t, { filters: [listen] })
    const { opened } = follow(t, url, { ...QUICK, refusals: false })
    await until(() => opened.length === 1)
    assert.deepEqual(offered, [[]])
  })

  for (const [what, options, ...failing] of FOREIGN)
    for (const [i, protocols] of [[], ['chat']].entries()) {
      const offer = protocols.length > 0 ? ', with one of the caller' : ''
      // The caller's own offer is not withdrawn.
      const isOpen = failing[i] !== undefined
      it(`${isOpen ? 'opens' : 'does not open'} to another server that ${what}${offer}`, async t => {
        const url = await foreignServer(t, options)
        const { connection, opened, received } = follow(t, url, { ...QUICK, timeout: 3000, protocols, attempts: 4 })
        connection.send('hello')
        await until(() => received.length === 1 || connection.state === 'closed')
        assert.deepEqual([received, opened[0]?.attempt], [isOpen ? ['hello'] : [], failing[i]])
      })
    }

  it('offers its own subprotocols again after an attempt without them', async t => {
    const offered: string[] = []
    const refuse: FilterModule = {
      connect: client => {
        offered.push(client.handshake!.protocols.join())
        return client.refuse(offered.length === 1 ? 503 : 401, 'sign in')
      },
    }
    const { url } = await serve(t, { filters: [refuse] })
    const { connection, closed } = follow(t, url, { ...QUICK, protocols: ['chat'] })
    await until(() => connection.state === 'closed')
    assert.deepEqual(offered, ['chat,fws,fws.refused', 'chat', 'chat,fws,fws.refused'])
    assert.deepEqual(
      closed.map(({ code }) => code),
      [1006, 1006, 4401],
    )
  })

  it('reconnects to another server with the offer that it accepts', async t => {
    const handshakes: IncomingMessage[] = []
    const url = await foreignServer(t, {
      handleProtocols: () => false,
      verifyClient: ({ req }: { req: IncomingMessage }) => handshakes.push(req) > 0,
    })
    const { opened } = follow(t, url)
    await until(() => opened.length === 1)
    handshakes.at(-1)!.socket.destroy()
    await until(() => opened.length === 2)
    assert.deepEqual(
      handshakes.map(({ headers }) => headers['sec-websocket-protocol']),
      ['fws,fws.refused', undefined, undefined],
    )
  })

  it('stops after a number of attempts', async t => {
    const { connection, closed } = follow(t, 'ws://127.0.0.1:1', { ...QUICK, attempts: 3 })
    await until(() => connection.state === 'closed')
    assert.deepEqual(
      closed.map(({ retryIn }) => retryIn === undefined),
      [false, false, true],
    )
  })

  it('waits for a server that does not answer no longer than the timeout', async t => {
    const silent = createTcp(socket => void socket.on('error', () => {})).listen(0, '127.0.0.1')
    t.after(() => silent.close())
    await until(() => silent.listening)
    const { port } = silent.address() as { port: number }
    const { closed } = follow(t, `ws://127.0.0.1:${port}`, { ...QUICK, timeout: 50, attempts: 1 })
    await until(() => closed.length === 1)
    assert.equal(closed[0]!.code, 1006)
  })

  it('stops with its signal in any state', async t => {
    const { url } = await serve(t, { filters: [echo] })
    const stop = new AbortController()
    const { connection, opened, closed } = follow(t, url, { ...QUICK, signal: stop.signal })
    await until(() => opened.length === 1)
    stop.abort()
    assert.equal(connection.state, 'closed')
    await until(() => closed.length === 1)
    assert.equal(closed[0]!.retryIn, undefined)
    const late = follow(t, url, { signal: stop.signal })
    assert.equal(late.connection.state, 'closed')
    const waiting = new AbortController()
    const away = follow(t, 'ws://127.0.0.1:1', { firstDelay: 60_000, signal: waiting.signal })
    await until(() => away.connection.state === 'waiting')
    waiting.abort()
    assert.equal(away.closed.at(-1)!.retryIn, undefined)
  })

  it('reports an address or a token that cannot be fetched as a close', async t => {
    const wrong = follow(t, 'http:// nowhere', { ...QUICK, attempts: 1 })
    await until(() => wrong.closed.length === 1)
    assert.equal(wrong.closed[0]!.code, 1006)
    const token = () => Promise.reject(new Error('logged out'))
    const without = follow(t, 'ws://127.0.0.1:1', { ...QUICK, attempts: 1, token })
    await until(() => without.closed.length === 1)
    assert.equal(without.closed[0]!.reason, 'logged out')
  })

  it('refuses invalid messages, and keeps its state', async t => {
    const { url } = await serve(t, { filters: [echo] })
    const { connection, opened, received } = follow(t, url)
    for (const wrong of [{}, null, 1, undefined]) assert.throws(() => connection.send(wrong as never), TypeError)
    await until(() => opened.length === 1)
    assert.throws(() => connection.close(1005))
    assert.equal(connection.state, 'open')
    connection.send('still here')
    await until(() => received.length === 1)
    connection.close()
    assert.equal(connection.state, 'closed')
  })

  it('waits for a token no longer than for a connection', async t => {
    const { url } = await serve(t, { filters: [echo] })
    let asked = 0
    const token = () => (++asked === 1 ? new Promise<string>(() => {}) : 'a')
    const { opened, closed } = follow(t, url, { ...QUICK, timeout: 500, token })
    await until(() => opened.length === 1)
    assert.equal(closed[0]!.reason, 'protocols or token too late')
  })

  it('does not call removed listeners', async t => {
    const { url } = await serve(t, { filters: [echo] })
    const { connection, received } = follow(t, url)
    const events: unknown[] = []
    const stop = connection.on('message', event => events.push(event))
    connection.send('a')
    await until(() => received.length === 1)
    stop()
    connection.send('b')
    await until(() => received.length === 2)
    assert.deepEqual(events, ['a'])
  })
})

describe('the queue of a connection', () => {
  it('accepts no more than its messages and bytes', () => {
    const queue = queueOf(2, 100)
    assert.deepEqual(
      ['a', 'b', 'c'].map(text => queue.add(text)),
      [true, true, false],
    )
    assert.deepEqual(queue.drain(), ['a', 'b'])
    assert.equal(queue.add(new Uint8Array(101)), false)
    assert.equal(queue.add(new Uint8Array(90)), true)
    assert.equal(queue.add('four'), false)
    assert.equal(queue.add('abc'), true)
  })
})

describe('the delay before an attempt', () => {
  it('is random up to a limit that doubles, up to the maximum', () => {
    const bounds = [0, 1, 2, 3, 50, 2000].map(attempt => delayBefore(attempt, 500, 3000, 1))
    assert.deepEqual(bounds, [500, 1000, 2000, 3000, 3000, 3000])
    assert.equal(delayBefore(3, 500, 3000, 0), 0)
    assert.equal(delayBefore(1, 500, 3000, 0.25), 250)
  })
})
