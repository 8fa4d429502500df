import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { networkInterfaces } from 'node:os'
import { describe, it, type TestContext } from 'node:test'
import {
  type Announcement,
  readAnnouncement,
  writeAnnouncement,
} from '../../../../filters/messaging/announce/announcement.ts'
import { Announcer } from '../../../../filters/messaging/announce/announcer.ts'
import type { ServerOptions } from '../../../../src/index.ts'
import { folder, launch, refusal } from '../../../support/cli.ts'
import { door } from '../../../support/messaging.ts'
import { until } from '../../../support/peer.ts'

/** A UDP port of this machine, and what comes there. */
async function ear(t: TestContext, host = '127.0.0.1') {
  const socket = createSocket('udp4')
  t.after(() => void socket.close())
  const heard: { bytes: Buffer; announced: Announcement | undefined }[] = []
  socket.on('message', bytes => heard.push({ bytes, announced: readAnnouncement(bytes) }))
  await once(socket.bind(0, host), 'listening')
  const { port } = socket.address()
  return { heard, port, to: `127.0.0.1:${port}` }
}

function announcing(t: TestContext, to: string, options: ServerOptions = {}) {
  return door(t, [], { messagingAnnounce: true, messagingAnnounceTo: to, messagingAnnounceEvery: 0.1, ...options })
}

/** Says something to a port of this machine. */
async function say(port: number, ...datagrams: Buffer[]): Promise<void> {
  const socket = createSocket('udp4')
  for (const datagram of datagrams)
    await new Promise<void>((resolve, reject) =>
      socket.send(datagram, port, '127.0.0.1', error => (error === null ? resolve() : reject(error))),
    )
  socket.close()
}

describe('discovery', () => {
  it('tells again and again where the port is, in the form of the original', async t => {
    const { heard, to } = await ear(t)
    const before = Date.now()
    const { port } = await announcing(t, to)
    await until(() => heard.length === 3)
    const [{ bytes, announced }, ...others] = heard as [(typeof heard)[0], ...typeof heard]
    assert.deepEqual([announced!.host, announced!.port], ['127.0.0.1', port])
    assert.match(announced!.id, /^\d{4}$/)
    assert.ok(Math.abs(announced!.startTime * 1000 - before) < 2000, `${announced!.startTime}`)
    assert.deepEqual(bytes, writeAnnouncement(announced!))
    for (const other of others) assert.deepEqual(other.bytes, bytes)
  })

  it('reaches everybody on a network', {
    skip: process.platform !== 'linux' && 'no broadcast on loopback',
  }, async t => {
    const { heard, port } = await ear(t, '127.255.255.255')
    const room = await announcing(t, `127.255.255.255:${port}`)
    await until(() => heard.length === 1)
    assert.equal(heard[0]!.announced!.port, room.port)
  })

  it('is off unless it is asked for', async t => {
    const { heard, to } = await ear(t)
    await announcing(t, to, { messagingAnnounce: false })
    await new Promise(resolve => setTimeout(resolve, 300))
    assert.deepEqual(heard, [])
  })

  it('tells what the operator says, or an address of this machine if all are listened on', async t => {
    const { heard, to } = await ear(t)
    await announcing(t, to, { messagingAnnounceHost: 'ground.example' })
    await until(() => heard.length === 1)
    assert.equal(heard[0]!.announced!.host, 'ground.example')
    const addresses = Object.values(networkInterfaces()).flatMap(list => list ?? [])
    const [first] = addresses.filter(({ family, internal }) => family === 'IPv4' && !internal)
    if (first === undefined) return t.skip('this machine has only itself')
    const { server } = await announcing(t, to, { messagingHost: '0.0.0.0' })
    await until(() => heard.some(({ announced }) => announced!.host === first.address))
    await server.close()
  })

  it('goes on while nobody can be told', async t => {
    // A name that is nobody's (RFC 6761, section 6.4).
    const { logged, peer } = await announcing(t, 'nobody.invalid:8181', { messagingAnnounceHost: '127.0.0.1' })
    await until(() => logged.some(({ msg }) => msg === 'messaging cannot announce itself'))
    await peer()
  })

  it('says once that nobody can be told, and once that it is over', async t => {
    const { heard, port } = await ear(t)
    const told: string[] = []
    const log = { warn: (_: object, text: string) => told.push(text), info: (text: string) => told.push(text) }
    const to = { host: 'nobody.invalid', port }
    const own = { host: '127.0.0.1', port: 1, id: '0001', startTime: 1 }
    const announcer = await Announcer.open(to, own, log as never)
    t.after(() => announcer.close())
    const sayUntil = (done: () => boolean) =>
      until(() => {
        announcer.say()
        return done()
      })
    await sayUntil(() => told.length === 1)
    let count = 0
    await sayUntil(() => ++count === 20)
    to.host = '127.0.0.1'
    await sayUntil(() => heard.length > 2)
    assert.deepEqual(told, ['messaging cannot announce itself', 'messaging announces itself again'])
  })

  it('does not send anybody to a server that stops', async t => {
    const { heard, to } = await ear(t)
    let end = () => {}
    const stopping = new Promise<void>(resolve => {
      end = resolve
    })
    const { server, peer, clientOf } = await announcing(t, to, {
      drain: 2,
      filters: ['messaging', { disconnect: () => stopping }],
    })
    await peer()
    await clientOf(1)
    await until(() => heard.length > 0)
    const closing = server.close()
    const { length } = heard
    await new Promise(resolve => setTimeout(resolve, 400))
    assert.ok(heard.length <= length + 1, `${heard.length - length} more`)
    end()
    await closing
  })

  it('starts and announces as a command', async t => {
    const { heard, to } = await ear(t)
    const argv = ['-f', 'messaging', '-p', '0', '--messaging-port', '0', '--messaging-announce']
    const server = await launch(t, [...argv, '--messaging-announce-to', to, '--messaging-announce-every', '0.1'])
    await until(() => heard.length === 1)
    const { announced } = heard[0]!
    const line = server.logged().find(({ msg }) => String(msg).includes('is announced to'))
    assert.equal(line!.msg, `messaging server "${announced!.id}" at 127.0.0.1:${announced!.port} is announced to ${to}`)
  })

  const refused: readonly (readonly [what: string, argv: string, why: string])[] = [
    [
      'without a port',
      '--messaging-announce',
      'filter messaging: --messaging-announce announces a TCP port; give --messaging-port too',
    ],
    [
      'to others, of an address that only this machine reaches',
      '--messaging-announce --messaging-port 0',
      'filter messaging: --messaging-announce tells others of 127.0.0.1, where they do not reach this machine; give --messaging-host an address in their network, or --messaging-announce-host',
    ],
    ...['LOCALHOST', 'localhost.', '127.1', '::1', '0:0:0:0:0:0:0:1', '::ffff:127.0.0.1'].map(
      host =>
        [
          `to others, of ${host}`,
          `--messaging-announce --messaging-port 0 --messaging-host ${host}`,
          `filter messaging: --messaging-announce tells others of ${host}, where they do not reach this machine; give --messaging-host an address in their network, or --messaging-announce-host`,
        ] as const,
    ),
    [
      'to nowhere',
      '--messaging-announce --messaging-port 0 --messaging-announce-to 10.0.0.255',
      'filter messaging: --messaging-announce-to is HOST:PORT, received "10.0.0.255"',
    ],
    [
      'to port 0',
      '--messaging-announce --messaging-port 0 --messaging-announce-to 10.0.0.255:0',
      'filter messaging: --messaging-announce-to is HOST:PORT, received "10.0.0.255:0"',
    ],
    [
      'of what is no host',
      '--messaging-announce --messaging-port 0 --messaging-announce-host a/b',
      'filter messaging: --messaging-announce-host is an address or a name, received "a/b"',
    ],
    [
      'to yield without announcing',
      '--messaging-announce-yield',
      'filter messaging: --messaging-announce-yield needs --messaging-announce',
    ],
  ]
  for (const [what, argv, why] of refused)
    it(`is refused at start ${what}`, async t => {
      assert.equal(await refusal(['-f', 'messaging', '-p', '0', ...argv.split(' ')], { cwd: folder(t) }), why)
    })
})

describe('a server that yields', () => {
  async function yielding(t: TestContext) {
    const { port } = await ear(t)
    const to = `127.0.0.1:${port + 1}`
    const room = await announcing(t, to, { messagingAnnounceYield: true, messagingAnnounceEvery: 3600 })
    const { id, startTime } = room.logged.find(({ msg }) =>
      String(msg).includes('is announced'),
    ) as never as Announcement
    return { ...room, to: port + 1, own: { host: '127.0.0.1', port: 1, id, startTime } }
  }
  const other = (id: string) => String((Number(id) + 1) % 10_000).padStart(4, '0')

  it('stops for one that has been there for longer, and says why', async t => {
    const { to, own, server, logged } = await yielding(t)
    const id = other(own.id)
    await say(to, writeAnnouncement({ ...own, host: '10.0.0.1', id, startTime: own.startTime - 1 }))
    await server.closed
    assert.ok(
      logged.some(({ msg }) => msg === `stopping: messaging server "${id}" at 10.0.0.1:1 has been there for longer`),
    )
  })

  it('stays for a younger one, for itself, and for what is no server', async t => {
    const { to, own, server, peer } = await yielding(t)
    const id = other(own.id)
    const good = writeAnnouncement({ ...own, id, startTime: own.startTime - 1 })
    await say(
      to,
      writeAnnouncement({ ...own, id, startTime: own.startTime + 1 }),
      writeAnnouncement({ ...own, startTime: own.startTime - 1 }),
      good.subarray(0, -1),
      Buffer.concat([good, good]),
      Buffer.alloc(0),
      Buffer.alloc(60_000, '{'),
      Buffer.from('\xff\xff{'),
    )
    await peer()
    assert.equal(server.ready, true)
    // All of these were heard: datagrams on loopback come in their order.
    await say(to, good)
    await server.closed
  })

  it('stays or stops, but not both do, when two have started at the same instant', async t => {
    const { to, own, server } = await yielding(t)
    const [smaller, greater] = ['', 'x']
    await say(to, writeAnnouncement({ ...own, id: greater }))
    assert.equal(server.ready, true)
    await say(to, writeAnnouncement({ ...own, id: smaller }))
    await server.closed
  })

  it('of two the younger one stops', async t => {
    const { port } = await ear(t)
    const to = `127.0.0.1:${port + 1}`
    const older = await announcing(t, to, { messagingAnnounceYield: true })
    const younger = await announcing(t, to, { messagingAnnounceYield: true })
    await younger.server.closed
    assert.equal(older.server.ready, true)
  })
})
