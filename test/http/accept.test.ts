import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { describe, it, type TestContext } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { pino } from 'pino'
import { Addresses } from '../../filters/rate-limit/addresses.ts'
import type { AcceptedConnection, FilterModule, RunningServer, ServerOptions } from '../../src/index.ts'
import { DROP } from '../../src/index.ts'
import { randomFrom } from '../../src/testing/random-from.ts'
import { selfSignedFiles } from '../support/certificates.ts'
import { handshake } from '../support/frames.ts'
import { Peer, serve, until } from '../support/peer.ts'

const REQUEST = 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'

function dial(t: TestContext, { url }: RunningServer, localAddress = '127.0.0.1'): Promise<Socket> {
  const socket = connect({ port: Number(new URL(url).port), host: '127.0.0.1', localAddress })
  t.after(() => void socket.destroy())
  socket.on('error', () => {}).resume()
  return new Promise(resolve => {
    socket.once('connect', () => resolve(socket)).once('close', () => resolve(socket))
  })
}

const closed = (socket: Socket) => until(() => socket.closed, 'a closed connection')

describe('accept handlers', () => {
  for (const scheme of ['ws', 'wss'] as const)
    for (const [what, more] of [
      ['', {}],
      [' before a data filter', { data: () => {} }],
    ] as const) {
      const options = async (t: TestContext): Promise<ServerOptions> =>
        scheme === 'ws' ? {} : (await selfSignedFiles(t)).files
      const trust = { rejectUnauthorized: false }

      it(`run once for each connection, of ${scheme}${what}`, async t => {
        const remotes: string[] = []
        const accept = ({ remote }: AcceptedConnection) => void remotes.push(remote)
        const server = await serve(t, { filters: [{ accept, ...more }, 'echo'], ...(await options(t)) })
        const peer = await Peer.open(server.url, trust)
        peer.send('hello')
        assert.deepEqual(await peer.get(1), ['hello'])
        await dial(t, server, '127.0.0.3')
        await until(() => remotes.length === 2)
        assert.deepEqual(remotes, ['127.0.0.1', '127.0.0.3'])
        assert.deepEqual({ ...server.counters.refusals }, {})
        const { chain, filter, calls } = server.handlers[0]!
        assert.deepEqual([chain, filter, calls], ['accept', 'inline', 2])
      })

      for (const [verdict, accept, error] of [
        ['DROP', () => DROP, undefined],
        [
          'an error',
          () => {
            throw new Error('broken')
          },
          'broken',
        ],
        [
          'a promise',
          () => Promise.resolve() as never,
          'returned a promise; an accept handler returns nothing, or DROP, and no promise',
        ],
        [
          'a promise that rejects',
          () => Promise.reject(new Error('broken')) as never,
          'returned a promise; an accept handler returns nothing, or DROP, and no promise',
        ],
        [
          'a value',
          () => true as never,
          'returned boolean true; an accept handler returns nothing, or DROP, and no promise',
        ],
      ] as const satisfies readonly (readonly [string, FilterModule['accept'], string | undefined])[])
        it(`close a connection of ${scheme}${what} by ${verdict}`, async t => {
          // Within one minute of the log.
          t.mock.timers.enable({ apis: ['Date'], now: Date.now() })
          const logged: { msg: string; remote?: string; filters?: string[]; err?: { message: string } }[] = []
          const log = pino({}, { write: line => void logged.push(JSON.parse(line)) })
          let reads = 0
          const data = more.data && (() => void reads++)
          const filters = [{ accept, ...(data && { data }) }]
          const server = await serve(t, { log, filters, ...(await options(t)) })
          for (let i = 0; i < 3; i++) {
            const socket = await dial(t, server)
            socket.write(REQUEST)
            await closed(socket)
          }
          assert.equal(reads, 0)
          assert.deepEqual({ ...server.counters.refusals }, { 'accept handler': 3 })
          assert.deepEqual(
            logged
              .filter(({ msg }) => msg.includes('refused'))
              .map(({ msg, remote, filters }) => [msg, remote, filters]),
            [['connection refused by an accept handler', '127.0.0.1', ['inline']]],
          )
          assert.equal(logged.find(({ err }) => err)?.err?.message, error)
          assert.equal(server.counters.errors, error === undefined ? 0 : 3)
        })
    }

  for (const [trustProxy, expected] of [
    [['127.0.0.1'], ['127.0.0.2']],
    [['127.0.0.0/30'], []],
    [['loopback'], []],
    [['10.0.0.1', '127.0.0.2'], ['127.0.0.1']],
    [['::1'], ['127.0.0.1', '127.0.0.2']],
  ] as const)
    it(`do not run for --trust-proxy ${trustProxy.join(' ')}`, async t => {
      const remotes: string[] = []
      const accept = ({ remote }: AcceptedConnection) => void remotes.push(remote)
      const server = await serve(t, { filters: [{ accept }], trustProxy: [...trustProxy] })
      for (const address of ['127.0.0.1', '127.0.0.2']) {
        const socket = await dial(t, server, address)
        socket.write(REQUEST)
        await once(socket, 'data')
      }
      assert.deepEqual(remotes, expected)
    })

  it('of several filters run in order until one drops', async t => {
    const calls: string[] = []
    const first = ({ onClose: _, remote }: AcceptedConnection) => void calls.push(`first ${remote}`)
    const filters = [
      { accept: [first, () => void calls.push('second')] },
      { accept: () => DROP },
      { accept: () => void calls.push('never') },
    ] satisfies FilterModule[]
    const server = await serve(t, { filters })
    await closed(await dial(t, server))
    assert.deepEqual(calls, ['first 127.0.0.1', 'second'])
  })

  it('contain errors of onClose', async t => {
    let closes = 0
    const accept = (connection: AcceptedConnection) => {
      connection.onClose(() => {
        throw new Error('broken')
      })
      connection.onClose(() => closes++)
    }
    const server = await serve(t, { filters: [{ accept }] })
    ;(await dial(t, server)).destroy()
    await until(() => closes === 1)
    assert.equal(server.counters.errors, 1)
  })
})

describe('the connections that accept handlers count', () => {
  for (const scheme of ['ws', 'wss'] as const)
    it(`are closed exactly once, however they end, over ${scheme}`, { timeout: 60_000 }, async t => {
      const seed = Date.now() % 1_000_000
      const random = randomFrom(seed)
      const ends = new Map<AcceptedConnection, number>()
      const open = () => [...ends.values()].filter(count => count === 0).length
      const filter: FilterModule = {
        accept: connection => {
          ends.set(connection, 0)
          connection.onClose(() => ends.set(connection, ends.get(connection)! + 1))
          return random() < 0.1 ? DROP : undefined
        },
        connect: client => (random() < 0.3 ? client.refuse(401) : undefined),
      }
      const tls = scheme === 'wss' ? (await selfSignedFiles(t)).files : {}
      const server = await serve(t, { filters: [filter, 'echo'], handshakeTimeout: 0.5, ...tls })
      const upgrade = handshake(server.url)
      const requests = [upgrade, upgrade, REQUEST, 'nonsense\r\n\r\n', upgrade.slice(0, 20), 'GET', '\0']
      const port = Number(new URL(server.url).port)
      const act = async () => {
        const isSecure = scheme === 'wss' && random() < 0.8
        const target = { port, host: '127.0.0.1' }
        const peer = isSecure ? connectTls({ ...target, rejectUnauthorized: false }) : connect(target)
        t.after(() => void peer.destroy())
        peer.on('error', () => {}).resume()
        const either = (event: string) =>
          new Promise(resolve => void (peer.closed ? resolve(0) : peer.once(event, resolve).once('close', resolve)))
        await either('connect')
        if (isSecure && random() < 0.8) await either('secureConnect')
        peer.write(requests[Math.floor(random() * requests.length)]!)
        if (random() < 0.5) await either('data')
        if (random() < 0.2) peer.write(Buffer.from([0xff, 0xff, 0, 1, 2]))
        const end = random()
        if (end < 0.3) peer.end()
        else if (end < 0.6) peer.destroy()
        else if (end < 0.9 && !isSecure) peer.resetAndDestroy()
        // The others end by the timeout of the handshake, or with the server.
      }
      for (let round = 0; round < 5; round++) await Promise.all(Array.from({ length: 30 }, act))
      await until(() => ends.size === 150, `150 connections, seed ${seed}`)
      await server.close()
      await until(() => open() === 0, `all closed, seed ${seed}`)
      assert.deepEqual([...new Set(ends.values())], [1], `seed ${seed}`)
    })
})

describe('rate-limit at accept', () => {
  for (const scheme of ['ws', 'wss'] as const)
    it(`lets clients of other addresses in while one opens 1,500 silent connections, over ${scheme}`, {
      timeout: 120_000,
    }, async t => {
      const tls = scheme === 'wss' ? (await selfSignedFiles(t)).files : {}
      const server = await serve(t, { filters: ['rate-limit', 'echo'], maxClients: 100, handshakeTimeout: 60, ...tls })
      const silent = await Promise.all(Array.from({ length: 1500 }, () => dial(t, server, '127.0.0.2')))
      await until(() => silent.filter(socket => socket.closed).length === 1500 - 256 - 32, 'the others are closed')
      const peer = await Peer.open(server.url, { rejectUnauthorized: false })
      peer.send('hello')
      assert.deepEqual(await peer.get(1), ['hello'])
      assert.deepEqual({ ...server.counters.refusals }, { 'accept handler': 1212 })
      // Each that closes makes room for another.
      for (const socket of silent) socket.destroy()
      await until(async () => {
        const socket = await dial(t, server, '127.0.0.2')
        await new Promise(setImmediate)
        return !socket.closed
      })
    })

  it('still refuses the handshakes of an address with 429 at its limit of clients', async t => {
    const server = await serve(t, { filters: ['rate-limit'], rateLimitClients: 2 })
    const peers = [await Peer.open(server.url), await Peer.open(server.url)]
    await assert.rejects(Peer.open(server.url), { message: 'Unexpected server response: 429' })
    const plain = await Promise.all(Array.from({ length: 40 }, () => dial(t, server)))
    await until(() => plain.filter(socket => socket.closed).length >= 8, 'the others are closed')
    peers[0]!.ws.close()
    await peers[0]!.end()
    for (const socket of plain) socket.destroy()
    await until(async () => {
      try {
        await Peer.open(server.url)
        return true
      } catch {
        return false
      }
    }, 'a client in its place')
  })

  for (const [remotes, room] of [
    [['1.2.3.4'], 33],
    [['1.2.3.4', '::ffff:1.2.3.4'], 33],
    [['2001:db8::1', '2001:db8::2', '2001:db8:0:0:ffff::'], 33],
    [['2001:db8::1', '2001:db8:0:1::1'], 66],
    [['unix'], 33],
    [['1.2.3.4', '1.2.3.5', '1.2.3.6'], 99],
  ] as const)
    it(`has room for ${room} connections of ${remotes.join(', ')} with one client each`, () => {
      const addresses = new Addresses({ connects: 1, clients: 1 })
      const closes: (() => void)[] = []
      const accept = (i: number) =>
        addresses.accept({ remote: remotes[i % remotes.length]!, onClose: handler => void closes.push(handler) })
      for (let i = 0; i < 300; i++) accept(i)
      assert.equal(closes.length, room)
      for (const close of closes.splice(0)) close()
      assert.equal(addresses.occupied, 0)
      assert.equal(accept(0), true)
    })
})
