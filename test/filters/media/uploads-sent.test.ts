import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import type { Media } from '../../../filters/media/message.ts'
import type { Client, Message } from '../../../src/contract/client.ts'
import type { Payload } from '../../../src/contract/payload.ts'
import { folder, refusal } from '../../support/cli.ts'
import { envelope, opened, vector } from '../../support/media.ts'
import { Peer, serve, until } from '../../support/peer.ts'
import { PNG, png } from '../../support/uploads.ts'

const [TEXT, FILE, UPLOAD, CHUNK] = [1, 3, 6, 7] as const
const NAME = /^\d{8}_\d{6}_\d{3}-[\da-f]{8}\.\w+$/

/** A server that saves files, records what filters get, and broadcasts it. */
async function saving(t: TestContext, options: object = {}) {
  const root = folder(t, { 'index.html': 'page' })
  const uploads = join(root, 'uploads')
  const seen: (readonly [Payload, Media])[] = []
  const recorder = { message: (payload: Payload, _: Client, { media }: Message) => void seen.push([payload, media!]) }
  const { url, counters } = await serve(t, {
    filters: ['media', recorder, 'broadcast', 'pages'],
    pagesRoot: root,
    mediaUploads: uploads,
    ...options,
  })
  const get = (path: string, init?: RequestInit) => fetch(new URL(path, url.replace('ws:', 'http:')), init)
  const files = () => readdirSync(uploads)
  return { root, uploads, files, seen, get, drops: counters.drops, open: () => Peer.open(url) }
}

const control = (json: object) => envelope(UPLOAD, JSON.stringify(json))
/** The server's messages about uploads. */
function replies(peer: Peer) {
  const said = peer.received.map(opened).filter(({ type }) => type === UPLOAD)
  return said.map(({ said }) => JSON.parse(String(said)))
}
const alerts = (peer: Peer) =>
  peer.received.map(opened).flatMap(({ type, said }) => (type === 0 && said.alert ? [said.alert.message] : []))

describe('media with a folder for uploads', () => {
  it('saves an image of one message before filters get it, and serves it', async t => {
    const { open, seen, uploads, get } = await saving(t)
    const [ann, bob] = [await open(), await open()]
    ann.send(vector('c2s/image png'))
    const [got] = await bob.get(1)
    assert.deepEqual(opened(got).said, PNG)
    const [[payload, { path, url, mime, kind, metadata }]] = seen as [(typeof seen)[0]]
    assert.deepEqual([payload, kind, metadata, mime], [PNG, 'image', 'png', 'image/png'])
    assert.match(url!, /^\/uploads\/\d{8}_\d{6}_\d{3}-[\da-f]{8}\.png$/)
    assert.equal(path, join(uploads, url!.slice('/uploads/'.length)))
    const answer = await get(url!)
    assert.deepEqual(Buffer.from(await answer.arrayBuffer()), PNG)
    assert.equal(answer.headers.get('content-type'), 'image/png')
    assert.match(answer.headers.get('content-security-policy')!, /^sandbox/)
    assert.equal((await get('/')).status, 200)
    assert.equal((await get('/uploads/nothing.png')).status, 404)
    assert.equal((await get(url!, { method: 'DELETE' })).status, 405)
  })

  it('serves files in a sandbox only, even if the folder is in that of the pages', async t => {
    const { open, get, files } = await saving(t, { mediaUploadTypes: ['html'], pagesVar: ['secret=5'] })
    const peer = await open()
    peer.send(envelope(FILE, '<p>{{ secret }}</p>', 'html'))
    await until(() => files().length === 1)
    const [name] = files()
    for (const path of [`/uploads//${name}`, `/%75ploads/${name}`, `/%75ploads//${name}`]) {
      const answer = await get(path)
      assert.match(answer.headers.get('content-security-policy')!, /^sandbox/, path)
      assert.ok(['not found\n', '<p>{{ secret }}</p>'].includes(await answer.text()), path)
    }
  })

  it('gives files of the same second different names, and saves none without an extension', async t => {
    const { open, files, seen } = await saving(t)
    const peer = await open()
    for (const name of ['c2s/file upload', 'c2s/file upload', 'c2s/file without', 'odd/timestamp'])
      peer.send(vector(name))
    await until(() => seen.length === 4)
    assert.equal(files().length, 3)
    assert.deepEqual(
      seen.map(([payload, { path }]) => [String(payload), path === undefined]),
      [
        ['hi', false],
        ['hi', false],
        ['hi', true],
        ['abc', false],
      ],
    )
  })

  it('refuses files that do not match their type with an alert, and does not save them', async t => {
    const { open, files, seen } = await saving(t, { mediaUploadSize: 100 })
    const peer = await open()
    peer.send(vector('c2s/metadata path'))
    peer.send(vector('c2s/metadata longer'))
    peer.send(vector('c2s/bad image'))
    peer.send(envelope(FILE, '<script>', 'html'))
    peer.send(envelope(FILE, PNG, 'jpg'))
    peer.send(envelope(FILE, 'x'.repeat(101), 'txt'))
    await until(() => alerts(peer).length === 6)
    const only = 'only png jpg jpeg gif webp bmp tiff webm mp4 mp3 wav ogg pdf txt csv json md'
    assert.deepEqual(alerts(peer), [
      'an extension has 1 to 8 letters or digits',
      `files of type abcdefgh are not accepted, ${only}`,
      'a message of kind image has no image of a known type',
      `files of type html are not accepted, ${only}`,
      'the content has type png, the extension is jpg',
      'a file has 1 to 100 bytes',
    ])
    assert.deepEqual([files(), seen], [[], []])
  })

  it('saves a file in chunks between other messages, and passes it to filters when it is complete', async t => {
    const { open, files, seen, uploads, get } = await saving(t)
    const [ann, bob] = [await open(), await open()]
    const bytes = png(9_000_000)
    ann.send(control({ begin: 7, name: 'Holiday.png', size: bytes.length }))
    await until(() => replies(ann).length === 1)
    assert.deepEqual(replies(ann), [{ ready: 7, window: 4_194_304 }])
    for (let at = 0; at < bytes.length; at += 250_000) {
      ann.send(envelope(CHUNK, bytes.subarray(at, at + 250_000), '7'))
      if (at === 1_000_000) ann.send(envelope(TEXT, 'meanwhile'))
    }
    await until(() => replies(ann).some(reply => 'done' in reply))
    const [, ...others] = replies(ann)
    const { done, name, url, size } = others.pop()
    assert.deepEqual([done, size, url], [7, bytes.length, `/uploads/${name}`])
    assert.match(name, NAME)
    const progress = others.map(({ progress, received }) => [progress, received])
    assert.ok(progress.length >= 2)
    assert.deepEqual(
      progress,
      progress.map(([, received]) => [7, received]).sort(([, a], [, b]) => a! - b!),
    )
    const [text, file] = (await bob.get(2)).map(opened)
    assert.equal(text!.said, 'meanwhile')
    const about = { file: { name, url, size, kind: 'image', original: 'Holiday.png' } }
    assert.deepEqual(JSON.parse(file!.said), about)
    const [payload, media] = seen.at(-1)!
    assert.deepEqual(JSON.parse(String(payload)), about)
    assert.deepEqual(
      [media.kind, media.size, media.original, media.mime, media.path],
      ['upload', size, 'Holiday.png', 'image/png', join(uploads, name)],
    )
    assert.deepEqual(files(), [name])
    assert.equal(Buffer.compare(readFileSync(join(uploads, name)), bytes), 0)
    assert.equal((await get(url)).headers.get('content-length'), `${size}`)
  })

  it('does not parse commands of more than 8192 bytes', async t => {
    const { open } = await saving(t)
    const ann = await open()
    ann.send(envelope(UPLOAD, JSON.stringify({ begin: 1, name: 'a.txt', size: 3 }).padEnd(8193)))
    ann.send(envelope(UPLOAD, JSON.stringify({ begin: 1, name: 'a.txt', size: 3 }).padEnd(8192)))
    await ann.get(2)
    const reason = 'an upload command has begin, end or cancel with a number from 0 to 99999999'
    assert.deepEqual(replies(ann), [
      { refused: null, reason, code: 'format' },
      { ready: 1, window: 4_194_304 },
    ])
  })

  it('saves a recording as WAV', async t => {
    const { open, seen, get } = await saving(t)
    const peer = await open()
    peer.send(control({ begin: 2, audio: { rate: 16_000, channels: 1 } }))
    peer.send(envelope(CHUNK, new Uint8Array(Int16Array.of(1, 2, 3).buffer), '2'))
    peer.send(envelope(CHUNK, new Uint8Array(Int16Array.of(4).buffer), '2'))
    peer.send(control({ end: 2 }))
    await until(() => seen.length === 1)
    const { kind, rate, channels, size, url } = seen[0]![1]
    assert.deepEqual([kind, rate, channels, size], ['upload', 16_000, 1, 52])
    const answer = await get(url!)
    const wav = Buffer.from(await answer.arrayBuffer())
    assert.deepEqual([String(wav.subarray(0, 4)), wav.readUInt32LE(24), wav.readUInt32LE(40)], ['RIFF', 16_000, 8])
    assert.deepEqual(wav.subarray(44), Buffer.from(Int16Array.of(1, 2, 3, 4).buffer))
  })

  it('deletes the upload of a client that disconnects', async t => {
    const { open, files, seen } = await saving(t)
    const peer = await open()
    peer.send(control({ begin: 1, name: 'a.png', size: 100_000 }))
    peer.send(envelope(CHUNK, png(50_000), '1'))
    await until(() => files().length === 1)
    assert.match(files()[0]!, /^\.part-/)
    peer.ws.terminate()
    await until(() => files().length === 0)
    assert.deepEqual(seen, [])
  })

  it('ends an upload if the ids of its messages have a gap', async t => {
    const guard = {
      message: (payload: Payload, client: Client) => (payload.length === 1032 ? client.drop('rate') : undefined),
    }
    const root = folder(t)
    const { url } = await serve(t, { filters: [guard, 'media'], mediaUploads: join(root, 'uploads') })
    const peer = await Peer.open(url)
    let id = 0
    peer.send(envelope(UPLOAD, JSON.stringify({ begin: 1, audio: { rate: 8000, channels: 1 } }), '', id++))
    peer.send(envelope(TEXT, Buffer.from([0xff]), '', id++))
    for (const size of [2000, 1000, 2000]) peer.send(envelope(CHUNK, Buffer.alloc(size), '1', id++))
    peer.send(envelope(UPLOAD, JSON.stringify({ end: 1 }), '', id++))
    await until(() => replies(peer).length === 2)
    assert.deepEqual(replies(peer)[1], {
      refused: 1,
      reason: 'a message of this client was dropped, perhaps by a rate limit',
      code: 'lost',
    })
    await until(() => readdirSync(join(root, 'uploads')).length === 0)
  })

  it('serves scripts and styles as plain text', async t => {
    const { open, get, seen } = await saving(t, { mediaUploadTypes: ['js', 'css'] })
    const peer = await open()
    for (const type of ['js', 'css']) peer.send(envelope(FILE, 'a()', type))
    await until(() => seen.length === 2)
    for (const [, { url }] of seen)
      assert.equal((await get(url!)).headers.get('content-type'), 'text/plain; charset=utf-8')
  })

  it('refuses a chunk that is larger than the window', async t => {
    const { open } = await saving(t)
    const peer = await open()
    peer.send(control({ begin: 1, name: 'a.png', size: 9_000_000 }))
    peer.send(envelope(CHUNK, png(4_194_305), '1'))
    await until(() => replies(peer).length === 2)
    assert.deepEqual(replies(peer)[1], { refused: 1, reason: 'a chunk has at most 4194304 bytes', code: 'size' })
  })

  it('counts refused uploads, and limits them by --media-upload-parallel', async t => {
    const { open, drops } = await saving(t, { mediaUploadParallel: 1 })
    const peer = await open()
    peer.send(control({ begin: 1, name: 'a.png', size: 100 }))
    peer.send(control({ begin: 2, name: 'b.png', size: 100 }))
    await until(() => replies(peer).length === 2)
    assert.deepEqual(
      replies(peer).map(({ ready, refused, code }) => [ready, refused, code]),
      [
        [1, undefined, undefined],
        [undefined, 2, 'busy'],
      ],
    )
    assert.equal(drops['upload refused'], 1)
  })

  it('without a folder refuses uploads in chunks, and passes files of one message', async t => {
    const { url } = await serve(t, { filters: ['media', 'echo'] })
    const peer = await Peer.open(url)
    peer.send(control({ begin: 1, name: 'a.png', size: 100 }))
    peer.send(envelope(CHUNK, 'x', '9'))
    peer.send(envelope(FILE, 'hi', 'txt'))
    await peer.get(3)
    assert.deepEqual(replies(peer), [
      { refused: 1, reason: 'this server does not accept uploads', code: 'off' },
      { refused: 9, reason: 'this server does not accept uploads', code: 'off' },
    ])
    assert.deepEqual(opened(peer.received[2]).said, Buffer.from('hi'))
  })

  it('does not start with an invalid folder, path or type', async t => {
    const cwd = folder(t, { 'file.txt': '' })
    mkdirSync(join(cwd, 'dir'))
    const refused = (...args: string[]) => refusal(['-f', 'media', ...args], { cwd })
    assert.match(
      await refused('--media-uploads', 'file.txt'),
      /^filter media: --media-uploads takes a folder that exists: ENOTDIR, received "/,
    )
    assert.match(await refused('--media-uploads', 'no/such/place'), /^filter media: --media-uploads /)
    assert.match(
      await refused('--media-uploads', 'dir', '--media-upload-url', 'uploads'),
      /^filter media: --media-upload-url takes a path such as \/uploads, received "uploads"/,
    )
    assert.match(
      await refused('--media-uploads', 'dir', '--media-upload-types', '.PNG'),
      /^filter media: --media-upload-types takes extensions such as png, .* received ".PNG"/,
    )
  })
})
