import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { type Media, readMedia, readSimpleMedia } from '../../filters/media/message.ts'
import type { MediaApi } from '../../filters/media.ts'
import { typeOf } from '../../protocols/nanollm/kinds.ts'
import type { Client, Message } from '../../src/contract/client.ts'
import type { FilterModule, Host } from '../../src/contract/filter.ts'
import type { Payload } from '../../src/contract/payload.ts'
import { launch } from '../support/cli.ts'
import { cheap, filled } from '../support/cpu.ts'
import { envelope, opened, vector } from '../support/media.ts'
import { Peer, serve, until } from '../support/peer.ts'

const [JSON_, TEXT, BINARY, FILE, AUDIO, IMAGE] = [0, 1, 2, 3, 4, 5] as const
/** One pixel. */
const PNG = vector('c2s/image png').subarray(32)

/** A filter that uses media, as applications do. */
function using(on: (media: MediaApi) => void): FilterModule {
  return {
    uses: ['media'],
    setup: (host: Host) => on(host.use('media' as never) as MediaApi),
  }
}

async function media(t: TestContext, filters: (string | FilterModule)[] = ['broadcast'], options: object = {}) {
  const { url } = await serve(t, { filters: ['media', ...filters], ...options })
  return { url, open: () => Peer.open(url) }
}

describe('media', () => {
  it('numbers the messages of each client, and sends broadcasts as TEXT or BINARY', async t => {
    const { open } = await media(t)
    const [ann, bob, eve] = [await open(), await open(), await open()]
    ann!.send(vector('c2s/text'))
    ann!.send(vector('c2s/binary'))
    await eve!.get(2)
    bob!.send(vector('c2s/json object'))
    const seen = (await eve!.get(3)).map(opened)
    assert.deepEqual(
      seen.map(({ id, type, said, metadata }) => [id, type, said, metadata]),
      [
        [0, TEXT, 'hé', ''],
        [1, BINARY, Buffer.from([0, 1, 2]), ''],
        [2, TEXT, '{"chat_history_reset":true}', ''],
      ],
    )
    assert.ok(Math.abs(seen[0]!.timestamp - Date.now()) < 10_000)
    const [own] = await ann!.get(1)
    assert.deepEqual([opened(own).id, opened(own).said], [0, '{"chat_history_reset":true}'])
  })

  it('writes the same bytes as the server of NanoLLM', async t => {
    const at = 1_700_000_000_123
    const { open } = await media(t, [
      using(api => {
        api.on('connect', client => {
          const sent = { timestamp: at }
          client.send('not recorded')
          api.send(client, 'text', 'hé', sent)
          api.send(client, 'binary', Buffer.from([0, 1, 2]), sent)
          api.send(client, 'audio', Int16Array.of(0, 1, -1, 32_767), sent)
          api.send(client, 'json', [1, 2], sent)
          api.send(client, 'binary', Uint8Array.of(1, 2, 3), sent)
        })
      }),
    ])
    const peer = await open()
    const [, ...sent] = (await peer.get(6)) as Buffer[]
    for (const [i, name] of ['s2c/server text', 's2c/server bin', 's2c/server audio'].entries())
      assert.deepEqual(sent[i], vector(name))
    assert.deepEqual(sent[3]!.subarray(32), Buffer.from('[1,2]'))
    assert.deepEqual(sent[4]!.subarray(8), vector('s2c/server binlist').subarray(8))
  })

  it('reads text of simple clients, and answers with text and bare bytes', async t => {
    const { open } = await media(t, [
      using(api => {
        api.on('json', ({ payload }, client) => api.answer(client, 'json', { got: payload }))
        api.on('image', ({ payload, mime }, client) =>
          api.answer(client, 'image', payload, { metadata: mime!.slice('image/'.length) }),
        )
      }),
      'echo',
    ])
    const peer = await open()
    for (const text of ['hello', '"quoted"', '{"a": 1}', '[1]', '{broken', '17']) peer.send(text)
    peer.send(Buffer.from('bytes'))
    assert.deepEqual((await peer.get(7)).map(String), [
      'hello',
      '"quoted"',
      '{"got":{"a":1}}',
      '{"got":[1]}',
      '{broken',
      '17',
      'bytes',
    ])
    assert.deepEqual((await peer.get(7)).map(Buffer.isBuffer), [false, false, false, false, false, false, true])
    // After its first envelope it gets envelopes.
    peer.send(envelope(IMAGE, PNG))
    peer.send(envelope(TEXT, 'hi'))
    const [image, text] = (await peer.get(9)).slice(7).map(opened)
    assert.deepEqual(image, { id: 0, timestamp: image!.timestamp, type: IMAGE, metadata: 'png', said: PNG })
    assert.deepEqual([text!.id, text!.type, text!.said], [1, TEXT, 'hi'])
    peer.send('text again')
    assert.equal((await peer.get(10))[9], 'text again')
  })

  it('does not read bytes of a simple client as an envelope if their size does not match', async t => {
    const { open } = await media(t, ['echo'])
    const peer = await open()
    peer.send('text')
    const bytes = Buffer.alloc(40)
    bytes.writeUInt16BE(42, 16)
    peer.send(bytes)
    assert.deepEqual(await peer.get(2), ['text', bytes])
  })

  it('drops the message of a handler with an invalid return value', async t => {
    const seen: Payload[] = []
    const { open } = await media(t, [
      using(api => api.on('text', () => null as never)),
      { message: (payload: Payload) => void seen.push(payload) },
      'echo',
    ])
    const peer = await open()
    peer.send(envelope(TEXT, 'not this'))
    peer.send(envelope(BINARY, 'but this'))
    assert.equal(opened((await peer.get(1))[0]).type, BINARY)
    assert.deepEqual(seen, [Buffer.from('but this')])
  })

  it('refuses a handler for an unknown kind, and for messages about uploads', async t => {
    for (const [kind, message] of [
      [
        'imgae',
        /: on\(\) takes connect, disconnect, upload, json, text, binary, file, audio, image or a number from 8 to 65535, received "imgae"/,
      ],
      [6, /received 6/],
      [70_000, /received 70000/],
    ] as const)
      await assert.rejects(media(t, [using(api => api.on(kind as 300, () => {}))]), { message })
  })

  it('passes payloads and views to filters', async t => {
    const seen: (readonly [Payload, Media | undefined])[] = []
    const { open } = await media(t, [
      { message: (payload: Payload, _: Client, message: Message) => void seen.push([payload, message.media]) },
      'echo',
    ])
    const peer = await open()
    for (const name of ['c2s/json', 'c2s/audio', 'c2s/image', 'odd/unknown type 9', 'odd/timestamp'])
      peer.send(vector(name))
    await peer.get(5)
    assert.deepEqual(
      seen.map(([payload, view]) => [payload, view!.kind, view!.metadata, view!.mime]),
      [
        ['{"chat_history_reset":true}', 'json', '', undefined],
        [vector('c2s/audio').subarray(32), 'audio', '', undefined],
        [PNG, 'image', 'png', 'image/png'],
        [Buffer.from('abc'), 9, '', undefined],
        [Buffer.from('abc'), 'file', 'txt', undefined],
      ],
    )
    assert.deepEqual(await seen[2]![1]!.decode!(), {
      data: Buffer.from([255, 0, 0]),
      width: 1,
      height: 1,
      channels: 3,
    })
  })

  it('drops a malformed message with an alert; the client stays', async t => {
    const { open } = await media(t, ['echo'])
    const peer = await open()
    const wrong = {
      'c2s/empty payload': 'an envelope has more than 32 bytes, received 32',
      'odd/magic 43': 'an envelope has 42 at byte 16, received 43',
      'odd/size mismatch': 'the envelope announces a payload of 99 bytes, received 3',
      'odd/bad json': 'a message of kind json is not JSON',
      'odd/metadata not utf-8': 'metadata is not UTF-8',
      'c2s/bad image': 'a message of kind image has no image of a known type',
    }
    for (const name of Object.keys(wrong)) peer.send(vector(name))
    peer.send(Buffer.alloc(0))
    peer.send(envelope(TEXT, Buffer.from([0xff])))
    const alerts = (await peer.get(8)).map(message => opened(message).said.alert)
    assert.deepEqual(
      alerts.map(({ id, message }) => [id, message]),
      [
        ...Object.values(wrong),
        'an envelope has more than 32 bytes, received 0',
        'a message of kind text is not UTF-8',
      ].map((message, id) => [id, message]),
    )
    assert.match(alerts[0].time, /^(?:[1-9]|1[0-2]):[0-5]\d:[0-5]\d$/)
    assert.deepEqual(
      { ...alerts[0], time: '' },
      {
        id: 0,
        time: '',
        message: wrong['c2s/empty payload'],
        level: 'error',
        category: 'message',
        timeout: 3500,
      },
    )
    peer.send(envelope(TEXT, 'still here'))
    assert.equal(opened((await peer.get(9))[8]).said, 'still here')
  })

  it('--media-strict closes a client that sends a malformed message', async t => {
    const { open } = await media(t, ['echo'], { mediaStrict: true })
    for (const name of ['odd/magic 43', 'c2s/bad image']) {
      const peer = await open()
      peer.send(vector(name))
      assert.equal((await peer.end()).code, 1007)
    }
  })

  it('makes a WAV file of audio', async t => {
    const { open } = await media(t, [
      using(api => {
        api.on('audio', ({ payload, rate, channels }, client) =>
          api.answer(client, 'file', api.wav(payload as Buffer, { rate: rate!, channels: channels! })),
        )
      }),
    ])
    const peer = await open()
    peer.send(vector('c2s/audio'))
    const wav = opened((await peer.get(1))[0]).said
    assert.deepEqual([wav.length, String(wav.subarray(0, 4)), wav.readUInt32LE(24)], [52, 'RIFF', 48_000])
  })

  it('counts clients, and runs the handlers of connect and disconnect', async t => {
    const events: string[] = []
    let api!: MediaApi
    const { open } = await media(t, [
      using(given => {
        api = given
        api.on('connect', client => {
          events.push(`connect ${api.numClients}`)
          api.alert(client, 'welcome', { level: 'success', category: 'c', timeout: 1 })
        })
        api.on('disconnect', (_, { code }) => void events.push(`disconnect ${code} ${api.numClients}`))
      }),
    ])
    assert.deepEqual([api.connected, api.numClients], [false, 0])
    const ann = await open()
    const bob = await open()
    const [welcome] = await bob.get(1)
    assert.deepEqual(
      { ...opened(welcome).said.alert, time: '' },
      {
        id: 1,
        time: '',
        message: 'welcome',
        level: 'success',
        category: 'c',
        timeout: 1000,
      },
    )
    assert.deepEqual([api.connected, api.numClients], [true, 2])
    ann.ws.close(1001)
    await until(() => events.length === 3)
    assert.deepEqual(events, ['connect 1', 'connect 2', 'disconnect 1001 1'])
  })

  it('runs handlers of a kind in order until one returns a verdict, for custom types too', async t => {
    const { open } = await media(t, [
      using(api => {
        api.on(300, async ({ payload }) => `${payload}!`)
        api.on(300, () => assert.fail('the handler before returned a verdict'))
        api.on('text', () => {})
        api.on('text', ({ payload }, client) => (payload === 'no' ? client.drop('no') : undefined))
      }),
      'echo',
    ])
    const peer = await open()
    for (const [type, text] of [
      [300, 'shout'],
      [TEXT, 'no'],
      [TEXT, 'yes'],
    ] as const)
      peer.send(envelope(type, text))
    assert.deepEqual(
      (await peer.get(2)).map(message => opened(message).said),
      ['shout!', 'yes'],
    )
  })

  it('broadcasts any kind, to simple clients the bare payload, and alerts to all', async t => {
    const { open } = await media(t, [
      using(api => {
        api.on('file', ({ payload, metadata }, client) => {
          api.broadcast(client.server, 'file', payload, { metadata, except: client })
          api.broadcast(client.server, 700, Buffer.from('own'))
          api.broadcast(client.server, 'json', { ü: 1 })
          api.alert(client.server, 'a file has come')
          return client.drop('sent')
        })
      }),
      'broadcast',
    ])
    const [ann, bob, simple] = [await open(), await open(), await open()]
    simple!.send('I speak text')
    await bob!.get(1)
    ann!.send(envelope(FILE, 'content', 'txt'))
    const said = (message: string | Buffer) => {
      const { type, metadata, said } = opened(message)
      return [type, metadata, Buffer.isBuffer(said) ? String(said) : said.alert ? said.alert.message : said]
    }
    const all = [
      [700, '', 'own'],
      [JSON_, '', { ü: 1 }],
      [JSON_, '', 'a file has come'],
    ]
    assert.deepEqual((await ann!.get(4)).slice(1).map(said), all)
    assert.deepEqual((await bob!.get(5)).slice(1).map(said), [[FILE, 'txt', 'content'], ...all])
    const bare = await simple!.get(4)
    assert.deepEqual(bare.slice(0, 3), [Buffer.from('content'), Buffer.from('own'), '{"ü":1}'])
    assert.equal(JSON.parse(String(bare[3])).alert.message, 'a file has come')
  })

  it('refuses to send an empty value, or a value that does not fit the kind', async t => {
    const problems: unknown[] = []
    const { open } = await media(t, [
      using(api => {
        api.on('connect', client => {
          for (const [kind, value] of [
            ['text', ''],
            ['text', 5],
            ['json', undefined],
            ['image', 'text'],
            ['video', Buffer.from('x')],
            [70_000, Buffer.from('x')],
            [7, Buffer.from('x')],
          ] as const) {
            try {
              api.send(client, kind as 'text', value)
            } catch (error) {
              problems.push((error as Error).message)
            }
          }
          client.send('')
          client.send('done')
        })
      }),
    ])
    const peer = await open()
    assert.equal(opened((await peer.get(1))[0]).said, 'done')
    assert.deepEqual(problems, [
      'an envelope has a payload, received 0 bytes',
      'a message of kind text takes a string, received number',
      'a message of kind json takes a JSON value, received undefined',
      'a message of kind image takes bytes, received string',
      ...['"video"', 70_000, 7].map(
        kind => `a kind is json, text, binary, file, audio, image or a number from 8 to 65535, received ${kind}`,
      ),
    ])
  })

  it('does not handle messages of clients of other protocols', async t => {
    const other = { name: 'other', encode: (payload: Payload) => payload }
    const { open } = await media(t, [
      {
        connect: (client: Client) => {
          client.codec = other
        },
      },
      'echo',
    ])
    const peer = await open()
    const bytes = vector('odd/magic 43')
    peer.send(bytes)
    peer.send('text')
    assert.deepEqual(await peer.get(2), [bytes, 'text'])
  })

  it('accepts messages of 16 MiB by default', async t => {
    const { url } = await launch(t, ['-p', '0', '-f', 'media', 'echo'])
    const peer = await Peer.open(url)
    const large = Buffer.alloc(16 * 1024 * 1024 - 32, 'x')
    peer.send(envelope(BINARY, large))
    assert.equal(Buffer.compare(opened((await peer.get(1))[0]).said as Buffer, large), 0)
    peer.send(envelope(AUDIO, Int16Array.of(1, 2) as unknown as Uint8Array))
    const two = await Peer.open(url)
    two.send(Buffer.concat([envelope(BINARY, large), Buffer.alloc(1)]))
    assert.equal((await two.end()).code, 1009)
  })
})

describe('JSON that is expensive to parse', () => {
  const MIB = 1_048_576
  const cases: readonly (readonly [what: string, text: string])[] = [
    ['1 MiB of [', '['.repeat(MIB)],
    ['1 MiB of objects', filled(MIB, '[', '{},', '{}]')],
    ['1 MiB of numbers', filled(MIB, '[', '1,', '1]')],
    ['1 MiB of nested objects', filled(MIB, '{"a":', '{"a":', '1')],
    ['14 MiB of numbers', filled(14 * MIB, '[', '1,', '1]')],
    ['1 MiB of spaces', ' '.repeat(MIB)],
  ]
  for (const [what, text] of cases) {
    it(`is text if a simple client sends it: ${what}`, () => {
      assert.equal(cheap(() => readSimpleMedia(text, 0, MIB), what).kind, 'text')
    })
    it(`is malformed in an envelope: ${what}`, () => {
      const received = { id: 0n, timestamp: 0n, type: typeOf('json'), metadata: '', payload: Buffer.from(text) }
      const read = () => cheap(() => readMedia(received, MIB), what)
      assert.throws(
        read,
        /^Error: a message of kind json (?:is too large: JSON has at most 100|is not JSON|has at most)/,
      )
    })
  }
})
