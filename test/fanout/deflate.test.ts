import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, it } from 'node:test'
import { constants, deflateRawSync, inflateRawSync } from 'node:zlib'
import type { RunningServer } from '../../src/index.ts'
import { Peer, raw, serve, until } from '../support/peer.ts'

const json = (size: number) =>
  JSON.stringify(Array.from({ length: size / 32 }, (_, i) => ({ id: i, name: `client ${i}` })))
const LONG = json(4096)

/** A raw client that offers these parameters; returns the response and the frames. */
async function offer(server: RunningServer, extensions: string) {
  const lines = [
    'GET / HTTP/1.1',
    `Host: ${new URL(server.url).host}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    ...(extensions === '' ? [] : [`Sec-WebSocket-Extensions: ${extensions}`]),
  ]
  const clients = server.clients.size
  const { socket } = await raw(server.url, `${lines.join('\r\n')}\r\n\r\n`)
  let bytes = Buffer.alloc(0)
  socket.on('data', chunk => {
    bytes = Buffer.concat([bytes, chunk as Buffer])
  })
  await until(() => server.clients.size > clients && bytes.includes('\r\n\r\n'))
  const head = bytes.subarray(0, bytes.indexOf('\r\n\r\n')).toString('latin1')
  return {
    answered: /^Sec-WebSocket-Extensions: (.*)$/m.exec(head)?.[1]?.trim(),
    async frame(): Promise<{ first: number; body: Buffer; bytes: Buffer }> {
      const from = head.length + 4
      await until(() => bytes.length >= from + 4)
      const frame = bytes.subarray(from)
      const small = frame[1]!
      const [start, length] = small < 126 ? [2, small] : [4, frame.readUInt16BE(2)]
      await until(() => bytes.length >= from + start + length)
      const whole = bytes.subarray(from, from + start + length)
      return { first: whole[0]!, body: whole.subarray(start), bytes: whole }
    },
  }
}

const inflate = (body: Buffer, windowBits: number) =>
  inflateRawSync(Buffer.concat([body, Buffer.from([0, 0, 0xff, 0xff])]), {
    windowBits,
    finishFlush: constants.Z_SYNC_FLUSH,
  }).toString()

describe('--compress', () => {
  it('is off by default, also for clients that offer it', async t => {
    const server = await serve(t)
    const { answered } = await offer(server, 'permessage-deflate')
    assert.equal(answered, undefined)
  })
  it('all clients read all messages, with any negotiated parameters', async t => {
    const server = await serve(t, { compress: true })
    const peers = await Promise.all(
      [
        { perMessageDeflate: false },
        { perMessageDeflate: true },
        { perMessageDeflate: { serverNoContextTakeover: true, clientNoContextTakeover: true } },
        ...[9, 10, 12, 15].map(serverMaxWindowBits => ({ perMessageDeflate: { serverMaxWindowBits } })),
      ].map(options => Peer.open(server.url, options)),
    )
    const sent = [LONG, 'short', Buffer.from(LONG), json(300_000), '', randomBytes(5000), 'ünï'.repeat(1000)]
    const ann = await Peer.open(server.url, { perMessageDeflate: true })
    for (const payload of sent) ann.send(payload)
    for (const peer of peers) assert.deepEqual(await peer.get(sent.length), sent)
  })
  for (const bits of [9, 10, 11, 12, 13, 14, 15]) {
    it(`a client with a window of 2^${bits} gets frames that fit its window`, async t => {
      const server = await serve(t, { compress: true })
      const { answered, frame } = await offer(server, `permessage-deflate; server_max_window_bits=${bits}`)
      assert.match(answered!, new RegExp(`server_max_window_bits=${bits}`))
      assert.match(answered!, /server_no_context_takeover/)
      const far = `${'0123456789abcdef'.repeat(16)}${'x'.repeat(20_000)}${'0123456789abcdef'.repeat(16)}`
      server.broadcast(far)
      const { first, body } = await frame()
      assert.equal(first, 0xc1)
      assert.equal(inflate(body, bits), far)
    })
  }
  it('a client with a window of 8 bits gets uncompressed messages', async t => {
    const server = await serve(t, { compress: true })
    const { frame } = await offer(server, 'permessage-deflate; server_max_window_bits=8')
    server.broadcast(LONG)
    const { first, body } = await frame()
    assert.deepEqual([first, body.toString()], [0x81, LONG])
  })
  it('clients with the same window share the bytes, and messages are compressed separately', async t => {
    const server = await serve(t, { compress: true })
    const [ann, bob] = [
      await offer(server, 'permessage-deflate'),
      await offer(server, 'permessage-deflate; client_max_window_bits'),
    ]
    server.broadcast(LONG)
    const [one, two] = [await ann.frame(), await bob.frame()]
    assert.deepEqual(one.bytes, two.bytes)
    const alone = deflateRawSync(LONG, { finishFlush: constants.Z_SYNC_FLUSH })
    assert.deepEqual(one.body, alone.subarray(0, -4))
    assert.ok(one.body.length < LONG.length / 3)
  })
  it('messages below the threshold, or that do not shrink, are not compressed', async t => {
    const server = await serve(t, { compress: true, compressThreshold: 100 })
    for (const [payload, first] of [
      ['a'.repeat(99), 0x81],
      ['a'.repeat(100), 0xc1],
      [randomBytes(1000), 0x82],
      [Buffer.alloc(1000), 0xc2],
    ] as const) {
      const client = await offer(server, 'permessage-deflate')
      server.broadcast(payload)
      assert.equal((await client.frame()).first, first)
    }
  })
  it('messages sent in the connect chain, before the negotiation, are readable', async t => {
    const server = await serve(t, {
      compress: true,
      filters: [{ connect: client => client.send(LONG), open: client => client.send(`${LONG} again`) }],
    })
    const peer = await Peer.open(server.url, { perMessageDeflate: true })
    assert.deepEqual(await peer.get(2), [LONG, `${LONG} again`])
  })
  it('a message that decompresses to more than --max-payload closes 1009 in bounded memory', async t => {
    const server = await serve(t, { compress: true, maxPayload: 10_000 })
    const peer = await Peer.open(server.url, { perMessageDeflate: { threshold: 0 } })
    const before = process.memoryUsage().rss
    peer.send(Buffer.alloc(50_000_000))
    assert.equal((await peer.end()).code, 1009)
    assert.ok(process.memoryUsage().rss - before < 150_000_000)
  })
  it('clients with and without compression keep the order', async t => {
    const server = await serve(t, { compress: true, compressThreshold: 0 })
    const [plain, packed] = [
      await Peer.open(server.url, { perMessageDeflate: false }),
      await Peer.open(server.url, { perMessageDeflate: true }),
    ]
    const expected: string[] = []
    for (let i = 0; i < 200; i++) {
      const text = `${i} ${'x'.repeat(i * 10)}`
      expected.push(text)
      if (i % 3) server.broadcast(text)
      else for (const client of server.clients.values()) client.send(text)
    }
    assert.deepEqual(await plain.get(200), expected)
    assert.deepEqual(await packed.get(200), expected)
  })
})
