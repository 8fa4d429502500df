import assert from 'node:assert/strict'
import { PassThrough, Writable } from 'node:stream'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import type { Client } from '../../src/contract/client.ts'
import type { Payload } from '../../src/contract/payload.ts'
import type { Transport } from '../../src/contract/transport.ts'
import { createCounters } from '../../src/fanout/counters.ts'
import { Fanout } from '../../src/fanout/fanout.ts'
import { frame } from '../../src/fanout/frame.ts'
import { Outbox } from '../../src/fanout/outbox.ts'
import { Topic } from '../../src/fanout/topic.ts'
import { plain, Wires } from '../../src/fanout/wire.ts'
import { testServer } from '../../src/testing/index.ts'

const owner = { fellBehind: () => assert.fail(), transportFailed: (error: unknown) => assert.ifError(error) }
const wire = new Wires(error => assert.ifError(error)).of(plain, payload => Buffer.from(payload))

/** A command of the property. */
const command = (clients: number) =>
  fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        do: fc.constant('broadcast' as const),
        except: fc.option(fc.nat(clients - 1)),
        topic: fc.option(fc.constantFrom('a', 'b', 'c')),
      }),
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('send' as const), to: fc.nat(clients - 1) }) },
    {
      weight: 6,
      arbitrary: fc.record({
        do: fc.constantFrom('join' as const, 'leave' as const),
        who: fc.nat(clients - 1),
        topic: fc.constantFrom('a', 'b', 'c'),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ do: fc.constant('codec' as const), who: fc.nat(clients - 1), which: fc.nat(2) }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('flush' as const) }) },
  )

const loud = { name: 'loud', encode: (payload: Payload) => `${payload}!` }
const soft = { name: 'soft', encode: (payload: Payload) => `${payload}.` }
const numbered = { name: 'numbered', numbered: true as const, encode: (payload: Payload) => Buffer.from(payload) }
const codecs = [loud, soft, numbered]

/** With its number, if there is one. */
function shown(payload: Payload): string {
  return typeof payload === 'string' ? payload : `${payload.readBigUInt64BE()}:${payload.subarray(8)}`
}

describe('fanout', () => {
  it('writes the messages of several turns together while its policy waits', async () => {
    let turns = 3
    const fanout = new Fanout(1000, { shouldWait: () => turns-- > 0, begin: () => {}, end: () => {} })
    const socket = new PassThrough()
    const written: string[] = []
    socket.on('data', chunk => written.push(String(chunk)))
    const outbox = new Outbox<Topic>(wire, { maxBuffered: 1000, slowClients: 'close' }, createCounters(), owner)
    outbox.open({ socket } as unknown as Transport)
    const topic = new Topic('all')
    fanout.join(topic, outbox)
    for (let i = 0; i < 4; i++) {
      fanout.broadcast(topic, `${i}`)
      assert.deepEqual(written, [])
      await turn()
    }
    await turn()
    assert.deepEqual(written, ['0123'])
    fanout.broadcast(topic, 'x')
    fanout.flush()
    await turn()
    assert.deepEqual(written, ['0123', 'x'])
  })

  it('keeps the order of sends and broadcasts whose frames follow each other in a block', () => {
    const plainWire = new Wires(error => assert.ifError(error)).of(plain, frame)
    const limits = { maxBuffered: 100_000_000, slowClients: 'close' } as const
    const step = fc.oneof(
      { weight: 8, arbitrary: fc.record({ do: fc.constant('send' as const), to: fc.nat(2), size: fc.nat(400) }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('send' as const), to: fc.nat(2), size: fc.nat(20_000) }) },
      { weight: 3, arbitrary: fc.record({ do: fc.constant('all' as const), except: fc.nat(5), size: fc.nat(400) }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('flush' as const) }) },
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), steps => {
        const fanout = new Fanout(1_000_000)
        const topic = new Topic('all')
        const clients = Array.from({ length: 3 }, () => {
          const written: Buffer[] = []
          const write = (chunk: Buffer, _: unknown, done: () => void) => {
            written.push(Buffer.from(chunk))
            done()
          }
          const socket = new Writable({ write })
          const outbox = new Outbox<Topic>(plainWire, limits, createCounters(), owner)
          outbox.open({ socket } as unknown as Transport)
          fanout.join(topic, outbox)
          return { outbox, written, expected: [] as Buffer[] }
        })
        for (const [i, one] of steps.entries()) {
          if (one.do === 'flush') {
            fanout.flush()
            continue
          }
          // Not all ASCII.
          const text = `${i} ${i % 3 === 0 ? 'ü' : 'x'}`.padEnd(one.size, `${i}`)
          if (one.do === 'send') {
            fanout.sendPayload(clients[one.to]!.outbox, text)
            clients[one.to]!.expected.push(frame(text))
          } else {
            fanout.broadcast(topic, text, clients[one.except]?.outbox)
            for (const [j, client] of clients.entries()) if (j !== one.except) client.expected.push(frame(text))
          }
        }
        fanout.flush()
        for (const { written, expected } of clients)
          assert.ok(Buffer.concat(written).equals(Buffer.concat(expected)), 'the frames in the order of the sends')
      }),
      { numRuns: 500 },
    )
  })

  it('delivers to each client exactly its messages in the order sent, with all kinds of sends mixed', async () => {
    const CLIENTS = 4
    await fc.assert(
      fc.asyncProperty(fc.array(command(CLIENTS), { minLength: 1, maxLength: 80 }), async commands => {
        const server = await testServer([{ open: () => {} }])
        const peers = await Promise.all(Array.from({ length: CLIENTS }, () => server.connect()))
        for (const [i, { client }] of peers.entries()) client.codec = codecs[i % 3]!
        const expected: string[][] = peers.map(() => [])
        const numbers = peers.map(() => 0)
        const deliver = (i: number, text: string) => {
          const { codec } = peers[i]!.client
          expected[i]!.push(codec === numbered ? `${numbers[i]!++}:${text}` : text + (codec === loud ? '!' : '.'))
        }
        for (const [n, command] of commands.entries()) {
          if (command.do === 'broadcast') {
            const except = command.except === null ? undefined : peers[command.except]!.client
            const topic = command.topic ?? undefined
            server.server.broadcast(`${n}`, { ...(topic && { topic }), ...(except && { except }) })
            for (const [i, { client }] of peers.entries()) {
              if (client !== except && (topic === undefined || client.topics.has(topic))) deliver(i, `${n}`)
            }
          } else if (command.do === 'send') {
            peers[command.to]!.client.send(`${n}`)
            deliver(command.to, `${n}`)
          } else if (command.do === 'flush') server.flush()
          else if (command.do === 'codec') peers[command.who]!.client.codec = codecs[command.which]!
          else peers[command.who]!.client[command.do](command.topic)
        }
        server.flush()
        assert.deepEqual(
          peers.map(peer => peer.received.map(shown)),
          expected,
        )
        await server.stop()
      }),
      { numRuns: 300 },
    )
  })

  it('keeps the audience of a broadcast when the clients of a wire leave and rejoin a topic within a turn', async () => {
    const server = await testServer([{ open: () => {} }])
    const [ann, bob] = [await server.connect(), await server.connect()]
    ann.client.codec = loud
    for (const { client } of [ann, bob]) client.join('t')
    const say = (text: string, except?: Client) =>
      server.server.broadcast(text, { topic: 't', ...(except && { except }) })
    say('1')
    ann.client.leave('t')
    say('2')
    ann.client.join('t')
    say('3')
    say('not for ann', ann.client)
    say('5')
    server.flush()
    assert.deepEqual(
      [ann.received, bob.received],
      [
        ['1!', '3!', '5!'],
        ['1', '2', '3', 'not for ann', '5'],
      ],
    )
    await server.stop()
  })

  it('encodes a broadcast once per codec in its audience, not once per client', async () => {
    const server = await testServer([{ open: () => {} }])
    const peers = await Promise.all(Array.from({ length: 10 }, () => server.connect()))
    let encoded = 0
    const counting = {
      name: 'counting',
      encode: (payload: Payload) => {
        encoded++
        return payload
      },
    }
    for (const { client } of peers) client.codec = counting
    server.server.broadcast('x')
    server.flush()
    assert.equal(encoded, 1)
    assert.deepEqual(
      peers.map(peer => peer.received),
      Array(10).fill(['x']),
    )
    await server.stop()
  })

  it('skips clients whose codec returns undefined', async () => {
    const server = await testServer([{ open: () => {} }])
    const [one, two] = [await server.connect(), await server.connect()]
    one.client.codec = { name: 'binary only', encode: payload => (typeof payload === 'string' ? undefined : payload) }
    server.server.broadcast('text')
    server.server.broadcast(Buffer.from('bytes'))
    server.flush()
    assert.deepEqual(one.received, [Buffer.from('bytes')])
    assert.deepEqual(two.received, ['text', Buffer.from('bytes')])
    await server.stop()
  })

  it('contains a codec that throws: its clients are skipped, and the error is counted', async () => {
    const server = await testServer([{ open: () => {} }])
    const [one, two] = [await server.connect(), await server.connect()]
    one.client.codec = {
      name: 'broken',
      encode: () => {
        throw new Error('no')
      },
    }
    server.server.broadcast('x')
    server.flush()
    assert.deepEqual([one.received, two.received], [[], ['x']])
    assert.equal(server.server.counters.errors, 1)
    await server.stop()
  })

  it('where selects the clients for which it returns true, and keeps the order', async () => {
    const server = await testServer([{ open: () => {} }])
    const peers = await Promise.all(Array.from({ length: 3 }, () => server.connect()))
    const second = peers[1]!.client
    server.server.broadcast('all 1')
    server.server.broadcast('some', { where: (client: Client) => client !== second })
    server.server.broadcast('all 2')
    server.flush()
    assert.deepEqual(
      peers.map(peer => peer.received),
      [
        ['all 1', 'some', 'all 2'],
        ['all 1', 'all 2'],
        ['all 1', 'some', 'all 2'],
      ],
    )
    await server.stop()
  })
})
