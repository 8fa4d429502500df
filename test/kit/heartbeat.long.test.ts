import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { describe, it, type TestContext } from 'node:test'
import { acceptedBytes } from '../../src/kit/accepted-bytes.ts'
import { Heartbeat, type Pinged } from '../../src/kit/heartbeat.ts'
import { until } from '../support/peer.ts'
import { slices } from '../support/slices.ts'

const INTERVAL = 300
const MIB = 1_048_576

class Connection implements Pinged {
  readonly socket: Socket
  isReadPaused = false
  pings = 0
  terminatedAt = 0
  constructor(socket: Socket) {
    this.socket = socket
  }
  get bytesIn(): number {
    return this.socket.bytesRead
  }
  get bytesOut(): number {
    return acceptedBytes(this.socket)
  }
  ping(): void {
    this.pings++
    this.socket.write('?')
  }
  terminate(): void {
    this.terminatedAt = performance.now()
    this.socket.destroy()
  }
}

/** A connection with a heartbeat, and its peer, which does not read yet. */
async function pair(t: TestContext) {
  const heartbeat = new Heartbeat<Connection>(INTERVAL)
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const peer = connect((server.address() as AddressInfo).port, '127.0.0.1')
  peer.on('error', () => {}).pause()
  const [socket] = (await once(server, 'connection')) as [Socket]
  socket.on('error', () => {}).resume()
  const connection = new Connection(socket)
  heartbeat.add(connection)
  t.after(() => {
    heartbeat.stop()
    peer.destroy()
    socket.destroy()
    server.close()
  })
  return { connection, socket, peer }
}

describe('a heartbeat over sockets', { concurrency: true }, () => {
  for (const [size, what] of [
    [MIB, 'that the send buffer takes as a whole'],
    [16 * MIB, 'that waits in the process'],
  ] as const)
    it(`keeps a peer that reads a message of ${size / MIB} MiB ${what} at 100 kB per second`, async t => {
      const { connection, socket, peer } = await pair(t)
      socket.write(Buffer.alloc(size))
      let read = 0
      const timer = setInterval(() => {
        read += peer.read(10_000)?.length ?? peer.read()?.length ?? 0
      }, 100)
      t.after(() => clearInterval(timer))
      await until(() => read > 0.95 * MIB, 'the message', 90_000)
      assert.deepEqual([connection.terminatedAt, socket.bytesRead], [0, 0])
      assert.ok(connection.pings > 20, `${connection.pings} pings`)
    })

  for (const [size, extra] of [
    [0, 0],
    [100, 0],
    [2048, 500],
    [8192, 2000],
    [16_384, 4000],
  ] as const)
    it(`ends a peer that reads nothing, ${extra} ms later after ${size} bytes`, async t => {
      const { connection, socket } = await pair(t)
      await until(() => connection.pings > 0)
      const pingedAt = performance.now()
      socket.write(Buffer.alloc(size))
      await until(() => connection.terminatedAt > 0)
      const life = connection.terminatedAt - pingedAt
      assert.ok(life > 0.8 * INTERVAL + extra, `${life} ms`)
      // Under load the intervals become longer.
      assert.ok(life < 10_000 + 3 * INTERVAL + 2 * extra, `${life} ms`)
    })

  it('gives a full interval after a hold', async t => {
    const { connection } = await pair(t)
    await until(() => connection.pings > 0)
    connection.isReadPaused = true
    await new Promise(resolve => setTimeout(resolve, 4 * INTERVAL))
    assert.equal(connection.terminatedAt, 0)
    connection.isReadPaused = false
    const releasedAt = performance.now()
    await until(() => connection.terminatedAt > 0)
    assert.ok(connection.terminatedAt - releasedAt > 0.8 * INTERVAL)
  })
})

describe('a heartbeat of 100,000 connections', () => {
  it('checks them in slices', async t => {
    const measured = slices()
    let pings = 0
    const fakes = Array.from({ length: 100_000 }, () => ({
      bytesIn: 0,
      bytesOut: 0,
      isReadPaused: false,
      pings: 0,
      ping() {
        measured.work(0.005)
        this.bytesIn++
        this.pings++
        pings++
      },
      terminate: () => assert.fail('ended'),
    }))
    const heartbeat = new Heartbeat<(typeof fakes)[number]>(2000)
    t.after(() => heartbeat.stop())
    for (const fake of fakes) heartbeat.add(fake)
    await until(() => pings >= 150_000)
    assert.ok(fakes.every(fake => fake.pings >= 1 && fake.pings <= 3))
    measured.check()
    const before = process.cpuUsage()
    for (const fake of fakes) heartbeat.remove(fake)
    assert.ok(process.cpuUsage(before).user < 1_000_000, 'removing is O(1)')
  })
})
