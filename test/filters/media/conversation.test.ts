import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it, type TestContext } from 'node:test'
import { Conversation, type Reply } from '../../../filters/media/conversation.ts'
import type { Saved } from '../../../filters/media/saved.ts'
import type { Uploads, UploadsOptions } from '../../../filters/media/uploads.ts'
import { Peer, serve, until } from '../../support/peer.ts'
import { filesOf, PNG, png, uploadsOf } from '../../support/uploads.ts'

const WINDOW = 40_000

class Talk {
  readonly replies: Reply[] = []
  readonly files: Saved[] = []
  readonly conversation: Conversation

  constructor(uploads: Uploads | undefined) {
    this.conversation = new Conversation({
      uploads,
      reply: json => this.replies.push(json),
      saved: saved => this.files.push(saved),
    })
  }

  /** Says one thing after the other, as the core would. */
  async say(...messages: readonly (object | readonly [metadata: string, bytes: Buffer])[]): Promise<void> {
    for (const message of messages)
      await (Array.isArray(message)
        ? this.conversation.chunk(message[0], message[1])
        : this.conversation.control(message))
  }

  /** All replies, as soon as there are so many. */
  async get(count: number): Promise<readonly Reply[]> {
    await until(() => this.replies.length >= count, `${count} replies, got ${JSON.stringify(this.replies)}`)
    return this.replies
  }
}

async function talk(t: TestContext, options: Partial<UploadsOptions> = {}) {
  const uploads = await uploadsOf(t, { window: WINDOW, ...options })
  return Object.assign(new Talk(uploads), { uploads })
}

const begin = (id: number, size: number, name = 'a.png') => ({ begin: id, name, size })
const READY = (id: number) => ({ ready: id, window: WINDOW })
const NUMBER = 'an upload has begin, end or cancel with one number from 0 to 99999999'
const BEGIN = 'begin has name and size, or audio with rate and channels, and nothing else'

describe('a file', () => {
  it('is made ready, told at every quarter of the window, and done', async t => {
    const talking = await talk(t)
    await talking.say(begin(1, 50_000, 'Holiday.png'))
    assert.deepEqual(talking.replies, [READY(1)])
    const bytes = png(50_000)
    for (let at = 0; at < bytes.length; at += 5000) {
      await talking.say(['1', bytes.subarray(at, at + 5000)])
      if (at % 10_000 === 5000) await talking.get(1 + (at + 5000) / 10_000)
    }
    const [, ...others] = await talking.get(7)
    const [saved] = talking.files
    assert.deepEqual(others, [
      ...[10_000, 20_000, 30_000, 40_000, 50_000].map(received => ({ progress: 1, received })),
      { done: 1, name: saved!.name, url: `/uploads/${saved!.name}`, size: 50_000 },
    ])
    assert.deepEqual(readFileSync(saved!.path), bytes)
    assert.equal(saved!.original, 'Holiday.png')
  })

  it('may come beside another one', async t => {
    const talking = await talk(t)
    await talking.say(begin(0, PNG.length), begin(99_999_999, 2 * PNG.length))
    await talking.say(['99999999', PNG], ['0', PNG], ['99999999', PNG])
    await talking.get(4)
    assert.deepEqual(talking.files.map(({ size }) => size).sort(), [PNG.length, 2 * PNG.length].sort())
  })

  it('that outruns the disk makes its client wait, and arrives', async t => {
    const { conversation, replies, files } = await talk(t)
    const bytes = png(900_000)
    await conversation.control(begin(1, bytes.length))
    let waits = 0
    for (let at = 0; at < bytes.length; at += 15_000) {
      const wait = conversation.chunk('1', bytes.subarray(at, at + 15_000))
      if (wait !== undefined) waits++
      await wait
    }
    await until(() => files.length === 1)
    assert.ok(waits > 0)
    assert.deepEqual(readFileSync(files[0]!.path), bytes)
    assert.equal(replies.filter(reply => 'refused' in reply).length, 0)
  })

  it('is over when it is cancelled, without a word, and its number and place are free', async t => {
    const talking = await talk(t, { perClient: 1 })
    await talking.say(begin(1, 50_000), ['1', png(20_000)], { cancel: 1 })
    assert.deepEqual(filesOf(talking.uploads), [])
    await talking.say(['1', PNG], { cancel: 1 }, { end: 1 }, begin(1, PNG.length), ['1', PNG])
    await until(() => talking.files.length === 1)
    const words = talking.replies.filter(reply => !('progress' in reply)).map(reply => Object.keys(reply)[0])
    assert.deepEqual(words, ['ready', 'ready', 'done'])
  })

  it('is told once that it is refused; what is on the way then is ignored', async t => {
    const talking = await talk(t)
    await talking.say(begin(1, 50_000, 'a.jpg'), ['1', png(20_000)], ['1', png(20_000)])
    const refused = { refused: 1, reason: 'the content is of type png, the name says jpg', code: 'content' }
    assert.deepEqual(await talking.get(2), [READY(1), refused])
    await talking.say(['1', PNG], ['1', PNG], begin(1, PNG.length), ['1', PNG])
    await until(() => talking.files.length === 1)
    assert.equal(talking.replies.length, 4)
    assert.deepEqual(filesOf(talking.uploads), [talking.files[0]!.name])
  })

  it('is refused before it begins by its name, type and size', async t => {
    const talking = await talk(t)
    await talking.say(begin(1, 10, '../a.png'), begin(2, 10, 'a.exe'), begin(3, 0), begin(4, 2_000_000), begin(5, 0.5))
    assert.deepEqual(
      talking.replies,
      [
        [1, 'a file name has no / and no \\', 'name'],
        [2, 'files of type exe are not taken, only png jpg txt wav bin', 'type'],
        [3, 'a file has 1 to 1000000 bytes', 'size'],
        [4, 'a file has 1 to 1000000 bytes', 'size'],
        [5, 'a file has 1 to 1000000 bytes', 'size'],
      ].map(([refused, reason, code]) => ({ refused, reason, code })),
    )
  })

  it('leaves nothing when its client goes, which is told nothing any more', async t => {
    const talking = await talk(t)
    await talking.say(begin(1, 50_000), ['1', png(5000)])
    const said = talking.replies.length
    await talking.conversation.end()
    assert.deepEqual(filesOf(talking.uploads), [])
    await talking.say(['1', PNG], begin(2, -1))
    assert.equal(talking.replies.length, said)
    assert.deepEqual(talking.files, [])
  })
})

describe('a recording', () => {
  it('is what came until its end', async t => {
    const talking = await talk(t)
    await talking.say({ begin: 2, audio: { rate: 16000, channels: 1 } }, ['2', Buffer.alloc(320)], { end: 2 })
    await talking.get(2)
    const { name, url, size, kind, rate, channels } = talking.files[0]!
    assert.deepEqual({ size, kind, rate, channels }, { size: 364, kind: 'audio', rate: 16000, channels: 1 })
    assert.deepEqual(talking.replies, [READY(2), { done: 2, name, url, size }])
  })
})

describe('a mistake', () => {
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
    [{ end: 1, size: 7 }, 1, 'end has nothing beside its number'],
    [{ why: 'no', cancel: 1 }, 1, 'cancel has nothing beside its number'],
    [{ begin: 1, audio: { rate: 1, channels: 1 } }, 1, 'audio has a rate from 1000 to 192000'],
    [{ begin: 1, audio: { rate: 48000, channels: 0 } }, 1, 'audio has 1 to 8 channels'],
  ] as const) {
    it(`is told: ${JSON.stringify(json)}`, async t => {
      const talking = await talk(t)
      await talking.conversation.control(json)
      assert.deepEqual(talking.replies, refused(id, reason))
    })
  }

  it('is told: a chunk without a number', async t => {
    const talking = await talk(t)
    for (const metadata of ['', 'png', '01', '-1', '1.0', '123456789', '１']) {
      talking.replies.length = 0
      await talking.say([metadata, PNG])
      assert.deepEqual(talking.replies, refused(null, 'a chunk has the number of its upload as its metadata'))
    }
  })

  it('is told once: a chunk, or the end, of what has not begun', async t => {
    const talking = await talk(t)
    await talking.say(['5', PNG], ['5', PNG], { end: 6 }, { end: 6 }, { cancel: 7 })
    assert.deepEqual(
      talking.replies,
      [5, 6, 7].map(id => ({ refused: id, reason: `upload ${id} is not under way`, code: 'lost' })),
    )
  })

  it('ends the upload that it is about: a number that is taken', async t => {
    const talking = await talk(t)
    await talking.say(begin(1, 50_000), ['1', png(5000)], begin(1, 10))
    assert.deepEqual(await talking.get(2), [READY(1), ...refused(1, 'upload 1 has begun already')])
    assert.deepEqual(filesOf(talking.uploads), [])
  })
})

describe('a server without uploads', () => {
  it('says so, once for each upload', async () => {
    const talking = new Talk(undefined)
    await talking.say(begin(1, 10), ['1', PNG], ['1', PNG], ['2', PNG], ['2', PNG])
    assert.deepEqual(
      talking.replies,
      [1, 2].map(id => ({ refused: id, reason: 'this server takes no uploads', code: 'off' })),
    )
    await talking.conversation.end()
  })
})

describe('behind a real server', () => {
  it('a client that sends without looking is read no faster than the disk writes', async t => {
    const talking = await talk(t, { maxBytes: 30_000_000, quota: 30_000_000, window: 1_000_000 })
    const { conversation, files, replies } = talking
    const message = async (payload: string | Buffer) => {
      await (typeof payload === 'string' ? conversation.control(JSON.parse(payload)) : conversation.chunk('1', payload))
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

  it('a connection that is lost leaves nothing', async t => {
    const { conversation, uploads, replies } = await talk(t)
    const server = await serve(t, {
      filters: [
        {
          message: (payload: string | Buffer) =>
            void (typeof payload === 'string'
              ? conversation.control(JSON.parse(payload))
              : conversation.chunk('1', payload)),
          disconnect: () => conversation.end(),
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
