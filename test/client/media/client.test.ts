import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { describe, it, type TestContext } from 'node:test'
import { type WebSocket, WebSocketServer } from 'ws'
import { decode, encode } from '../../../client/media/kinds.ts'
import {
  connectMedia,
  imageType,
  levelOf,
  type MediaConnection,
  type MediaEvents,
  UploadError,
  type Uploaded,
} from '../../../client/media/node.ts'
import { readEnvelope, writeEnvelope, writeId } from '../../../protocols/nanollm/envelope.ts'
import { folder } from '../../support/cli.ts'
import { vector } from '../../support/media.ts'
import { serve, until } from '../../support/peer.ts'
import { freePort } from '../../support/port.ts'

const bytesOf = (hex: string) => Uint8Array.from(Buffer.from(hex, 'hex'))
const hexOf = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const bufferOf = (data: Buffer) => Uint8Array.from(data).buffer

function read(message: ArrayBuffer) {
  const { id, timestamp, ...rest } = readEnvelope(new Uint8Array(message))
  return { id: Number(id), timestamp: Number(timestamp), ...rest }
}

function write({ id, timestamp, ...rest }: Omit<ReturnType<typeof read>, 'payload'> & { payload: Uint8Array }) {
  const message = writeEnvelope({ ...rest, timestamp: BigInt(timestamp) })
  writeId(message, id)
  return message
}

/** A connection that is closed with its test, and its events. */
function follow(t: TestContext, url: string, options: Parameters<typeof connectMedia>[1] = {}) {
  const media = connectMedia(url, { firstDelay: 20, maxDelay: 50, ...options })
  t.after(() => media.close())
  const events: (readonly [keyof MediaEvents, unknown])[] = []
  for (const type of [
    'json',
    'text',
    'binary',
    'file',
    'audio',
    'image',
    'other',
    'alert',
    'missed',
    'unreadable',
  ] as const)
    media.on(type, event => events.push([type, event]))
  return { media, events }
}

const opened = (media: MediaConnection) => new Promise<void>(resolve => media.on('open', () => resolve()))

/** A server that records messages and sends those of the test. */
async function fake(t: TestContext, port = 0) {
  const server = new WebSocketServer({ port, host: '127.0.0.1' })
  await once(server, 'listening')
  const sockets: WebSocket[] = []
  const received: ReturnType<typeof read>[] = []
  server.on('connection', socket => {
    sockets.push(socket)
    socket.on('message', data => received.push(read(bufferOf(data as Buffer))))
  })
  const close = async () => {
    for (const socket of sockets) socket.terminate()
    server.close()
  }
  t.after(close)
  const listening = server.address() as AddressInfo
  let id = 0
  return {
    url: `ws://127.0.0.1:${listening.port}`,
    port: listening.port,
    received,
    sockets,
    close,
    send(type: number, payload: string | Uint8Array, { metadata = '', skip = 0 } = {}): void {
      id += skip
      const bytes = typeof payload === 'string' ? new TextEncoder().encode(payload) : payload
      sockets.at(-1)!.send(write({ id: id++, timestamp: 1_700_000_000_123, type, metadata, payload: bytes }))
    },
  }
}

describe('a sent payload', () => {
  it('has metadata of at most 8 bytes', () => {
    assert.throws(() => encode('file', new Uint8Array(1), { metadata: 'äbcdefgh' }), {
      name: 'TypeError',
      message: 'metadata has at most 8 bytes, received "äbcdefgh" (9)',
    })
  })

  it('of kind text is a JSON string, as from the browser client of NanoLLM', () => {
    assert.equal(hexOf(encode('text', 'hé', {}).payload), hexOf(vector('c2s/text').subarray(32)))
    assert.equal(new TextDecoder().decode(encode('text', '"quoted"', {}).payload), '"\\"quoted\\""')
    assert.equal(hexOf(encode('text', '', {}).payload), '2222')
  })

  it('of kind audio has little-endian samples, and metadata unless rate and channels are 48,000 and 1', () => {
    const samples = Int16Array.of(0, 1, -1, 32767)
    const hex = hexOf(vector('c2s/audio').subarray(32))
    assert.deepEqual(
      [
        encode('audio', samples, {}),
        encode('audio', samples, { rate: 16_000 }),
        encode('audio', samples, { channels: 2 }),
        encode('audio', samples, { rate: 192_000, channels: 2 }),
      ].map(({ payload, metadata }) => [hexOf(payload), metadata]),
      ['', '16000', '48000/2', '192000/2'].map(metadata => [hex, metadata]),
    )
  })

  for (const [kind, payload, message] of [
    ['json', undefined, 'json is a JSON value, received undefined'],
    ['text', 5, 'text is a string, received number'],
    ['audio', new Uint8Array(2), 'audio is an Int16Array'],
    ['image', 'bytes', 'image is an ArrayBuffer or a view of one'],
    [6, new Uint8Array(1), 'a kind is json, text, binary, file, audio, image or a number from 8 to 65535, received 6'],
    [
      'video',
      new Uint8Array(1),
      'a kind is json, text, binary, file, audio, image or a number from 8 to 65535, received video',
    ],
  ] as const)
    it(`of kind ${kind} is not of type ${typeof payload}`, () =>
      assert.throws(() => encode(kind as 'json', payload, {}), { name: 'TypeError', message }))
})

describe('a received payload', () => {
  it('of a custom type or with the largest timestamp is decoded', () => {
    for (const name of ['odd/unknown type 9', 'odd/timestamp 2**64-1 file']) {
      const { type, payload, metadata } = readEnvelope(Uint8Array.from(vector(name)))
      assert.deepEqual(decode(type, payload, metadata).payload, new TextEncoder().encode('abc'), name)
    }
  })

  it('of kind json is JSON', () => {
    const { type, payload, metadata } = readEnvelope(vector('odd/bad json'))
    assert.throws(() => decode(type, payload, metadata), { message: 'the payload is not JSON' })
  })

  it('of kind audio has rate, channels and whole samples', () => {
    const bytes = bytesOf('00000100ffffff7f')
    assert.deepEqual(decode(4, bytes, ''), {
      kind: 'audio',
      payload: Int16Array.of(0, 1, -1, 32767),
      rate: 48_000,
      channels: 1,
    })
    assert.throws(() => decode(4, bytes.subarray(2), '44100/2'), {
      message: 'audio of 2 channels has a multiple of 4 bytes, received 6',
    })
    assert.throws(() => decode(4, bytes, 'loud'), {
      message: 'metadata of audio is RATE or RATE/CHANNELS, received "loud"',
    })
  })

  it('of kind text keeps its byte order mark', () => {
    assert.equal(decode(1, bytesOf('efbbbf61'), '').payload, '\ufeffa')
  })
})

describe('an image', () => {
  for (const [hex, mime] of [
    ['89504e470d0a1a0a0000', 'image/png'],
    ['ffd8ffe000', 'image/jpeg'],
    ['474946383961', 'image/gif'],
    ['524946460000000057454250', 'image/webp'],
    ['524946460000000057415645', undefined],
    ['424d00', 'image/bmp'],
    ['49492a00', 'image/tiff'],
    ['4d4d002a', 'image/tiff'],
    ['3c73766720', undefined],
    ['', undefined],
  ] as const)
    it(`${hex || 'without bytes'} is ${mime ?? 'of no known type'}`, () => assert.equal(imageType(bytesOf(hex)), mime))
})

describe('levelOf', () => {
  it('is from 0 to 1', () => {
    assert.equal(levelOf(new Int16Array()), 0)
    assert.equal(levelOf(new Int16Array(8)), 0)
    assert.equal(levelOf(Int16Array.of(-16_384, 16_384)), 0.5)
    assert.equal(levelOf(Int16Array.of(-32_768)), 1)
  })
})

describe('a media connection', () => {
  it('sends every kind, numbered from 0, with the current time', async t => {
    const server = await fake(t)
    const { media } = follow(t, server.url)
    const before = Date.now()
    const png = bytesOf('89504e470d0a1a0a')
    for (const sent of [
      media.send('json', { a: [1] }),
      media.send('text', 'hé'),
      media.send('binary', png),
      media.send('file', png.buffer, { metadata: 'txt' }),
      media.send('audio', Int16Array.of(1, 2), { rate: 16_000 }),
      media.send('image', png.subarray(0, 3), { metadata: 'png' }),
      media.send(4242, png),
    ])
      assert.equal(sent, true)
    await until(() => server.received.length === 7)
    assert.deepEqual(
      server.received.map(({ id, type, metadata, payload }) => [id, type, metadata, hexOf(payload)]),
      [
        [0, 0, '', hexOf(new TextEncoder().encode('{"a":[1]}'))],
        [1, 1, '', '2268c3a922'],
        [2, 2, '', '89504e470d0a1a0a'],
        [3, 3, 'txt', '89504e470d0a1a0a'],
        [4, 4, '16000', '01000200'],
        [5, 5, 'png', '89504e'],
        [6, 4242, '', '89504e470d0a1a0a'],
      ],
    )
    assert.ok(server.received.every(({ timestamp }) => timestamp >= before && timestamp <= Date.now()))
  })

  it('numbers from 0 after a reconnect, with the messages that waited', async t => {
    const first = await fake(t, await freePort())
    const { media } = follow(t, first.url)
    media.send('text', 'a')
    media.send('text', 'b')
    await until(() => first.received.length === 2)
    const lost = new Promise<void>(resolve => media.on('close', () => resolve()))
    await first.close()
    await lost
    media.send('text', 'c')
    assert.equal(media.send('audio', new Int16Array(1), { queue: false }), false)
    assert.equal(media.queued, 1)
    const second = await fake(t, first.port)
    await opened(media)
    media.send('text', 'd')
    await until(() => second.received.length === 2)
    const summary = [...first.received, ...second.received].map(({ id, payload }) => [
      id,
      new TextDecoder().decode(payload),
    ])
    assert.deepEqual(summary, [
      [0, '"a"'],
      [1, '"b"'],
      [0, '"c"'],
      [1, '"d"'],
    ])
  })

  it('emits an event for every kind, in order', async t => {
    const server = await fake(t)
    const { media, events } = follow(t, server.url)
    await opened(media)
    const png = bytesOf('89504e470d0a1a0a')
    const alert = { id: 0, time: '9:41:07', message: 'no', level: 'error', category: 'upload', timeout: 3500 }
    server.send(0, '[1]')
    server.send(1, '"hé"')
    server.send(2, png)
    server.send(3, png, { metadata: 'bin' })
    server.send(4, bytesOf('00000100'), { metadata: '16000/2' })
    server.send(5, png)
    server.send(77, png)
    server.send(0, JSON.stringify({ alert }))
    server.send(0, JSON.stringify({ alert, more: 1 }))
    await until(() => events.length === 10)
    const at = (id: number, metadata = '') => ({ id, timestamp: 1_700_000_000_123, metadata })
    assert.deepEqual(events, [
      ['json', { payload: [1], ...at(0) }],
      ['text', { payload: '"hé"', ...at(1) }],
      ['binary', { payload: png, ...at(2) }],
      ['file', { payload: png, ...at(3, 'bin') }],
      ['audio', { payload: Int16Array.of(0, 1), rate: 16_000, channels: 2, ...at(4, '16000/2') }],
      ['image', { payload: png, mime: 'image/png', ...at(5) }],
      ['other', { payload: png, type: 77, ...at(6) }],
      ['alert', alert],
      ['alert', alert],
      ['json', { payload: { more: 1 }, ...at(8) }],
    ])
  })

  it('emits and counts missed messages', async t => {
    const server = await fake(t)
    const { media, events } = follow(t, server.url)
    await opened(media)
    server.send(1, 'a')
    server.send(1, 'b', { skip: 3 })
    server.send(1, 'c')
    server.send(1, 'd', { skip: 1 })
    await until(() => events.length === 6)
    assert.deepEqual(
      events.map(([type, event]) => (type === 'text' ? (event as { payload: string }).payload : [type, event])),
      ['a', ['missed', 3], 'b', 'c', ['missed', 1], 'd'],
    )
    assert.equal(media.missed, 4)
  })

  it('emits an event for an unreadable message, and continues', async t => {
    const server = await fake(t)
    const { media, events } = follow(t, server.url)
    await opened(media)
    server.sockets[0]!.send('plain')
    server.sockets[0]!.send(Buffer.from('short'))
    server.send(0, '{a}')
    server.send(1, 'after')
    await until(() => events.length === 4)
    assert.deepEqual(
      events.map(([type, event]) => [type, (event as { reason?: string }).reason]),
      [
        ['unreadable', 'a text message; does the server have the filter media?'],
        ['unreadable', 'an envelope has more than 32 bytes, received 5'],
        ['unreadable', 'the payload is not JSON'],
        ['text', undefined],
      ],
    )
  })

  it('has no microphone and no camera outside of browsers', async t => {
    const server = await fake(t)
    const { media } = follow(t, server.url)
    const message = (device: string) =>
      `the ${device} is not available: it needs a browser and a page on HTTPS or localhost`
    await assert.rejects(media.microphone(), { message: message('microphone') })
    await assert.rejects(media.camera(), { message: message('camera') })
  })
})

/** A server of uploads that acknowledges when the test calls `acknowledge`. */
async function receiving(t: TestContext, window: number) {
  const server = await fake(t)
  const uploads = new Map<
    number,
    { name: string; size: number; received: number; acknowledged: number; bytes: Buffer[] }
  >()
  const commands: Record<string, unknown>[] = []
  let worst = 0
  let next = 0
  const reply = (message: object) => server.send(6, JSON.stringify(message))
  const handle = () => {
    for (const { type, payload, metadata } of server.received.slice(next)) {
      if (type === 6) {
        const message = JSON.parse(new TextDecoder().decode(payload))
        commands.push(message)
        if (message.begin === undefined) continue
        uploads.set(message.begin, { ...message, received: 0, acknowledged: 0, bytes: [] })
        reply({ ready: message.begin, window })
      } else if (type === 7) {
        const upload = uploads.get(Number(metadata))!
        upload.received += payload.length
        upload.bytes.push(Buffer.from(payload))
        worst = Math.max(worst, upload.received - upload.acknowledged)
      }
    }
    next = server.received.length
  }
  const acknowledge = (id: number) => {
    const upload = uploads.get(id)!
    if (upload.acknowledged === upload.received) return
    upload.acknowledged = upload.received
    reply({ progress: id, received: upload.received })
    if (upload.received === upload.size) reply({ done: id, ...saved(id, upload.size) })
  }
  /** Handles received messages until the condition holds. */
  const handled = (condition: () => boolean, what: string) =>
    until(() => {
      handle()
      return condition()
    }, what)
  return { ...server, uploads, commands, handled, acknowledge, refuse: reply, worst: () => worst }
}

const saved = (id: number, size: number): Uploaded => ({
  name: `saved-${id}.bin`,
  url: `/uploads/saved-${id}.bin`,
  size,
})

/** Bytes without a short period. */
const content = (size: number) =>
  Buffer.from(Array.from({ length: size }, (_, index) => (index * 7 + (index >> 8)) % 251))

/** The error of an upload. */
async function failure(upload: Promise<unknown>): Promise<unknown> {
  return upload.then(
    () => assert.fail('it was saved'),
    error => error,
  )
}

describe('an upload', () => {
  it('has at most a window of unacknowledged bytes, and reports progress', async t => {
    const server = await receiving(t, 1000)
    const { media } = follow(t, server.url)
    const bytes = content(4321)
    const progress: number[] = []
    const upload = media.upload(new File([bytes], 'a name.bin'), {
      onProgress: ({ received, size }) => {
        assert.equal(size, 4321)
        progress.push(received)
      },
    })
    const one = () => server.uploads.get(1)
    // Without an acknowledgement it stops at the window.
    await server.handled(() => one()?.received === 1000, 'a window')
    while (one()!.acknowledged < 4321) {
      const before = one()!.acknowledged
      server.acknowledge(1)
      const expected = Math.min(4321, one()!.acknowledged + 1000)
      await server.handled(() => one()!.received === expected, `${expected} after ${before}`)
    }
    assert.deepEqual(await upload, saved(1, 4321))
    assert.equal(server.worst(), 1000)
    assert.deepEqual(Buffer.concat(one()!.bytes), bytes)
    assert.deepEqual(progress, [1000, 2000, 3000, 4000, 4321])
    assert.deepEqual(server.commands, [{ begin: 1, name: 'a name.bin', size: 4321 }])
    assert.ok(
      one()!.bytes.every(chunk => chunk.length <= 250),
      'a quarter of the window at most',
    )
  })

  it('may be one of several, two at a time', async t => {
    const server = await receiving(t, 1 << 22)
    const { media } = follow(t, server.url)
    const bytes = [content(600_000), content(300_001), content(1), content(2)]
    const stop = new AbortController()
    const uploads = [
      media.upload({ name: 'a', data: bytes[0]! }),
      media.upload({ name: 'b', data: new Blob([bytes[1]!]) }),
      media.upload({ name: 'never', data: bytes[0]! }, { signal: stop.signal }),
      media.upload({ name: 'c', data: bufferOf(bytes[2]!) }),
      media.upload({ name: 'd', data: bytes[3]! }),
    ]
    const error = failure(uploads.splice(2, 1)[0]!)
    const whole = (id: number) =>
      server.handled(() => server.uploads.get(id)?.received === bytes[id - 1]!.length, `all of ${id}`)
    await whole(1)
    await whole(2)
    assert.equal(server.uploads.size, 2)
    stop.abort()
    assert.equal(((await error) as Error).name, 'AbortError')
    server.acknowledge(2)
    await whole(3)
    assert.equal(server.uploads.size, 3)
    server.acknowledge(1)
    await whole(4)
    for (const id of [3, 4]) server.acknowledge(id)
    assert.deepEqual(await Promise.all(uploads), [saved(1, 600_000), saved(2, 300_001), saved(3, 1), saved(4, 2)])
    for (const [id, { bytes: chunks }] of server.uploads) assert.deepEqual(Buffer.concat(chunks), bytes[id - 1])
    assert.equal(Math.max(...server.uploads.get(1)!.bytes.map(chunk => chunk.length)), 256 * 1024)
  })

  it('is rejected with code and reason of the server', async t => {
    const server = await receiving(t, 1000)
    const { media } = follow(t, server.url)
    const error = failure(media.upload({ name: 'a.exe', data: content(5000) }))
    await server.handled(() => server.uploads.get(1)?.received === 1000, 'a window')
    server.refuse({ refused: 1, reason: 'no .exe here', code: 'type' })
    const refused = (await error) as UploadError
    assert.ok(refused instanceof UploadError)
    assert.deepEqual(
      [refused.code, refused.reason, refused.message, refused.name],
      ['type', 'no .exe here', 'no .exe here', 'UploadError'],
    )
    media.send('text', 'after')
    await server.handled(() => server.received.at(-1)!.type === 1, 'the text')
    assert.equal(server.uploads.get(1)!.received, 1000, 'nothing more of it went out')
  })

  it('is cancelled by its signal, with a command to the server', async t => {
    const server = await receiving(t, 1000)
    const { media } = follow(t, server.url)
    const stop = new AbortController()
    const error = failure(media.upload({ name: 'a', data: content(5000) }, { signal: stop.signal }))
    await server.handled(() => server.uploads.get(1)?.received === 1000, 'a window')
    stop.abort()
    assert.equal(((await error) as Error).name, 'AbortError')
    await server.handled(() => server.commands.length === 2, 'a cancel')
    assert.deepEqual(server.commands[1], { cancel: 1 })
    assert.equal(
      ((await failure(media.upload({ name: 'b', data: content(1) }, { signal: stop.signal }))) as Error).name,
      'AbortError',
    )
    assert.equal(server.commands.length, 2)
  })

  it('ends with its connection, and the next connection sends nothing of it', async t => {
    const server = await receiving(t, 1000)
    const { media } = follow(t, server.url)
    const error = failure(media.upload({ name: 'a', data: content(5000) }))
    await server.handled(() => server.uploads.get(1)?.received === 1000, 'a window')
    const again = opened(media)
    server.sockets[0]!.terminate()
    const { code, reason } = (await error) as UploadError
    assert.deepEqual([code, reason], ['lost', 'the connection was lost (1006)'])
    await again
    assert.equal(media.queued, 0)
    const received = server.received.length
    const next = media.upload({ name: 'b', data: content(10) })
    await server.handled(() => server.uploads.get(2)?.received === 10, 'the next one')
    server.acknowledge(2)
    await next
    assert.equal(server.received.length, received + 2)
  })

  it('waits for a connection, unless it is closed for good', async t => {
    const server = await receiving(t, 1000)
    const { media } = follow(t, 'ws://127.0.0.1:1', { attempts: 1 })
    assert.deepEqual(
      (await failure(media.upload({ name: 'a', data: content(1) }))) as object,
      new UploadError('lost', 'the connection is closed (1006)'),
    )
    assert.deepEqual(
      (await failure(media.upload({ name: 'a', data: content(1) }))) as object,
      new UploadError('lost', 'the connection is closed'),
    )
    const early = connectMedia(server.url)
    t.after(() => early.close())
    const upload = early.upload({ name: 'a', data: content(1) })
    await server.handled(() => server.uploads.get(1)?.received === 1, 'it')
    server.acknowledge(1)
    assert.deepEqual(await upload, saved(1, 1))
  })

  it('ends when the client closes the connection', async t => {
    const server = await receiving(t, 1000)
    const { media } = follow(t, server.url)
    const error = failure(media.upload({ name: 'a', data: content(5000) }))
    await server.handled(() => server.uploads.size === 1, 'a begin')
    media.close()
    assert.equal(((await error) as UploadError).reason, 'the connection was lost (1000)')
  })

  it('fails if the server does not reply within the timeout', async t => {
    const server = await fake(t)
    const { media } = follow(t, server.url)
    const error = failure(media.upload({ name: 'a', data: content(1) }, { timeout: 30 }))
    assert.equal(((await error) as UploadError).reason, 'the server did not reply to the upload within 30 ms')
    await until(() => server.received.length === 2)
    assert.equal(new TextDecoder().decode(server.received[1]!.payload), '{"cancel":1}')
  })

  it('rejects with the error of a file that cannot be read', async t => {
    const server = await receiving(t, 1000)
    const { media } = follow(t, server.url)
    const gone = Object.assign(new Blob(['contents']), {
      slice: () => ({ arrayBuffer: () => Promise.reject(new Error('it has changed')) }),
    }) as unknown as Blob
    const error = failure(media.upload({ name: 'a', data: gone }))
    await server.handled(() => server.commands.length === 2, 'a cancel')
    assert.deepEqual([((await error) as Error).message, server.commands[1]], ['it has changed', { cancel: 1 }])
  })

  for (const wrong of [{}, { name: 'a' }, { data: new Blob([]) }, { name: 'a', data: 'text' }, new Blob([])])
    it(`is not ${wrong instanceof Blob ? 'a blob without a name' : JSON.stringify(wrong)}`, async t => {
      const { media } = follow(t, 'ws://127.0.0.1:1')
      await assert.rejects(media.upload(wrong as never), {
        name: 'TypeError',
        message: 'upload() takes a File, or { name, data } with data as a Blob, an ArrayBuffer or a Uint8Array',
      })
    })
})

describe('with the filter media', () => {
  /** A server that echoes messages, and saves files in a folder of the test. */
  async function real(t: TestContext) {
    const mediaUploads = folder(t)
    const { url } = await serve(t, { filters: ['media', 'echo'], mediaUploads })
    return { url, http: url.replace('ws:', 'http:'), saved: () => readdirSync(mediaUploads) }
  }

  it('echoed text is unchanged, with its quotes', async t => {
    const { url } = await real(t)
    const { media, events } = follow(t, url)
    for (const text of ['plain', '"quoted"', '', '{"a":1}', '\u2028\ud83d\ude00', '\ufeffmarked'])
      media.send('text', text)
    media.send('json', 'a string')
    media.send('binary', bytesOf('0001'))
    await until(() => events.length === 7)
    assert.deepEqual(
      events.map(([type, event]) => [type, (event as { payload: unknown }).payload]),
      [
        ['text', 'plain'],
        ['text', '"quoted"'],
        ['text', '{"a":1}'],
        ['text', '\u2028\ud83d\ude00'],
        ['text', '\ufeffmarked'],
        ['text', '"a string"'],
        ['binary', bytesOf('0001')],
      ],
    )
    assert.equal(media.missed, 0)
  })

  it('a large file is complete, with progress', async t => {
    const { url, http } = await real(t)
    const { media } = follow(t, url)
    const bytes = Buffer.alloc(20 * 1024 * 1024 + 7, 'some text\n')
    const progress: number[] = []
    const {
      name,
      url: path,
      size,
    } = await media.upload(new File([bytes], 'large.txt'), {
      onProgress: ({ received }) => progress.push(received),
    })
    assert.match(name, /^\d{8}_\d{6}_\d{3}-[0-9a-f]{8}\.txt$/)
    assert.deepEqual([path, size], [`/uploads/${name}`, bytes.length])
    assert.ok(Buffer.from(await (await fetch(http + path)).arrayBuffer()).equals(bytes))
    assert.ok(progress.length >= 10, progress.join())
    assert.deepEqual(
      progress,
      progress.toSorted((a, b) => a - b),
    )
    assert.equal(progress.at(-1), bytes.length)
  })

  it('more files than a client may upload at a time are all saved', async t => {
    const { url, saved } = await real(t)
    const { media } = follow(t, url)
    const names = await Promise.all(
      Array.from({ length: 7 }, async (_, index) => {
        const data = Buffer.alloc(400_000 + index, `${index}`)
        const { name, size } = await media.upload({ name: `${index}.txt`, data })
        assert.equal(size, data.length)
        return name
      }),
    )
    assert.deepEqual(saved().toSorted(), names.toSorted())
  })

  it('a refused file rejects with its reason, and the next one is saved', async t => {
    const { url, saved } = await real(t)
    const { media } = follow(t, url)
    for (const [name, data, code] of [
      ['setup.exe', content(10), 'type'],
      ['not.png', Buffer.from('text'), 'content'],
      ['../up.txt', Buffer.from('text'), 'name'],
      ['empty.txt', Buffer.alloc(0), 'size'],
    ] as const) {
      const error = (await failure(media.upload({ name, data }))) as UploadError
      assert.ok(error instanceof UploadError, String(error))
      assert.equal(error.code, code, error.reason)
      assert.match(error.reason, /^\S.{10,200}$/)
    }
    const { name } = await media.upload({ name: 'fine.txt', data: Buffer.from('text') })
    assert.deepEqual(saved(), [name])
  })

  it('a cancelled upload leaves no file', async t => {
    const { url, saved } = await real(t)
    const { media } = follow(t, url)
    const stop = new AbortController()
    const error = failure(
      media.upload(
        { name: 'large.txt', data: Buffer.alloc(30_000_000, 'a') },
        { signal: stop.signal, onProgress: () => stop.abort() },
      ),
    )
    assert.equal(((await error) as Error).name, 'AbortError')
    await until(() => saved().length === 0, 'an empty folder')
  })
})
