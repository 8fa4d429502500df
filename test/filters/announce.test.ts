import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { networkInterfaces } from 'node:os'
import { describe, it, type TestContext } from 'node:test'
import { Announcer } from '../../filters/announce/announcer.ts'
import { limitsOf } from '../../filters/messaging/wire/limits.ts'
import { type Announcement, readAnnouncement, writeAnnouncement } from '../../protocols/clever-show/announcement.ts'
import type { ServerOptions } from '../../src/index.ts'
import { folder, launch, refusal } from '../support/cli.ts'
import { door } from '../support/messaging.ts'
import { until } from '../support/peer.ts'

/** A UDP port of this machine, and the datagrams that arrive there. */
async function receiver(t: TestContext, host = '127.0.0.1') {
  const socket = createSocket('udp4')
  t.after(() => void socket.close())
  const received: { bytes: Buffer; announced: Announcement | undefined }[] = []
  socket.on('message', bytes => received.push({ bytes, announced: readAnnouncement(bytes, limitsOf().parse) }))
  await once(socket.bind(0, host), 'listening')
  const { port } = socket.address()
  return { received, port, to: `127.0.0.1:${port}` }
}

function announcing(t: TestContext, to: string, options: ServerOptions = {}) {
  return door(t, [], { messagingAnnounce: true, messagingAnnounceTo: to, messagingAnnounceEvery: 0.1, ...options })
}

describe('filter announce', () => {
  it('announces the port at an interval, in the form of clever-show', async t => {
    const { received, to } = await receiver(t)
    const before = Date.now()
    const { port } = await announcing(t, to)
    await until(() => received.length >= 3)
    const [{ bytes, announced }, ...others] = received as [(typeof received)[0], ...typeof received]
    assert.deepEqual([announced!.host, announced!.port], ['127.0.0.1', port])
    assert.match(announced!.id, /^\d{4}$/)
    const startTime = announced!.startTime * 1000
    assert.ok(startTime >= before - 1 && startTime <= Date.now() + 1, `${startTime}`)
    assert.deepEqual(bytes, writeAnnouncement(announced!, Buffer))
    for (const other of others) assert.deepEqual(other.bytes, bytes)
  })

  it('reaches all machines on a network', {
    skip: process.platform !== 'linux' && 'no broadcast on loopback',
  }, async t => {
    const { received, port } = await receiver(t, '127.255.255.255')
    const room = await announcing(t, `127.255.255.255:${port}`)
    await until(() => received.length > 0)
    assert.equal(received[0]!.announced!.port, room.port)
  })

  it('is off by default', async t => {
    const { received, to } = await receiver(t)
    await announcing(t, to, { messagingAnnounce: false })
    await new Promise(resolve => setTimeout(resolve, 300))
    assert.deepEqual(received, [])
  })

  it('announces the host of the option, or an address of this machine for a port on all addresses', async t => {
    const { received, to } = await receiver(t)
    await announcing(t, to, { messagingAnnounceHost: 'ground.example' })
    await until(() => received.length > 0)
    assert.equal(received[0]!.announced!.host, 'ground.example')
    const addresses = Object.values(networkInterfaces()).flatMap(list => list ?? [])
    const [first] = addresses.filter(({ family, internal }) => family === 'IPv4' && !internal)
    if (first === undefined) return t.skip('this machine has only loopback addresses')
    const { server } = await announcing(t, to, { messagingHost: '0.0.0.0' })
    await until(() => received.some(({ announced }) => announced!.host === first.address))
    await server.close()
  })

  it('continues while the destination cannot be reached', async t => {
    // A name that never resolves (RFC 6761, section 6.4).
    const to = 'nobody.invalid:8181'
    const { logged, peer } = await announcing(t, to, { messagingAnnounceHost: '127.0.0.1' })
    await until(() => logged.some(({ msg }) => msg === `announcements to ${to} fail`))
    await peer()
  })

  it('logs a failure once, and its recovery once', async t => {
    const { received, port } = await receiver(t)
    const logged: string[] = []
    const log = { warn: (_: object, text: string) => logged.push(text), info: (text: string) => logged.push(text) }
    const to = { host: 'nobody.invalid', port }
    const announcer = await Announcer.open(to, Buffer.from('a'), log as never)
    t.after(() => announcer.close())
    const sendUntil = (done: () => boolean) =>
      until(() => {
        announcer.send()
        return done()
      })
    await sendUntil(() => logged.length === 1)
    let count = 0
    await sendUntil(() => ++count === 20)
    to.host = '127.0.0.1'
    await sendUntil(() => received.length > 2)
    assert.deepEqual(logged, [
      `announcements to nobody.invalid:${port} fail`,
      `announcements to 127.0.0.1:${port} succeed again`,
    ])
  })

  it('announces nothing while the server stops', async t => {
    const { received, to } = await receiver(t)
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
    await until(() => received.length > 0)
    const closing = server.close()
    const { length } = received
    await new Promise(resolve => setTimeout(resolve, 400))
    assert.ok(received.length <= length + 1, `${received.length - length} more`)
    end()
    await closing
  })

  it('starts and announces as a command', async t => {
    const { received, to } = await receiver(t)
    const argv = ['-f', 'messaging', '-p', '0', '--messaging-port', '0', '--messaging-announce']
    const server = await launch(t, [...argv, '--messaging-announce-to', to, '--messaging-announce-every', '0.1'])
    await until(() => received.length > 0)
    const { announced } = received[0]!
    const line = server.logged().find(({ msg }) => String(msg).includes('is announced to'))
    assert.equal(line!.msg, `server "${announced!.id}" at 127.0.0.1:${announced!.port} is announced to ${to}`)
  })

  const refused: readonly (readonly [what: string, argv: string, why: string])[] = [
    [
      'without a port',
      '--messaging-announce',
      'filter announce: --messaging-announce announces a TCP port; give --messaging-port too',
    ],
    [
      'to others, of an address that only this machine reaches',
      '--messaging-announce --messaging-port 0',
      'filter messaging: --messaging-announce would announce 127.0.0.1, which other machines cannot reach; give --messaging-host an address in their network, or --messaging-announce-host',
    ],
    ...['LOCALHOST', 'localhost.', '127.1', '::1', '0:0:0:0:0:0:0:1', '::ffff:127.0.0.1'].map(
      host =>
        [
          `to others, of ${host}`,
          `--messaging-announce --messaging-port 0 --messaging-host ${host}`,
          `filter messaging: --messaging-announce would announce ${host}, which other machines cannot reach; give --messaging-host an address in their network, or --messaging-announce-host`,
        ] as const,
    ),
    [
      'to nowhere',
      '--messaging-announce --messaging-port 0 --messaging-announce-to 10.0.0.255',
      'filter announce: --messaging-announce-to is HOST:PORT, received "10.0.0.255"',
    ],
    [
      'to port 0',
      '--messaging-announce --messaging-port 0 --messaging-announce-to 10.0.0.255:0',
      'filter announce: --messaging-announce-to is HOST:PORT, received "10.0.0.255:0"',
    ],
    [
      'of what is no host',
      '--messaging-announce --messaging-port 0 --messaging-announce-host a/b',
      'filter announce: --messaging-announce-host is an address or a name, received "a/b"',
    ],
  ]
  for (const [what, argv, why] of refused)
    it(`is refused at start ${what}`, async t => {
      assert.equal(await refusal(['-f', 'messaging', '-p', '0', ...argv.split(' ')], { cwd: folder(t) }), why)
    })
})
