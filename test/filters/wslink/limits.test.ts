// Misbehaving clients over real connections: each is closed with a code and a reason, and uses bounded memory.
import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { testServer } from '../../../src/testing/index.ts'
import type { Peer } from '../../support/peer.ts'
import { building, call, chunk, hello, opened, SECRET, serveWslink, whole } from '../../support/wslink.ts'

const MIB = 1024 * 1024

describe('wslink closes', () => {
  async function start(t: TestContext, options = {}) {
    const { open, enter } = await serveWslink(
      t,
      wslink => wslink.register('add', (a: number, b: number) => a + b),
      options,
    )
    const first = async () => {
      const peer = await open()
      peer.send(JSON.stringify(hello()))
      await peer.get(1)
      return peer
    }
    return { open, first, second: async () => (await enter()).peer }
  }
  const closed = async (peer: Peer, ...frames: (string | Buffer)[]) => {
    for (const frame of frames) peer.send(frame)
    return Object.values(await peer.end())
  }

  it('clients that send a large message before authentication', async t => {
    const { open } = await start(t, { wslinkMaxHello: 200 })
    const why = 'a message has at most 200 bytes'
    assert.deepEqual(await closed(await open(), whole(hello('x'.repeat(200)))), [1009, `${why}, announced 271`])
    assert.deepEqual(await closed(await open(), JSON.stringify(hello('x'.repeat(200)))), [1009, why])
    assert.deepEqual(
      await closed(await open(), chunk(1, 0, 200, Buffer.alloc(150)), chunk(2, 0, 200, Buffer.alloc(51))),
      [1009, 'more than 200 bytes of unfinished messages'],
    )
    assert.deepEqual(await closed(await open(), '{}', Buffer.from('x')), [1002, 'an attachment before authentication'])
  })
  it('clients with messages that are too large', async t => {
    const { first, second, open } = await start(t, { wslinkMaxMessage: 10 * MIB })
    const piece = Buffer.alloc(4 * MIB - 12)
    const lies = [0, 1].map(i => chunk(i, 0, 9 * MIB, piece))
    assert.deepEqual(await closed(await second(), chunk(1, 0, 10 * MIB + 1, Buffer.alloc(1))), [
      1009,
      'a message has at most 10485760 bytes, announced 10485761',
    ])
    assert.deepEqual(await closed(await second(), ...lies, chunk(2, 0, 9 * MIB, piece)), [
      1009,
      'more than 10485760 bytes of unfinished messages',
    ])
    // The core refuses the frame.
    assert.equal((await closed(await open(), Buffer.alloc(4 * MIB + 1)))[0], 1009)
    const attachment = ['{"method": "wslink.binary.attachment", "args": ["wslink_bin1"]}', Buffer.alloc(4 * MIB)]
    const three = [1, 2, 3].flatMap(i => [String(attachment[0]).replace('bin1', `bin${i}`), attachment[1]!])
    assert.deepEqual(await closed(await first(), ...three), [1009, 'more than 10485760 bytes of pending attachments'])
  })
  it('clients whose messages have too much besides byte arrays', async t => {
    const { first, second } = await start(t, { wslinkMaxJson: 500_000 })
    const other = await first()
    const said = (args: string) => `{"id": "rpc:c:0", "method": "add", "args": [${args}]}`
    for (const [args, why] of [
      [`"${'x'.repeat(499_960)}"`, 'JSON has at most 500000 characters, received 500008'],
      [`${'1,'.repeat(100_000)}1`, 'JSON has at most 100000 elements, received more'],
      [`${'[],'.repeat(60_000)}NaN`, 'JSON has at most 100000 elements, received more'],
      ['['.repeat(100_000), 'JSON has at most 100 levels, received more'],
      ['{"a":'.repeat(50_000), 'JSON has at most 100 levels, received more'],
    ] as const)
      assert.deepEqual(await closed(await first(), said(args)), [1009, why])
    for (const [args, why] of [
      ['x'.repeat(500_000), 'msgpack of more than 500000 bytes besides byte arrays'],
      [Array(100_000).fill({}), 'msgpack of more than 100000 values'],
    ] as const)
      assert.deepEqual(await closed(await second(), whole({ id: 'rpc:c:0', args })), [1009, why])
    assert.equal((await closed(other, '{"id": 5'))[0], 1007)
  })
  it('clients of 1.x that send invalid JSON or envelopes', async t => {
    const { first } = await start(t)
    assert.deepEqual(await closed(await first(), '{"id": 5'), [1007, 'a text message is not JSON'])
    assert.deepEqual(await closed(await first(), '{"id": 5, "method": "add"}'), [
      1002,
      'the id of a message is a string, received number',
    ])
    assert.deepEqual(await closed(await first(), '{"id": "rpc:c:0"}'), [
      1002,
      'a message names its method, received undefined',
    ])
    assert.deepEqual(await closed(await first(), Buffer.from('x')), [1002, 'bytes without an announced attachment'])
  })
  it('no client for messages without a meaning', async t => {
    const { first, second } = await start(t)
    const [one, two] = [await first(), await second()]
    for (const text of ['[]', '5', 'null', '{}', '{"method": "add"}', '"id"']) one.send(text)
    for (const value of [[], 5, null, {}, { method: 'add' }, 'id']) two.send(whole(value))
    two.send('text')
    one.send(JSON.stringify(call('1', 'add', [1, 2])))
    two.send(whole(call('1', 'add', [1, 2])))
    assert.match(String((await one.get(2))[1]), /"result": 3/)
    assert.equal(opened(await two.get(2))[1].result, 3)
  })
  it('clients with an idle unfinished message, but not if the server paused them or their line is slow', async t => {
    t.mock.timers.enable({ apis: ['setInterval'] })
    let now = 0
    t.mock.method(performance, 'now', () => now)
    const wait: (() => void)[] = []
    const on = building(wslink => wslink.register('wait', () => new Promise<void>(end => void wait.push(end))))
    const server = await testServer(['wslink', on], { 'wslink-secret': SECRET, 'wslink-pending': 1 })
    const clients = await Promise.all([1, 2, 3].map(() => server.connect()))
    const [silent, slow, kept] = clients as [(typeof clients)[0], (typeof clients)[0], (typeof clients)[0]]
    for (const client of clients) await client.say(whole(hello()))
    const later = (ms: number) => {
      now += ms
      t.mock.timers.tick(ms)
    }
    for (const client of [silent, slow, kept]) await client.say(chunk(1, 0, 100, Buffer.alloc(1)))
    await kept.say(whole(call('1', 'wait'), 2))
    const waiting = kept.say(whole(call('2', 'wait'), 3))
    // 66 s for a frame of 4 MiB, plus 30.
    later(95_000)
    await slow.say(chunk(1, 1, 100, Buffer.alloc(1)))
    later(6_000)
    assert.deepEqual(
      clients.map(({ closed }) => closed),
      [{ code: 1008, reason: 'a message is unfinished and idle for 96 s' }, undefined, undefined],
    )
    wait.shift()!()
    await waiting
    later(5_000)
    assert.equal(kept.closed, undefined)
    later(92_000)
    assert.deepEqual(
      clients.map(({ closed }) => closed?.code),
      [1008, 1008, 1008],
    )
    await server.stop()
  })
})

it('announcing large messages uses no memory', async t => {
  const { enter } = await serveWslink(t)
  const before = process.memoryUsage().arrayBuffers
  for (let i = 0; i < 20; i++) {
    const { peer } = await enter()
    for (let id = 0; id < 100; id++) peer.send(chunk(id, 0, 128 * MIB, Buffer.alloc(1)))
    peer.send(whole(hello(), 1000))
    await peer.get(2)
  }
  const taken = process.memoryUsage().arrayBuffers - before
  assert.ok(taken < 20 * MIB, `${taken} bytes`)
})
