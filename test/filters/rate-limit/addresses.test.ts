import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import type { Client } from '../../../src/contract/client.ts'
import type { RunningServer, ServerOptions } from '../../../src/index.ts'
import { type Refused, testServer } from '../../../src/testing/index.ts'
import { launch } from '../../support/cli.ts'
import { ask, handshake, RawPeer } from '../../support/frames.ts'
import { Peer, serve, until } from '../../support/peer.ts'

const ANY = 1_000_000

/** Behind a proxy on this machine, so that clients can have any address. */
function limited(t: TestContext, options: ServerOptions): Promise<RunningServer> {
  return serve(t, { filters: ['rate-limit'], trustProxy: ['loopback'], ...options })
}

const from = (address: string) => ({ headers: { 'X-Forwarded-For': address } })
const knock = ({ url }: RunningServer, address: string) => ask(url, handshake(url, { 'X-Forwarded-For': address }))

describe('rate-limit-connects', () => {
  it('refuses connects over the limit with 429 and Retry-After, other addresses connect', async t => {
    const server = await limited(t, { rateLimitConnects: 2 })
    t.mock.timers.enable({ apis: ['Date'], now: Date.now() })
    const answers = []
    for (const address of ['1.2.3.4', '1.2.3.4', '1.2.3.4', '1.2.3.5']) answers.push(await knock(server, address))
    assert.deepEqual(
      answers.map(({ status }) => status),
      [101, 101, 429, 101],
    )
    assert.equal(answers[2]!.body, 'too many connections a second from your address\n')
    assert.equal(answers[2]!.headers['retry-after'], '1')
    t.mock.timers.tick(500)
    assert.equal((await knock(server, '1.2.3.4')).status, 101)
    assert.deepEqual({ ...server.counters.refusals }, { 429: 1 })
  })

  it('counts IPv6 per /64, and mapped IPv4 as IPv4', async t => {
    const server = await limited(t, { rateLimitConnects: 1 })
    t.mock.timers.enable({ apis: ['Date'], now: Date.now() })
    const statuses = []
    for (const address of [
      '2001:db8::1',
      '2001:db8::ffff:2',
      '2001:db8:0:1::1',
      '::ffff:1.2.3.4',
      '1.2.3.4',
      '1.2.3.5',
    ])
      statuses.push((await knock(server, address)).status)
    assert.deepEqual(statuses, [101, 429, 101, 101, 429, 101])
  })

  it('counts connections that a later filter refuses', async t => {
    const server = await testServer(['rate-limit', { connect: client => client.refuse(401) }], {
      'rate-limit-connects': 2,
    })
    t.after(() => server.stop())
    const statuses = []
    for (let i = 0; i < 3; i++) statuses.push(await server.connect().catch((error: Refused) => error.status))
    assert.deepEqual(statuses, [401, 401, 429])
  })

  it('works in the built command', async t => {
    const server = await launch(t, [
      '-p',
      '0',
      '-f',
      'rate-limit',
      'echo',
      '--rate-limit-connects',
      '1',
      '--log-level',
      'debug',
    ])
    const statuses = []
    for (let i = 0; i < 3; i++) statuses.push((await ask(server.url, handshake(server.url))).status)
    assert.equal(statuses[0], 101)
    assert.ok(statuses.includes(429), String(statuses))
    const line = () => server.logged().find(({ msg }) => msg === 'handshake refused')
    await until(() => line() !== undefined, 'a line in the log')
    const { reason, remote } = line()!
    assert.deepEqual([reason, remote], ['too many connections a second from your address', '127.0.0.1'])
  })
})

describe('rate-limit-clients', () => {
  it('refuses clients over the limit with 429 until one disconnects', async t => {
    const server = await limited(t, { rateLimitClients: 2 })
    const [first] = [await Peer.open(server.url, from('1.2.3.4')), await Peer.open(server.url, from('1.2.3.4'))]
    const answer = await knock(server, '1.2.3.4')
    assert.deepEqual([answer.status, answer.body], [429, 'too many clients at your address\n'])
    assert.equal(answer.headers['retry-after'], '5')
    assert.equal((await knock(server, '1.2.3.5')).status, 101)
    first.ws.terminate()
    await until(() => server.counters.closed === 2)
    assert.equal((await knock(server, '1.2.3.4')).status, 101)
  })

  it('does not count 10,000 refused handshakes as clients', async t => {
    const filters = ['rate-limit', { connect: async (client: Client) => client.refuse(401) }]
    const server = await testServer(filters, { 'rate-limit-clients': 1, 'rate-limit-connects': ANY })
    t.after(() => server.stop())
    const statuses = new Map<number, number>()
    for (let i = 0; i < 10_000; i++) {
      const { status } = (await server.connect().catch(error => error)) as Refused
      statuses.set(status, (statuses.get(status) ?? 0) + 1)
    }
    assert.deepEqual([...statuses], [[401, 10_000]])
  })

  for (const [how, go] of [
    ['resets', ({ socket }: RawPeer) => socket.resetAndDestroy()],
    ['says that it sends no more', ({ socket }: RawPeer) => socket.end()],
    ['closes', ({ socket }: RawPeer) => socket.destroy()],
  ] as const) {
    it(`does not count a client that ${how} during the handshake`, async t => {
      const waiting: (() => void)[] = []
      const gate = { connect: () => new Promise<void>(resolve => waiting.push(resolve)) }
      const server = await limited(t, {
        filters: ['rate-limit', gate],
        rateLimitClients: 200,
        rateLimitConnects: ANY,
      })
      for (let round = 0; round < 3; round++) {
        const peers = await Promise.all(Array.from({ length: 200 }, () => RawPeer.sendHandshake(server.url)))
        await until(() => waiting.length === 200, `200 handshakes, got ${waiting.length}`)
        for (const peer of peers) go(peer)
        await until(() => peers.every(({ socket }) => socket.destroyed || socket.writableFinished))
        for (const open of waiting.splice(0)) open()
      }
      const peers = Array.from({ length: 200 }, () => RawPeer.sendHandshake(server.url))
      await until(() => waiting.length === 200, `room for 200 again, got ${waiting.length}`)
      for (const peer of await Promise.all(peers)) peer.socket.destroy()
    })
  }

  it('does not count a client that left while an earlier filter ran', async t => {
    const waiting: (() => void)[] = []
    const slow = { stage: 'guard' as const, connect: () => new Promise<void>(resolve => waiting.push(resolve)) }
    const server = await limited(t, { filters: [slow, 'rate-limit'], rateLimitClients: 1 })
    for (let i = 0; i < 3; i++) {
      const peer = await RawPeer.sendHandshake(server.url)
      await until(() => waiting.length === 1)
      peer.socket.resetAndDestroy()
      // The server handles the disconnect before the next handshake.
      const next = RawPeer.sendHandshake(server.url)
      await until(() => waiting.length === 2)
      for (const go of waiting.splice(0)) go()
      const { socket } = await next
      await until(() => server.clients.size === 1)
      socket.destroy()
      await until(() => server.clients.size === 0)
    }
  })
})
