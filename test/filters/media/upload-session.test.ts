import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it, type TestContext } from 'node:test'
import type { SavedFile } from '../../../filters/media/saved-file.ts'
import { UploadSession } from '../../../filters/media/upload-session.ts'
import type { Uploads, UploadsOptions } from '../../../filters/media/uploads.ts'
import type { UploadReply } from '../../../protocols/nanollm/upload.ts'
import { Peer, serve, until } from '../../support/peer.ts'
import { filesOf, PNG, png, uploadsOf } from '../../support/uploads.ts'

const WINDOW = 40_000

/** A session with its replies and saved files. */
class Uploader {
  readonly replies: UploadReply[] = []
  readonly files: SavedFile[] = []
  readonly session: UploadSession

  constructor(uploads: Uploads | undefined) {
    this.session = new UploadSession({
      uploads,
      reply: reply => this.replies.push(reply),
      onSaved: file => this.files.push(file),
    })
  }

  /** Handles one message after the other, as the core does. */
  async send(...messages: readonly (object | readonly [metadata: string, bytes: Buffer])[]): Promise<void> {
    for (const message of messages)
      await (Array.isArray(message)
        ? this.session.handleChunk(message[0], message[1])
        : this.session.handleCommand(message))
  }

  /** All replies, when there are at least `count`. */
  async get(count: number): Promise<readonly UploadReply[]> {
    await until(() => this.replies.length >= count, `${count} replies, got ${JSON.stringify(this.replies)}`)
    return this.replies
  }
}

async function open(t: TestContext, options: Partial<UploadsOptions> = {}) {
  const uploads = await uploadsOf(t, { window: WINDOW, ...options })
  return Object.assign(new Uploader(uploads), { uploads })
}

const begin = (id: number, size: number, name = 'a.png') => ({ begin: id, name, size })
const READY = (id: number) => ({ ready: id, window: WINDOW })
const NUMBER = 'an upload command has begin, end or cancel with a number from 0 to 99999999'
const BEGIN = 'begin has name and size, or audio with rate and channels, and no other properties'

describe('a file', () => {
  it('gets ready, progress at every quarter of the window, and done', async t => {
    const client = await open(t)
    await client.send(begin(1, 50_000, 'Holiday.png'))
    assert.deepEqual(client.replies, [READY(1)])
    const bytes = png(50_000)
    for (let at = 0; at < bytes.length; at += 5000) {
      await client.send(['1', bytes.subarray(at, at + 5000)])
      if (at % 10_000 === 5000) await client.get(1 + (at + 5000) / 10_000)
    }
    const [, ...others] = await client.get(7)
    const [saved] = client.files
    assert.deepEqual(others, [
      ...[10_000, 20_000, 30_000, 40_000, 50_000].map(received => ({ progress: 1, received })),
      { done: 1, name: saved!.name, url: `/uploads/${saved!.name}`, size: 50_000 },
    ])
    assert.deepEqual(readFileSync(saved!.path), bytes)
    assert.equal(saved!.original, 'Holiday.png')
  })

  it('may alternate with chunks of another one', async t => {
    const client = await open(t)
    await client.send(begin(0, PNG.length), begin(99_999_999, 2 * PNG.length))
    await client.send(['99999999', PNG], ['0', PNG], ['99999999', PNG])
    await client.get(4)
    assert.deepEqual(client.files.map(({ size }) => size).sort(), [PNG.length, 2 * PNG.length].sort())
  })

  it('that is faster than the disk pauses its client, and is saved', async t => {
    const { session, replies, files } = await open(t)
    const bytes = png(900_000)
    await session.handleCommand(begin(1, bytes.length))
    let waits = 0
    for (let at = 0; at < bytes.length; at += 15_000) {
      const wait = session.handleChunk('1', bytes.subarray(at, at + 15_000))
      if (wait !== undefined) waits++
      await wait
    }
    await until(() => files.length === 1)
    assert.ok(waits > 0)
    assert.deepEqual(readFileSync(files[0]!.path), bytes)
    assert.equal(replies.filter(reply => 'refused' in reply).length, 0)
  })

  it('that is cancelled ends without a reply, and its number and place are free', async t => {
    const client = await open(t, { perClient: 1 })
    await client.send(begin(1, 50_000), ['1', png(20_000)], { cancel: 1 })
    assert.deepEqual(filesOf(client.uploads), [])
    await client.send(['1', PNG], { cancel: 1 }, { end: 1 }, begin(1, PNG.length), ['1', PNG])
    await until(() => client.files.length === 1)
    const kinds = client.replies.filter(reply => !('progress' in reply)).map(reply => Object.keys(reply)[0])
    assert.deepEqual(kinds, ['ready', 'ready', 'done'])
  })

  it('is refused once; chunks that arrive later are ignored', async t => {
    const client = await open(t)
    await client.send(begin(1, 50_000, 'a.jpg'), ['1', png(20_000)], ['1', png(20_000)])
    const refused = { refused: 1, reason: 'the content has type png, the extension is jpg', code: 'content' }
    assert.deepEqual(await client.get(2), [READY(1), refused])
    await client.send(['1', PNG], ['1', PNG], begin(1, PNG.length), ['1', PNG])
    await until(() => client.files.length === 1)
    assert.equal(client.replies.length, 4)
    assert.deepEqual(filesOf(client.uploads), [client.files[0]!.name])
  })

  it('with an invalid name, type or size does not begin', async t => {
    const client = await open(t)
    await client.send(begin(1, 10, '../a.png'), begin(2, 10, 'a.exe'), begin(3, 0), begin(4, 2_000_000), begin(5, 0.5))
    assert.deepEqual(
      client.replies,
      [
        [1, 'a file name has no / and no \\', 'name'],
        [2, 'files of type exe are not accepted, only png jpg txt wav bin', 'type'],
        [3, 'a file has 1 to 1000000 bytes', 'size'],
        [4, 'a file has 1 to 1000000 bytes', 'size'],
        [5, 'a file has 1 to 1000000 bytes', 'size'],
      ].map(([refused, reason, code]) => ({ refused, reason, code })),
    )
  })

  it('of a client that disconnects is deleted, and no reply follows', async t => {
    const client = await open(t)
    await client.send(begin(1, 50_000), ['1', png(5000)])
    const count = client.replies.length
    await client.session.close()
    assert.deepEqual(filesOf(client.uploads), [])
    await client.send(['1', PNG], begin(2, -1))
    assert.equal(client.replies.length, count)
    assert.deepEqual(client.files, [])
  })
})

describe('a recording', () => {
  it('ends with its command', async t => {
    const client = await open(t)
    await client.send({ begin: 2, audio: { rate: 16000, channels: 1 } }, ['2', Buffer.alloc(320)], { end: 2 })
    await client.get(2)
    const { name, url, size, kind, rate, channels } = client.files[0]!
    assert.deepEqual({ size, kind, rate, channels }, { size: 364, kind: 'audio', rate: 16000, channels: 1 })
    assert.deepEqual(client.replies, [READY(2), { done: 2, name, url, size }])
  })
})

describe('an invalid message', () => {
  const refused = (id: number | null, reason: string) => [{ refused: id, reason, code: 'format' }]

  for (const [json, id, reason] of [
    [null, null, NUMBER],
    [[], null, NUMBER],
    ['begin', null, NUMBER],
    [7, null, NUMBER],
    [{}, null, NUMBER],
    [{ start: 1 }, null, NUMBER],
    [{ begin: -1, name: 'a.png', size: 1 }, null, NUMBER],
    [{ begin: 1.5, name: 'a.png', size: 1 }, null, NUMBER],
    [{ begin: 100_000_000, name: 'a.png', size: 1 }, null, NUMBER],
    [{ begin: '1', name: 'a.png', size: 1 }, null, NUMBER],
    [{ begin: 1, end: 1 }, null, NUMBER],
    [{ begin: 1 }, 1, BEGIN],
    [{ begin: 1, name: 'a.png' }, 1, BEGIN],
    [{ begin: 1, name: 7, size: 1 }, 1, BEGIN],
    [{ begin: 1, name: 'a.png', size: '1' }, 1, BEGIN],
    [{ begin: 1, name: 'a.png', size: 1, path: '/etc' }, 1, BEGIN],
    [{ begin: 1, name: 'a.png', size: 1, audio: { rate: 1, channels: 1 } }, 1, BEGIN],
    [{ begin: 1, audio: null }, 1, BEGIN],
    [{ begin: 1, audio: { rate: 48000 } }, 1, BEGIN],
    [{ begin: 1, audio: { rate: '48000', channels: 1 } }, 1, BEGIN],
    [{ begin: 1, audio: { rate: 48000, channels: 1, bits: 8 } }, 1, BEGIN],
    [JSON.parse('{"begin": 1, "__proto__": {"name": "a.png", "size": 1}}'), 1, BEGIN],
    [{ end: 1, size: 7 }, 1, 'end has no other properties'],
    [{ why: 'no', cancel: 1 }, 1, 'cancel has no other properties'],
    [{ begin: 1, audio: { rate: 1, channels: 1 } }, 1, 'audio has a rate from 1000 to 192000'],
    [{ begin: 1, audio: { rate: 48000, channels: 0 } }, 1, 'audio has 1 to 8 channels'],
  ] as const) {
    it(`is refused: ${JSON.stringify(json)}`, async t => {
      const client = await open(t)
      await client.session.handleCommand(json)
      assert.deepEqual(client.replies, refused(id, reason))
    })
  }

  it('is refused: a chunk without a number', async t => {
    const client = await open(t)
    for (const metadata of ['', 'png', '01', '-1', '1.0', '123456789', '１']) {
      client.replies.length = 0
      await client.send([metadata, PNG])
      assert.deepEqual(client.replies, refused(null, 'a chunk has the number of its upload as metadata'))
    }
  })

  it('is refused once: a chunk, end or cancel of an unknown upload', async t => {
    const client = await open(t)
    await client.send(['5', PNG], ['5', PNG], { end: 6 }, { end: 6 }, { cancel: 7 })
    assert.deepEqual(
      client.replies,
      [5, 6, 7].map(id => ({ refused: id, reason: `upload ${id} does not exist`, code: 'lost' })),
    )
  })

  it('ends its upload: a number that is in use', async t => {
    const client = await open(t)
    await client.send(begin(1, 50_000), ['1', png(5000)], begin(1, 10))
    assert.deepEqual(await client.get(2), [READY(1), ...refused(1, 'upload 1 has begun already')])
    assert.deepEqual(filesOf(client.uploads), [])
  })
})

describe('a server without uploads', () => {
  it('refuses each upload once', async () => {
    const client = new Uploader(undefined)
    await client.send(begin(1, 10), ['1', PNG], ['1', PNG], ['2', PNG], ['2', PNG])
    assert.deepEqual(
      client.replies,
      [1, 2].map(id => ({ refused: id, reason: 'this server does not accept uploads', code: 'off' })),
    )
    await client.session.close()
  })
})

describe('in a server', () => {
  it('a client that ignores the window is read at the speed of the disk', async t => {
    const client = await open(t, { maxBytes: 30_000_000, quota: 30_000_000, window: 1_000_000 })
    const { session, files, replies } = client
    const message = async (payload: string | Buffer) => {
      await (typeof payload === 'string'
        ? session.handleCommand(JSON.parse(payload))
        : session.handleChunk('1', payload))
    }
    const server = await serve(t, { filters: [{ message }] })
    const peer = await Peer.open(server.url)
    peer.send(JSON.stringify(begin(1, 30_000_000)))
    for (let i = 0; i < 120; i++) peer.send(i === 0 ? png(250_000) : Buffer.alloc(250_000, i))
    await until(() => files.length === 1 || replies.some(reply => 'refused' in reply))
    assert.deepEqual(
      replies.filter(reply => 'refused' in reply),
      [],
    )
    const file = readFileSync(files[0]!.path)
    assert.equal(file.length, 30_000_000)
    for (let i = 1; i < 120; i++) assert.equal(file[i * 250_000 + 125_000], i)
  })

  it('an upload of a lost connection is deleted', async t => {
    const { session, uploads, replies } = await open(t)
    const server = await serve(t, {
      filters: [
        {
          message: (payload: string | Buffer) =>
            void (typeof payload === 'string'
              ? session.handleCommand(JSON.parse(payload))
              : session.handleChunk('1', payload)),
          disconnect: () => session.close(),
        },
      ],
    })
    const peer = await Peer.open(server.url)
    peer.send(JSON.stringify(begin(1, 50_000)))
    await until(() => replies.length === 1)
    peer.send(png(20_000))
    await until(() => filesOf(uploads).length === 1)
    peer.ws.terminate()
    await until(() => filesOf(uploads).length === 0)
  })
})
