import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { pino } from 'pino'
import { nodeBytes, readEnvelope, writeEnvelope } from '../../src/cluster/envelope.ts'
import { Fabric } from '../../src/cluster/fabric.ts'
import type { Order } from '../../src/cluster/order.ts'
import type { Counters } from '../../src/contract/metrics.ts'
import type { Payload } from '../../src/contract/payload.ts'
import type { Carrier } from '../../src/contract/storage.ts'
import { createCounters } from '../../src/fanout/counters.ts'
import { until } from '../support/peer.ts'

const ANN = '00000000-0000-4000-8000-000000000001'
const BOB = '00000000-0000-4000-8000-000000000002'
const ann = nodeBytes(ANN)
const asLatin1 = ann.toString('latin1')

describe('envelope', () => {
  it('carries text and binary, in order', () => {
    const payloads = ['', 'ünï', Buffer.from([0, 255]), Buffer.alloc(0), 'x'.repeat(70_000)]
    assert.deepEqual(readEnvelope(writeEnvelope(ann, { first: 2 ** 40, restarted: true, messages: payloads })), {
      node: asLatin1,
      first: 2 ** 40,
      restarted: true,
      messages: payloads,
    })
  })
  it('carries orders, and refuses invalid ones', () => {
    const order = { target: { sub: 'ann' }, code: 4403, reason: 'ünwanted' }
    const leave = { target: { id: 'a', sub: 'ann' }, leave: 'chat/1' }
    const messages = ['before', order, leave]
    const envelope = writeEnvelope(ann, { first: 1, restarted: false, messages })
    assert.deepEqual(readEnvelope(envelope), { node: asLatin1, first: 1, restarted: false, messages })
    for (const wrong of [
      { ...order, code: 1006 },
      { ...leave, leave: 7 as unknown as string },
      { ...order, target: { sub: 'ann', topic: 'a' } },
      { ...order, target: {} as never },
    ]) {
      assert.equal(
        readEnvelope(writeEnvelope(ann, { first: 1, restarted: false, messages: [wrong] })),
        'envelope with a message of kind 2 that cannot be read',
      )
    }
  })
  it('carries text and binary in a format', () => {
    const messages = [
      { payload: 'ünï', format: 'points' },
      { payload: Buffer.from([0, 255]), format: 'x'.repeat(64) },
      { payload: '', format: 'p' },
    ]
    const envelope = writeEnvelope(ann, { first: 1, restarted: false, messages })
    assert.deepEqual(readEnvelope(envelope), { node: asLatin1, first: 1, restarted: false, messages })
    // The length of the format is beyond the end.
    const cut = writeEnvelope(ann, { first: 1, restarted: false, messages: [{ payload: 'x', format: 'points' }] })
    cut[24 + 5] = 200
    assert.equal(readEnvelope(cut), 'envelope with a message of kind 3 that cannot be read')
  })
  it('of another version is refused with both versions', () => {
    const envelope = writeEnvelope(ann, { first: 0, restarted: false, messages: ['x'] })
    envelope[0] = 2
    assert.equal(readEnvelope(envelope), 'envelope of version 2, this node reads 1; are all nodes of one release?')
    assert.match(String(readEnvelope(Buffer.alloc(0))), /version none/)
  })
  it('cut anywhere is refused or ends between two messages', () => {
    const whole = writeEnvelope(ann, { first: 0, restarted: false, messages: ['one', Buffer.from('two')] })
    const uncut = [24, 24 + 5 + 3]
    for (let end = 1; end < whole.length; end++) {
      const read = readEnvelope(whole.subarray(0, end))
      assert.equal(typeof read === 'string', !uncut.includes(end), `at ${end}: ${JSON.stringify(read)}`)
    }
  })
})

interface Node {
  /** Hands over an envelope as the carrier does. */
  deliver(channel: string, bytes: Buffer): void
  readonly fabric: Fabric
  readonly counters: Counters
  readonly got: [string | undefined, Payload][]
  readonly disconnects: Order[]
  /** Messages and orders in the order of arrival. */
  readonly seen: (Payload | Order)[]
  readonly logged: Record<string, unknown>[]
  readonly listening: Set<string>
}

/** Nodes with the carrier `wire`: delivers each envelope to all nodes, including the sender, like Redis. */
class Wire {
  readonly nodes: Node[] = []
  readonly sent: [string, Buffer][] = []
  isUp = true
  /** Returns the envelopes that arrive instead of a sent one. */
  arrives = (bytes: Buffer): Buffer[] => [bytes]

  node(instance: string): Node {
    const listening = new Set<string>()
    const node = {
      counters: createCounters(),
      got: [] as [string | undefined, Payload][],
      disconnects: [] as Order[],
      seen: [] as (Payload | Order)[],
      logged: [] as Record<string, unknown>[],
      listening,
      deliver: (_: string, __: Buffer) => {},
    }
    const carrier: Carrier = {
      start: deliver => {
        node.deliver = deliver
      },
      send: (channel, bytes) => {
        this.sent.push([channel, bytes])
        if (!this.isUp) return false
        for (const arrived of this.arrives(bytes)) {
          for (const other of this.nodes) if (other.listening.has(channel)) other.deliver(channel, arrived)
        }
        return true
      },
      listen: channel => void listening.add(channel),
      ignore: channel => void listening.delete(channel),
    }
    const fabric = new Fabric({
      carrier,
      instance,
      counters: node.counters,
      log: pino({ base: null }, { write: line => void node.logged.push(JSON.parse(line)) }),
      maxBytes: 1000,
      deliver: (topic, payload) => {
        node.got.push([topic, payload])
        node.seen.push(payload)
      },
      execute: order => {
        node.disconnects.push(order)
        node.seen.push(order)
      },
    })
    const made = Object.assign(node, { fabric })
    this.nodes.push(made)
    fabric.start()
    this.sent.length = 0
    return made
  }
}

function two() {
  const wire = new Wire()
  return { wire, a: wire.node(ANN), b: wire.node(BOB) }
}

describe('fabric', () => {
  it('keeps an order between earlier and later broadcasts', () => {
    const { a, b } = two()
    b.fabric.listen('room')
    const order = { target: { sub: 'ann' }, code: 1000, reason: '' }
    a.fabric.add(undefined, 'to all')
    a.fabric.add('room', 'last words')
    a.fabric.order(order)
    a.fabric.add('room', 'later')
    a.fabric.flush()
    assert.deepEqual(b.seen, ['to all', 'last words', order, 'later'])
  })
  it('refuses a message of an unknown kind', () => {
    const envelope = writeEnvelope(ann, { first: 0, restarted: false, messages: ['x'] })
    envelope[24] = 9
    assert.equal(readEnvelope(envelope), 'envelope with a message of kind 9 that cannot be read')
  })
  it('sends an order to all other nodes', () => {
    const { a, b } = two()
    const ofTopic = { target: { topic: 'room' }, code: 1000, reason: '' }
    const ofClient = { target: { id: 'x' }, code: 4000, reason: 'why' }
    a.fabric.order(ofTopic)
    a.fabric.order(ofClient)
    a.fabric.flush()
    assert.deepEqual(b.disconnects, [ofTopic, ofClient])
  })
  it('sends a broadcast to all other nodes and not back', () => {
    const { wire, a, b } = two()
    const c = wire.node('00000000-0000-4000-8000-000000000003')
    a.fabric.add(undefined, 'hello')
    a.fabric.flush()
    assert.deepEqual([a.got, b.got, c.got], [[], [[undefined, 'hello']], [[undefined, 'hello']]])
    assert.deepEqual([a.counters.nodesOut, b.counters.nodesIn], [1, 1])
  })
  it('the broadcasts of one turn to a topic share an envelope, sent at the end of the turn', async () => {
    const { wire, a, b } = two()
    b.fabric.listen('x')
    for (let i = 0; i < 5; i++) a.fabric.add('x', `${i}`)
    a.fabric.add(undefined, 'all')
    assert.equal(wire.sent.length, 0)
    await new Promise(setImmediate)
    assert.deepEqual(
      wire.sent.map(([channel]) => channel),
      ['topic:x', 'all'],
    )
    assert.deepEqual(
      b.got.map(([, payload]) => payload),
      ['0', '1', '2', '3', '4', 'all'],
    )
  })
  it('a turn with many messages flushes early', () => {
    const { wire, a } = two()
    for (let i = 0; i < 3; i++) a.fabric.add(undefined, 'x'.repeat(600))
    assert.equal(wire.sent.length, 1)
    for (let i = 0; i < 1100; i++) a.fabric.add(undefined, '')
    assert.equal(wire.sent.length, 2)
  })
  it('copies a Buffer when it is sent', () => {
    const { a, b } = two()
    const bytes = Buffer.from('first')
    a.fabric.add(undefined, bytes)
    bytes.fill(0)
    a.fabric.flush()
    assert.deepEqual(b.got, [[undefined, Buffer.from('first')]])
  })
  it('a topic is subscribed from the first member to the last', () => {
    const { a, b } = two()
    const say = (text: string) => {
      a.fabric.add('x', text)
      a.fabric.flush()
    }
    say('before')
    b.fabric.listen('x')
    say('during')
    b.fabric.ignore('x')
    say('after')
    assert.deepEqual(b.got, [['x', 'during']])
    assert.deepEqual([...b.listening], ['all'])
  })
  it('a topic named all is not the channel to all clients', () => {
    const { a, b } = two()
    for (const topic of ['all', '', 'topic:all']) a.fabric.add(topic, 'not for everyone')
    a.fabric.flush()
    assert.deepEqual(b.got, [])
  })
  it('a loss is detected as a gap, counted per message, and logged once', async t => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const { wire, a, b } = two()
    const say = (count: number) => {
      for (let i = 0; i < count; i++) a.fabric.add(undefined, `${i}`)
      a.fabric.flush()
    }
    say(1)
    wire.arrives = () => []
    say(2)
    wire.isUp = false
    say(3)
    wire.isUp = true
    wire.arrives = bytes => [bytes]
    say(1)
    assert.equal(a.counters.nodesUnsent, 3)
    assert.equal(b.counters.nodesLost, 5)
    assert.equal(b.counters.nodesIn, 2)
    assert.deepEqual(b.logged, [])
    t.mock.timers.tick(1000)
    assert.deepEqual(
      b.logged.map(({ msg, lost }) => [msg, lost]),
      [['messages of other nodes were lost', 5]],
    )
  })
  it('of more than 1,000 nodes it forgets the one that was silent longest', () => {
    const { b } = two()
    const uuid = (n: number) => `00000000-0000-4000-9000-${`${n}`.padStart(12, '0')}`
    const send = (n: number, first: number) =>
      b.deliver('all', writeEnvelope(nodeBytes(uuid(n)), { first, restarted: false, messages: ['x'] }))
    for (let n = 0; n < 1000; n++) send(n, 0)
    send(0, 1)
    send(1000, 0)
    assert.equal(b.counters.nodesLost, 0)
    send(0, 4)
    assert.equal(b.counters.nodesLost, 2)
    // Forgotten: a gap of this node is not seen.
    send(1, 9)
    assert.equal(b.counters.nodesLost, 2)
  })
  it('a node that joins late does not count a loss', () => {
    const { a, b } = two()
    a.fabric.add('x', 'before')
    a.fabric.flush()
    b.fabric.listen('x')
    a.fabric.add('x', 'after')
    a.fabric.flush()
    assert.equal(b.counters.nodesLost, 0)
  })
  it('duplicate and late messages are not delivered', () => {
    const { wire, a, b } = two()
    const seen: Buffer[] = []
    wire.arrives = bytes => {
      seen.push(bytes)
      return seen.length === 3 ? [seen[2]!, seen[1]!, seen[2]!] : seen.length === 2 ? [] : [bytes]
    }
    for (const text of ['1', '2', '3']) {
      a.fabric.add(undefined, text)
      a.fabric.flush()
    }
    assert.deepEqual(
      b.got.map(([, payload]) => payload),
      ['1', '3'],
    )
    assert.equal(b.counters.nodesLost, 1)
  })
  it('a loss is detected without a later message, also from an unknown node', t => {
    t.mock.timers.enable({ apis: ['setInterval'] })
    const { wire, a, b } = two()
    const c = wire.node('00000000-0000-4000-8000-000000000003')
    const lose = (count: number) => {
      wire.arrives = () => []
      for (let i = 0; i < count; i++) b.fabric.add(undefined, `${i}`)
      b.fabric.flush()
      wire.arrives = bytes => [bytes]
    }
    lose(3)
    t.mock.timers.tick(1999)
    assert.deepEqual([a.counters.nodesLost, c.counters.nodesLost], [0, 0])
    t.mock.timers.tick(1)
    // a was up when b started; c started later and does not know earlier numbers.
    assert.deepEqual([a.counters.nodesLost, c.counters.nodesLost], [3, 0])
    lose(1)
    t.mock.timers.tick(2000)
    assert.deepEqual([a.counters.nodesLost, c.counters.nodesLost], [4, 1])
    const { length } = wire.sent
    for (const { fabric } of [a, b, c]) fabric.stop()
    t.mock.timers.tick(10_000)
    assert.equal(wire.sent.length, length)
  })
  it('an evicted topic restarts its numbers: no loss is counted, and late messages are not delivered', () => {
    const { wire, a, b } = two()
    b.fabric.listen('x')
    const say = (topic: string, text: string) => {
      a.fabric.add(topic, text)
      a.fabric.flush()
    }
    for (const text of ['1', '2', '3']) say('x', text)
    const [, late] = wire.sent
    for (let i = 0; i < 10_001; i++) say(`topic ${i}`, 'x')
    say('x', '4')
    wire.arrives = bytes => [late![1], bytes]
    say('x', '5')
    assert.deepEqual(
      b.got.map(([, payload]) => payload),
      ['1', '2', '3', '4', '5'],
    )
    assert.equal(b.counters.nodesLost, 0)
  })
  it('invalid envelopes are counted, and logged once per reason', async () => {
    const { wire, a, b } = two()
    wire.arrives = bytes => {
      bytes[0] = 9
      return [bytes, Buffer.from([1]), Buffer.alloc(0)]
    }
    for (let i = 0; i < 10; i++) {
      a.fabric.add(undefined, 'x')
      a.fabric.flush()
    }
    await until(() => b.logged.length > 0)
    assert.equal(b.counters.nodesRefused, 30)
    assert.equal(b.logged.length, 3)
    assert.match(String(b.logged[0]!.msg), /^message of another node refused: envelope of version 9, this node reads 1/)
    assert.deepEqual(b.got, [])
  })
})
