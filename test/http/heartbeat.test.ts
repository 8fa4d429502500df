import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Closed, Payload, RunningServer } from '../../src/index.ts'
import { BINARY, frame, PING, PONG, RawPeer, TEXT } from '../support/frames.ts'
import { Peer, serve, until } from '../support/peer.ts'

/** Seconds. */
const HEARTBEAT = 0.16

/** More than an interval: the lifetime of a peer that never answers. */
async function lifeOfTheSilent(server: RunningServer): Promise<void> {
  const silent = await RawPeer.open(server.url)
  await silent.end()
}

describe('heartbeat', () => {
  it('pings every client once per interval, and keeps those that answer', async t => {
    const server = await serve(t, { filters: [], heartbeat: HEARTBEAT })
    const peers = await Promise.all(Array.from({ length: 10 }, () => Peer.open(server.url)))
    const pings = peers.map(() => 0)
    for (const [i, { ws }] of peers.entries()) {
      ws.on('ping', () => {
        pings[i]!++
      })
    }
    await until(() => pings.every(count => count >= 4), 'four pings each')
    assert.ok(Math.max(...pings) <= 6, `${pings}`)
    assert.equal(server.clients.size, 10)
    assert.equal(server.counters.closed, 0)
  })

  it('terminates a client that does not answer, and its disconnect chain gets 1006', async t => {
    const closed: Closed[] = []
    const server = await serve(t, {
      filters: [{ disconnect: (_, how) => void closed.push(how) }],
      heartbeat: HEARTBEAT,
    })
    const peer = await RawPeer.open(server.url)
    assert.equal(await peer.end(), undefined)
    assert.deepEqual(
      peer.frames.map(({ opcode }) => opcode),
      [PING],
    )
    await until(() => closed.length > 0)
    assert.deepEqual(closed, [{ code: 1006, reason: '', clean: false }])
    assert.deepEqual({ ...server.counters.closes }, { 1006: 1 })
  })

  it('terminates a client whose network is lost', async t => {
    const server = await serve(t, { filters: [], heartbeat: HEARTBEAT })
    const peer = await RawPeer.open(server.url)
    peer.socket.pause()
    await until(() => server.counters.closed === 1)
    peer.socket.destroy()
  })

  for (const [what, bytes] of [
    ['a pong', frame(PONG, 'alive')],
    ['any message', frame(TEXT, 'alive')],
    ['a ping of its own', frame(PING, 'alive')],
    // A pong cannot overtake a long frame in transit.
    ['part of a message', frame(BINARY, 'x'.repeat(100), { declared: 100_000 })],
  ] as const) {
    it(`accepts ${what} as an answer`, async t => {
      const server = await serve(t, { filters: [], heartbeat: HEARTBEAT, drain: 0 })
      const peer = await RawPeer.open(server.url)
      const pings = () => peer.frames.filter(frame => frame.opcode === PING).length
      for (let answered = 0; answered < 4; answered++) {
        await until(() => pings() > answered || peer.isClosed)
        peer.send(bytes)
      }
      assert.equal(peer.isClosed, false)
      assert.equal(server.counters.closed, 0)
    })
  }

  it('keeps a client whose socket the server has paused', async t => {
    let release = () => {}
    const released = new Promise<void>(resolve => {
      release = resolve
    })
    t.after(release)
    const seen: Payload[] = []
    const server = await serve(t, {
      filters: [
        {
          message: async payload => {
            await released
            seen.push(payload)
          },
        },
      ],
      maxQueued: 10,
      heartbeat: HEARTBEAT,
    })
    const peer = await Peer.open(server.url)
    for (let i = 0; i < 100; i++) peer.send(`${i}`.padEnd(10_000))
    await until(() => server.counters.paused === 1)
    await lifeOfTheSilent(server)
    await lifeOfTheSilent(server)
    assert.equal(peer.closed, undefined)
    release()
    await until(() => seen.length === 100)
    // Its heartbeat continues from then on.
    let pings = 0
    peer.ws.on('ping', () => pings++)
    await until(() => pings >= 2)
    assert.equal(peer.closed, undefined)
  })

  it('keeps a client whose bytes wait in a data filter', async t => {
    let release = () => {}
    const released = new Promise<void>(resolve => {
      release = resolve
    })
    t.after(release)
    let isAtWork = false
    const slow = frame(TEXT, 'slow')
    const server = await serve(t, {
      filters: [
        {
          data: async chunk => {
            if (!chunk.equals(slow)) return
            isAtWork = true
            await released
          },
        },
        'echo',
      ],
      heartbeat: HEARTBEAT,
      drain: 0,
    })
    const peer = await RawPeer.open(server.url)
    peer.send(slow)
    await until(() => isAtWork)
    await lifeOfTheSilent(server)
    await lifeOfTheSilent(server)
    assert.equal(peer.isClosed, false)
    release()
    await until(() => peer.frames.some(({ opcode }) => opcode === TEXT))
  })

  it('also pings a client behind a data filter', async t => {
    const server = await serve(t, { filters: [{ data: () => {} }], heartbeat: HEARTBEAT })
    const alive = await Peer.open(server.url)
    await lifeOfTheSilent(server)
    await lifeOfTheSilent(server)
    assert.equal(alive.closed, undefined)
    assert.equal(server.clients.size, 1)
  })

  it('is disabled by 0', async t => {
    const server = await serve(t, { filters: [], heartbeat: 0, drain: 0 })
    const watched = await serve(t, { filters: [], heartbeat: HEARTBEAT })
    const peer = await RawPeer.open(server.url)
    await lifeOfTheSilent(watched)
    await lifeOfTheSilent(watched)
    await peer.roundTrip()
    assert.equal(peer.frames.length, 1)
  })
})
