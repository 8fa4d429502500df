// Replays all recorded frames between the official clients and wslink (Python). Tests name the differences, if any.
import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { ProtocolV2 } from '../../../filters/wslink/v2/protocol.ts'
import type { WslinkApi } from '../../../filters/wslink.ts'
import type { Peer } from '../../support/peer.ts'
import { exchange, opened, serveWslink, vectors } from '../../support/wslink.ts'

/** Replies are equal byte by byte. */
const SAME_IN_2 = [
  'v2/add',
  'v2/echo',
  'v2/missing',
  'v2/binary',
  'v2/sendnan',
  'v2/unserializable',
  'v2/none',
  'v2/bigint',
  'v2/publish',
  'v2/date',
  'v2/raw/hello-bad-secret-then-rpc',
  'v2/raw/hello-no-args',
  'v2/raw/hello-other-id',
  'v2/raw/unknown-system',
  'v2/raw/no-wslink-key',
  'v2/raw/args-not-list',
  'v2/raw/out-of-order-interleaved',
  'v2/handshake',
]
const SAME_IN_1 = [
  'handshake',
  'add',
  'echo',
  'missing',
  'binary',
  'binary2',
  'bare',
  'upload',
  'nan',
  'sendnan',
  'unserializable',
  'publish',
].map(name => `v1/${name}`)
/** Compared in parts by their tests. */
const ALIKE = ['v2/nan', 'v2/fail', 'v2/large', 'v2/chunked64', 'v1/fail']
/** Close code and reason of each. */
const WHY: Readonly<Record<string, readonly [code: number, reason: string]>> = {
  'v2/bad/preauth-513': [1009, 'a message has at most 512 bytes, announced 513'],
  'v2/bad/no-method': [1002, 'a message names its method, received undefined'],
  'v2/bad/numeric-id': [1002, 'the id of a message is a string, received number'],
  'v2/bad/short-frame': [1002, 'a chunk has at least 12 bytes, received 3'],
  'v2/bad/zero-total': [1002, 'a message has at least 1 byte, announced 0'],
  'v2/bad/bad-msgpack': [1007, 'msgpack with the invalid byte c1'],
  'v2/bad/total-mismatch': [1002, 'chunks of a message announce 100 and 101 bytes'],
  'v2/bad/offset-beyond': [1002, 'a chunk ends at byte 105 of 100'],
}

/** The procedures of the recorded server. */
function recordedServer(wslink: WslinkApi): void {
  const bytes = Buffer.from([0, 1, 2, 3])
  wslink.register('test.add', (a: number, b: number, { c = 0 } = {}) => a + b + c)
  wslink.register('test.echo', (...all) => {
    const last = all.at(-1)
    const kwargs = Object.prototype.toString.call(last) === '[object Object]' ? all.pop() : {}
    return { args: all, kwargs }
  })
  wslink.register('test.fail', () => {
    throw new Error('boom')
  })
  wslink.register('test.binary', () => ({ size: [2, 2], blob: bytes }))
  wslink.register('test.binary.two', () => [Buffer.from('AA'), { deep: { x: Buffer.from('BB') } }])
  wslink.register('test.binary.bare', () => wslink.attachment(Buffer.from('bare')))
  wslink.register('test.unserializable', () => () => {})
  wslink.register('test.none', () => {})
  wslink.register('test.bigint', () => 2n ** 53n + 2n)
  wslink.register('test.length', (first: Uint8Array, { z }: { z: Uint8Array }) => [
    'bytes',
    first.length,
    { z: ['bytes', z.length] },
  ])
  wslink.register('test.large', () => Buffer.alloc(9_000_000))
}

/** Differences between the two recordings. */
const second = (wslink: WslinkApi) => {
  recordedServer(wslink)
  wslink.register('test.nan', () => [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, null, -0])
  wslink.register('test.publish', () => {
    wslink.publish('test.topic', { tick: 1 })
    return true
  })
}
const first = (wslink: WslinkApi) => {
  recordedServer(wslink)
  wslink.register('test.nan', () => [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, null])
  wslink.register('test.publish', () => {
    wslink.publish('test.topic', { tick: 1, img: Buffer.from([1, 2]) })
    return true
  })
}

/** Sends the client's frames, each after the server has sent its earlier ones. */
async function replay(peer: Peer, name: string): Promise<readonly (string | Buffer)[]> {
  const before = peer.received.length
  let expected = before
  for (const { isFromClient, payload } of exchange(name)) {
    if (isFromClient) {
      await peer.get(expected)
      peer.send(payload)
    } else expected++
  }
  return (await peer.get(expected)).slice(before)
}

const said = (name: string) => exchange(name).filter(vector => !vector.isFromClient)
/** Chunk ids are random. */
const withoutId = (frame: string | Buffer) => (frame as Buffer).subarray(4)
/** Client ids are random too, and of the same length. */
const withoutClient = (frame: string | Buffer) =>
  Buffer.from(
    withoutId(frame)
      .toString('latin1')
      .replace(/c[0-9a-f]{32}(?=\xaa)/, 'c'),
    'latin1',
  )

describe('recorded from 2.x', () => {
  async function talk(t: TestContext, name: string) {
    const { enter, open } = await serveWslink(t, second)
    const peer = /^v2\/(raw\/|handshake)/.test(name) ? await open() : (await enter()).peer
    return replay(peer, name)
  }

  for (const name of SAME_IN_2)
    it(`${name} gets equal replies`, async t => {
      const frames = await talk(t, name)
      assert.deepEqual(
        frames.map(withoutClient),
        said(name).map(({ payload }) => withoutClient(payload)),
      )
    })

  it('v2/nan gets the same reply except -0, which the encoder writes as integer 0', async t => {
    const [frame] = await talk(t, 'v2/nan')
    const body = (bytes: string | Buffer) => (bytes as Buffer).toString('hex', 12)
    assert.equal(body(frame!), body(said('v2/nan')[0]!.payload).replace(/cb8000000000000000$/, '00'))
  })
  it('v2/fail gets the same code, message and method; exception and trace are of Python', async t => {
    const [answer] = opened(await talk(t, 'v2/fail'))
    const [recorded] = opened(said('v2/fail').map(({ payload }) => payload))
    const { exception, trace: _, ...rest } = recorded.error.data
    assert.equal(exception, "ValueError('boom')")
    assert.deepEqual(answer, { ...recorded, error: { ...recorded.error, data: { ...rest, exception: 'boom' } } })
  })
  it('v2/large is split into the same chunks', async t => {
    const { enter } = await serveWslink(t, second)
    const client = await enter()
    const recorded = vectors.filter(({ name }) => name.startsWith('v2/large/')).map(({ payload }) => payload as Buffer)
    // The id is part of the length; the call was not recorded.
    const [id] = /rpc:\w+:\d+/.exec(recorded[0]!.toString('latin1'))!
    client.send({ wslink: '1.0', id, method: 'test.large', args: [], kwargs: {} })
    const frames = (await client.peer.get(4)).slice(1) as Buffer[]
    assert.deepEqual(
      frames.map(({ length }) => length),
      [4_194_304, 4_194_304, 9_000_069 - 2 * 4_194_292 + 12],
    )
    for (const [i, frame] of frames.entries())
      assert.deepEqual(withoutId(frame.subarray(0, recorded[i]!.length)), withoutId(recorded[i]!))
  })
  it('v2/chunked64 is assembled and split in the same way, without a server: its frame limit cannot be 64', () => {
    const generation = new ProtocolV2(64)
    const reader = generation.reader(8192)
    const complete: { id: string; args: unknown[] }[] = []
    for (const { payload } of exchange('v2/chunked64').filter(({ isFromClient }) => isFromClient)) {
      const message = reader.read(payload, 0)
      if (message !== undefined) complete.push(message as (typeof complete)[0])
    }
    assert.deepEqual(
      complete.map(({ args }) => args),
      [[{ secret: 's3cret' }], ['abcdefghijklmnopqrstuvwxyz0123456789']],
    )
    const frames = said('v2/chunked64').map(({ payload }) => payload as Buffer)
    for (const recorded of [frames.slice(0, 2), frames.slice(2)]) {
      const [envelope] = opened(recorded)
      const written = generation.write(envelope) as readonly (readonly Uint8Array[])[]
      assert.deepEqual(
        written.map(parts => withoutId(Buffer.concat(parts))),
        recorded.map(withoutId),
      )
    }
  })

  for (const [name, [code, reason]] of Object.entries(WHY))
    it(`${name} closes the connection with a reason`, async t => {
      const { enter, open } = await serveWslink(t, second, { wslinkMaxHello: 512 })
      const peer = name === 'v2/bad/preauth-513' ? await open() : (await enter()).peer
      for (const { payload } of exchange(name)) peer.send(payload)
      assert.deepEqual(await peer.end(), { code, reason })
    })
})

describe('recorded from 1.x', () => {
  it('gets equal replies, with attachments in place', async t => {
    const { open } = await serveWslink(t, first)
    const peer = await open()
    for (const name of SAME_IN_1) {
      const frames = await replay(peer, name)
      const plain = (frame: string | Buffer) =>
        typeof frame === 'string' ? frame.replace(/"clientID": "c[0-9a-f]{32}"/, '') : frame
      assert.deepEqual(
        frames.map(plain),
        said(name).map(({ payload }) => plain(payload)),
        name,
      )
    }
  })
  it('v1/fail gets the same reply except exception and trace', async t => {
    const { open } = await serveWslink(t, first)
    const peer = await open()
    await replay(peer, 'v1/handshake')
    const [answer] = await replay(peer, 'v1/fail')
    const recorded = String(said('v1/fail')[0]!.payload)
    assert.equal(answer, recorded.replace(/"exception": .*$/, '"exception": "boom"}}}'))
  })
})

it('all recordings are tested', () => {
  const names = new Set(vectors.map(({ name }) => name.slice(0, name.lastIndexOf('/'))))
  assert.deepEqual([...SAME_IN_2, ...SAME_IN_1, ...ALIKE, ...Object.keys(WHY)].sort(), [...names].sort())
  assert.equal(vectors.length, 117)
})
