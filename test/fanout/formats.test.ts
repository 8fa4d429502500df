import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Client, Server } from '../../src/contract/client.ts'
import type { Codec } from '../../src/contract/codec.ts'
import type { Payload } from '../../src/contract/payload.ts'
import type { Transport } from '../../src/contract/transport.ts'
import { createCounters } from '../../src/fanout/counters.ts'
import { Outbox } from '../../src/fanout/outbox.ts'
import type { Wire } from '../../src/fanout/wire.ts'
import { testServer } from '../../src/testing/index.ts'
import { Peer, serve } from '../support/peer.ts'

/** Reads the format `points`: `1 2` is shown as `(1|2)`. */
const points: Codec = {
  name: 'points',
  formats: ['points'],
  encode: (payload, format) => (format === 'points' ? `(${String(payload).replace(' ', '|')})` : payload),
}
const numbered: Codec = { name: 'numbered', numbered: true, encode: payload => Buffer.from(payload) }

const numberOf = (message: Payload) => Number((message as Buffer).readBigUInt64BE())
const restOf = (message: Payload) => String((message as Buffer).subarray(8))

/** A filter whose clients all have a codec. */
const speaking = (codec: Codec) => ({
  open: (client: Client) => {
    client.codec = codec
  },
})

/** The memory of the last piece of each write. */
function buffersWritten(server: Server): Set<ArrayBufferLike> {
  const written = new Set<ArrayBufferLike>()
  for (const client of server.clients.values()) {
    const { outbox } = client as unknown as { outbox: Pick<Outbox, 'writeAll'> }
    const { writeAll } = outbox
    outbox.writeAll = (pieces, bytes, frames, largest) => {
      written.add(pieces.at(-1)!.buffer)
      writeAll.call(outbox, pieces, bytes, frames, largest)
    }
  }
  return written
}

describe('a format', () => {
  it('reaches only the clients whose codec reads it', async () => {
    const server = await testServer([{ open: () => {} }])
    const [knows, plain] = [await server.connect(), await server.connect()]
    knows.client.codec = points
    server.server.broadcast('1 2', { format: 'points' })
    server.server.broadcast('3 4', { format: 'lines' })
    server.server.broadcast('5 6')
    server.server.broadcast('7 8', { format: 'points', where: () => true })
    for (const { client } of [knows, plain]) {
      client.send('9 0', 'points')
      client.answer('1 1', 'points')
    }
    server.flush()
    assert.deepEqual(knows.received, ['(1|2)', '5 6', '(7|8)', '(9|0)', '(1|1)'])
    assert.deepEqual(plain.received, ['5 6'])
    await server.stop()
  })

  it('has 1 to 64 ASCII characters', async () => {
    const server = await testServer([{ open: () => {} }])
    const { client } = await server.connect()
    for (const format of ['', 'two words', 'ü', 'x'.repeat(65), 5 as unknown as string]) {
      const refused = { code: 'ERR_PAYLOAD', message: /^a format has 1 to 64 ASCII characters, without spaces/ }
      assert.throws(() => server.server.broadcast('x', { format }), refused)
      assert.throws(() => client.send('x', format), refused)
      assert.throws(() => client.answer('x', format), refused)
    }
    await server.stop()
  })
})

describe('a codec', () => {
  it('gets the topic of each message that was sent to one', async () => {
    const server = await testServer([{ open: client => client.join('room') }])
    const { client, received } = await server.connect()
    client.codec = { name: 'topics', encode: (payload, _, about) => `${about?.topic} ${about?.position} ${payload}` }
    client.server.broadcast('a', { topic: 'room' })
    client.server.broadcast('b', { topic: 'room', where: () => true })
    client.server.broadcast('c')
    client.send('d')
    server.flush()
    assert.deepEqual([...received].sort(), [
      'room undefined a',
      'room undefined b',
      'undefined undefined c',
      'undefined undefined d',
    ])
    await server.stop()
  })
})

describe('a codec that encodes a payload to several messages', () => {
  const several: Codec = {
    name: 'several',
    encode: payload => [
      'head',
      [Buffer.from('<'), new Uint8Array(Buffer.from(payload)), Buffer.from('>')],
      Buffer.alloc(0),
    ],
  }
  for (const compress of [false, true])
    it(`sends them in order, with any sizes${compress ? ', compressed' : ''}`, async t => {
      const filter = {
        open: (client: Client) => {
          client.codec = several
        },
        message: (payload: Payload, client: Client) => client.server.broadcast('x'.repeat(Number(payload))),
      }
      const { url } = await serve(t, { filters: [filter], compress })
      const peer = await Peer.open(url, { perMessageDeflate: compress })
      const sizes = [0, 123, 124, 65_533, 65_534, 70_000]
      for (const size of sizes) peer.send(`${size}`)
      assert.deepEqual(
        await peer.get(3 * sizes.length),
        sizes.flatMap(size => ['head', Buffer.from(`<${'x'.repeat(size)}>`), Buffer.alloc(0)]),
      )
    })
})

describe('a codec that returns parts', () => {
  const LARGE = 100_000
  /** Each byte of a large part is the number of its message. */
  const parted: Codec = {
    name: 'parted',
    encode: payload => [[Buffer.from(`${payload}:`), Buffer.alloc(LARGE, Number(payload)), Buffer.from('.')]],
  }
  const shown = (message: Payload) => {
    const [number] = String((message as Buffer).subarray(0, 9)).split(':')
    const body = (message as Buffer).subarray(number!.length + 1)
    assert.equal(body.compare(Buffer.concat([Buffer.alloc(LARGE, Number(number)), Buffer.from('.')])), 0)
    return Number(number)
  }

  it('keeps them in order with all other messages', async t => {
    const joining = { open: (client: Client) => client.join('t') }
    const server = await serve(t, { filters: [speaking(parted), joining], maxBuffered: 100 * LARGE })
    const peers = [await Peer.open(server.url), await Peer.open(server.url)]
    const [ann, bob] = [...server.clients.values()]
    const all = [0, 1, 2, 3, 4, 5, 6]
    server.broadcast('0')
    server.broadcast('1', { topic: 't' })
    ann!.send('2')
    bob!.send('2')
    server.broadcast('3', { except: ann! })
    ann!.send('3')
    server.broadcast('4', { where: () => true })
    server.broadcast('5')
    server.broadcast('6', { topic: 't' })
    for (const peer of peers) assert.deepEqual((await peer.get(all.length)).map(shown), all)
    server.broadcast('7')
    for (const peer of peers) assert.equal(shown((await peer.get(8))[7]!), 7)
  })

  for (const size of [5, LARGE]) {
    it(`of text sends one text message: ${size} bytes`, async t => {
      const body = Buffer.from('ü'.repeat(size))
      const texts: Codec = {
        name: 'texts',
        encode: payload => [
          'alone',
          { text: [Buffer.from(`{"${payload}":"`), body, Buffer.from('"}')] },
          Buffer.from('b'),
        ],
      }
      const server = await serve(t, { filters: [speaking(texts)] })
      const peer = await Peer.open(server.url)
      server.broadcast('x')
      assert.deepEqual(await peer.get(3), ['alone', `{"x":"${body}"}`, Buffer.from('b')])
    })
  }

  it('may have one message above --max-buffered in flight', async t => {
    const many: Codec = {
      name: 'many',
      encode: () => [[Buffer.alloc(10, 'h'), ...Array.from({ length: 100 }, () => Buffer.alloc(LARGE))]],
    }
    const server = await serve(t, { filters: [speaking(many)], maxBuffered: 2 * LARGE })
    const peer = await Peer.open(server.url)
    server.broadcast('any')
    assert.equal((await peer.get(1))[0]!.length, 10 + 100 * LARGE)
  })

  it('writes large parts without a copy', async t => {
    const part = Buffer.alloc(LARGE, 'x')
    const codec: Codec = { name: 'parts', encode: () => [[Buffer.from('<'), part, Buffer.from('>')]] }
    const server = await serve(t, { filters: [speaking(codec)] })
    const peers = await Promise.all(Array.from({ length: 3 }, () => Peer.open(server.url)))
    let handed = 0
    for (const client of server.clients.values()) {
      const { outbox } = client as unknown as { outbox: Pick<Outbox, 'writeAll'> }
      const { writeAll } = outbox
      outbox.writeAll = (pieces, bytes, frames, largest) => {
        if (pieces.includes(part)) handed++
        writeAll.call(outbox, pieces, bytes, frames, largest)
      }
    }
    server.broadcast('any')
    for (const peer of peers) assert.equal(String((await peer.get(1))[0]), `<${part}>`)
    assert.equal(handed, 3)
  })
})

describe('a numbered codec', () => {
  it('numbers the messages of each client from 0', async t => {
    const filter = {
      open: (client: Client) => {
        client.codec = numbered
      },
      message: (payload: Payload, client: Client) => {
        client.send('mine')
        client.server.broadcast(payload, { except: client })
        client.send('too')
      },
    }
    const { url } = await serve(t, { filters: [filter] })
    const peers = [await Peer.open(url), await Peer.open(url)]
    for (let i = 0; i < 3; i++) peers[0]!.send(`a${i}`)
    for (let i = 0; i < 2; i++) peers[1]!.send(`b${i}`)
    const [ann, bob] = [await peers[0]!.get(8), await peers[1]!.get(7)]
    assert.deepEqual(ann.map(numberOf), [0, 1, 2, 3, 4, 5, 6, 7])
    assert.deepEqual(bob.map(numberOf), [0, 1, 2, 3, 4, 5, 6])
    assert.deepEqual(ann.map(restOf).sort(), ['b0', 'b1', 'mine', 'mine', 'mine', 'too', 'too', 'too'])
  })

  it('numbers the messages of a client on hold in the order of delivery', async t => {
    const guard = {
      stage: 'guard',
      open: (client: Client) => {
        client.codec = numbered
        client.hold()
      },
      message: (payload: Payload, client: Client) => {
        if (payload === 'let me in') client.admit()
        return client.answer(`not ${payload}`)
      },
    } as const
    const { url } = await serve(t, { filters: [guard, { open: (client: Client) => client.send('welcome') }] })
    const peer = await Peer.open(url)
    peer.send('yet')
    peer.send('let me in')
    const messages = await peer.get(3)
    assert.deepEqual(
      messages.map(message => [numberOf(message), restOf(message)]),
      [
        [0, 'not yet'],
        [1, 'welcome'],
        [2, 'not let me in'],
      ],
    )
  })

  it('delivers sizes around each header length, also on compressed connections', async t => {
    const filter = {
      open: (client: Client) => {
        client.codec = numbered
      },
      message: (payload: Payload, client: Client) => {
        client.server.broadcast('x'.repeat(Number(payload)))
        client.send('y'.repeat(Number(payload)))
      },
    }
    const { url } = await serve(t, { filters: [filter], compress: true })
    const peer = await Peer.open(url, { perMessageDeflate: true })
    assert.match(peer.ws.extensions, /permessage-deflate/)
    const sizes = [0, 1, 117, 118, 119, 65_527, 65_528, 70_000]
    for (const size of sizes) peer.send(`${size}`)
    // An empty message is not sent.
    const messages = await peer.get(2 * (sizes.length - 1))
    assert.deepEqual(
      messages.map(message => [numberOf(message), restOf(message)]),
      sizes.slice(1).flatMap((size, i) => [
        [2 * i, 'x'.repeat(size)],
        [2 * i + 1, 'y'.repeat(size)],
      ]),
    )
  })

  it('shares the encoded bytes: a large broadcast to many clients takes the memory of one', async t => {
    const SIZE = 4 * 1024 * 1024
    const server = await serve(t, { filters: [speaking(numbered)], maxBuffered: 2 * SIZE })
    const peers = await Promise.all(Array.from({ length: 3 }, () => Peer.open(server.url)))
    const written = buffersWritten(server)
    server.broadcast(Buffer.alloc(SIZE))
    for (const peer of peers) assert.equal((await peer.get(1))[0]!.length, 8 + SIZE)
    assert.equal(written.size, 1)
  })

  it('shares the encoded bytes also in a broadcast with where', async t => {
    const SIZE = 4 * 1024 * 1024
    const server = await serve(t, { filters: [speaking(numbered)], maxBuffered: 2 * SIZE })
    const peers = await Promise.all(Array.from({ length: 3 }, () => Peer.open(server.url)))
    const written = buffersWritten(server)
    server.broadcast(Buffer.alloc(SIZE), { where: () => true })
    for (const peer of peers) await peer.get(1)
    assert.equal(written.size, 1)
  })

  it('writes the direct sends and broadcasts of a turn together', async () => {
    const server = await testServer([{ open: () => {} }])
    const peer = await server.connect()
    peer.client.codec = numbered
    const { outbox } = peer.client as unknown as { outbox: Pick<Outbox, 'writeAll'> }
    const { writeAll } = outbox
    let writes = 0
    outbox.writeAll = (pieces, bytes, frames, largest) => {
      writes++
      writeAll.call(outbox, pieces, bytes, frames, largest)
    }
    for (let i = 0; i < 10; i++) {
      server.server.broadcast('b')
      peer.client.send('d')
    }
    server.flush()
    assert.equal(writes, 1)
    assert.deepEqual(peer.received.map(numberOf), [...Array(20).keys()])
    await server.stop()
  })

  it('joins many small messages into few pieces', () => {
    const written: Buffer[] = []
    const socket = {
      writable: true,
      writableLength: 0,
      cork() {},
      uncork() {},
      write: (piece: Buffer) => written.push(piece),
    }
    const limits = { maxBuffered: 1_048_576, slowClients: 'close' as const }
    const owner = { fellBehind: assert.fail, transportFailed: assert.fail }
    const outbox = new Outbox(undefined as unknown as Wire, limits, createCounters(), owner)
    outbox.open({ socket } as unknown as Transport)
    const [small, large] = [Array.from({ length: 2000 }, (_, i) => Buffer.alloc(20, i)), Buffer.alloc(20_000)]
    const pieces = [...small, large, large, ...small]
    const all = Buffer.concat(pieces)
    outbox.writeAll(pieces, all.length, 4002)
    assert.deepEqual(Buffer.concat(written), all)
    assert.equal(written.length, 8)
    // The shared bytes do not change.
    assert.equal(written.filter(piece => piece === large).length, 2)
  })

  it('is reported if it encodes to a string, and does not send', async () => {
    const server = await testServer([{ open: () => {} }])
    const peer = await server.connect()
    peer.client.codec = { ...numbered, encode: () => 'text' }
    peer.client.send('x')
    server.flush()
    assert.deepEqual(peer.received, [])
    assert.match(JSON.stringify(server.logged), /codec numbered encodes to a Buffer or undefined, received string/)
    await server.stop()
  })
})
