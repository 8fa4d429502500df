import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, readFileSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { pino } from 'pino'
import { UploadError } from '../../../filters/media/upload-error.ts'
import { Uploads, type UploadsOptions } from '../../../filters/media/uploads.ts'
import { folder } from '../../support/cli.ts'
import { until } from '../../support/peer.ts'
import { filesOf, PNG, png, uploadsOf } from '../../support/uploads.ts'

const ANN = {}
const BOB = {}

describe('a folder for uploads', () => {
  const opened = (path: string, more: Partial<UploadsOptions> = {}) =>
    new Uploads({
      folder: path,
      url: '/uploads',
      types: ['png'],
      maxBytes: 1,
      maxFiles: 1,
      quota: 1,
      log: pino({ level: 'silent' }),
      ...more,
    }).open()

  it('is created if its parent exists', async t => {
    const uploads = await uploadsOf(t)
    assert.ok(statSync(uploads.folder).isDirectory())
    assert.deepEqual(filesOf(uploads), [])
  })

  it('has a path without links', async t => {
    const base = folder(t, { 'real/keep.txt': '' })
    symlinkSync(join(base, 'real'), join(base, 'link'))
    assert.equal((await uploadsOf(t, { folder: join(base, 'link') })).folder, join(base, 'real'))
  })

  it('is refused by an option error', async t => {
    const base = folder(t, { file: '' })
    const refusals: readonly (readonly [string, Partial<UploadsOptions>, string])[] = [
      ['no/where', {}, `--media-uploads takes a folder whose parent exists, received "${base}/no/where"`],
      ['file', {}, `--media-uploads takes a folder that exists: ENOTDIR, received "${base}/file"`],
      ['a', { url: 'uploads' }, '--media-upload-url takes a path such as /uploads, received "uploads"'],
      ['a', { url: '/' }, '--media-upload-url takes a path such as /uploads, received "/"'],
      ['a', { url: '/a/../b' }, '--media-upload-url takes a path such as /uploads, received "/a/../b"'],
      ['a', { url: '/a?b' }, '--media-upload-url takes a path such as /uploads, received "/a?b"'],
      [
        'a',
        { types: ['png', '.JPG'] },
        '--media-upload-types takes extensions such as png, in lower case and without a dot, received ".JPG"',
      ],
    ]
    for (const [name, options, message] of refusals)
      await assert.rejects(opened(join(base, name), options), { code: 'ERR_OPTION', message })
  })

  it('must be writable', async t => {
    // Even root cannot write there.
    await assert.rejects(opened('/proc/self'), {
      code: 'ERR_OPTION',
      message: '--media-uploads takes a writable folder: ENOENT, received "/proc/self"',
    })
    if (process.getuid?.() === 0) return t.diagnostic('root can write everywhere: not tested')
    const base = folder(t)
    chmodSync(base, 0o500)
    await assert.rejects(opened(base), {
      message: `--media-uploads takes a writable folder: EACCES, received "${base}"`,
    })
  })

  it('loses parts older than an hour, and no other files', async t => {
    const path = folder(t, { '.part-old': 'x', '.part-new': 'x', 'old.png': 'x', '.hidden': 'x', 'sub/.part-old': 'x' })
    mkdirSync(join(path, '.part-folder'))
    const old = Date.now() / 1000 - 3601
    for (const name of ['.part-old', 'old.png', '.hidden', 'sub/.part-old', '.part-folder'])
      utimesSync(join(path, name), old, old)
    const uploads = await uploadsOf(t, { folder: path })
    assert.deepEqual(filesOf(uploads), ['.hidden', '.part-folder', '.part-new', 'old.png', 'sub'])
    assert.deepEqual(filesOf({ folder: join(path, 'sub') }), ['.part-old'])
  })
})

describe('a file in one message', () => {
  it('is saved under a name that the server chooses, and described', async t => {
    const uploads = await uploadsOf(t, { now: () => Date.UTC(2026, 10, 21, 17, 3, 12, 482), random: () => 0x3f9a1c2e })
    const saved = await uploads.save({ name: 'Holiday.PNG' }, PNG)
    const name = '20261121_170312_482-3f9a1c2e.png'
    assert.deepEqual(saved, {
      name,
      path: join(uploads.folder, name),
      url: `/uploads/${name}`,
      size: PNG.length,
      kind: 'image',
      extension: 'png',
      original: 'Holiday.PNG',
      mime: 'image/png',
    })
    assert.deepEqual(readFileSync(saved.path), PNG)
    assert.equal(statSync(saved.path).mode & 0o777, 0o644)
    assert.deepEqual(filesOf(uploads), [name])
  })

  it('may have an extension in place of a name', async t => {
    const uploads = await uploadsOf(t)
    const { kind, extension, original } = await uploads.save({ extension: 'TXT' }, Buffer.from('hello'))
    assert.deepEqual({ kind, extension, original }, { kind: 'file', extension: 'txt', original: undefined })
  })

  it('with an invalid name, type, size or content is refused and not saved', async t => {
    const uploads = await uploadsOf(t)
    const cases: readonly (readonly [Parameters<Uploads['save']>[0], Buffer, string, string])[] = [
      [{ name: '../a.png' }, PNG, 'name', 'a file name has no / and no \\'],
      [{ name: 'a.svg' }, PNG, 'type', 'files of type svg are not accepted, only png jpg txt wav bin'],
      [{ name: 'a.png.html' }, PNG, 'type', 'files of type html are not accepted, only png jpg txt wav bin'],
      [{ extension: '../x' }, PNG, 'type', 'an extension has 1 to 8 letters or digits'],
      [{ extension: '' }, PNG, 'type', 'an extension has 1 to 8 letters or digits'],
      [{ name: 'a.png' }, Buffer.alloc(0), 'size', 'a file has 1 to 1000000 bytes'],
      [{ name: 'a.png' }, png(1_000_001), 'size', 'a file has 1 to 1000000 bytes'],
      [{ name: 'a.jpg' }, PNG, 'content', 'the content has type png, the extension is jpg'],
      [{ name: 'a.png' }, Buffer.from('<script>'), 'content', 'the content has an unknown type, the extension is png'],
    ]
    for (const [named, bytes, code, reason] of cases) {
      await assert.rejects(uploads.save(named, bytes), error => {
        assert.ok(error instanceof UploadError)
        assert.deepEqual({ code: error.code, reason: error.message }, { code, reason })
        return true
      })
    }
    assert.deepEqual(filesOf(uploads), [])
    await uploads.save({ name: 'a.png' }, png(1_000_000))
  })

  it('gets another name if its own exists, and overwrites no file', async t => {
    let numbers = [7, 7, 7, 8]
    const uploads = await uploadsOf(t, { now: () => 0, random: () => numbers.shift() ?? 9 })
    const [one, two] = await Promise.all(['one', 'two'].map(text => uploads.save({ name: 'a.txt' }, Buffer.from(text))))
    assert.notEqual(one!.name, two!.name)
    assert.deepEqual([readFileSync(one!.path, 'utf8'), readFileSync(two!.path, 'utf8')], ['one', 'two'])
    numbers = Array(8).fill(7)
    await assert.rejects(uploads.save({ name: 'a.txt' }, Buffer.from('three')), {
      code: 'lost',
      message: 'the file could not be written',
    })
    assert.deepEqual(filesOf(uploads), [one!.name, two!.name].sort())
  })
})

describe('an upload in chunks', () => {
  it('is saved with its last byte; chunks of any size are acknowledged in order', async t => {
    const uploads = await uploadsOf(t)
    const bytes = png(100_000)
    const upload = await uploads.begin(ANN, { name: 'a.png', size: bytes.length })
    const received: number[] = []
    for (let at = 0; at < bytes.length; ) {
      const chunk = bytes.subarray(at, at + 1 + (at % 9973))
      at += chunk.length
      upload.write(chunk).then(({ received: count }) => received.push(count))
    }
    const saved = await upload.done
    assert.deepEqual(readFileSync(saved.path), bytes)
    assert.deepEqual(
      received,
      received.toSorted((a, b) => a - b),
    )
    assert.equal(received.at(-1), bytes.length)
    assert.deepEqual(filesOf(uploads), [saved.name])
  })

  it('has no file before its type is known, and no visible file before it is complete', async t => {
    const uploads = await uploadsOf(t)
    const upload = await uploads.begin(ANN, { name: 'a.png', size: 10_000 })
    upload.write(png(4099))
    await upload.drained()
    assert.deepEqual(filesOf(uploads), [])
    await upload.write(Buffer.alloc(1))
    const [part, ...others] = filesOf(uploads)
    assert.match(part!, /^\.part-[0-9a-f-]{36}$/)
    assert.deepEqual(others, [])
    assert.equal(statSync(join(uploads.folder, part!)).mode & 0o777, 0o600)
    upload.write(Buffer.alloc(5900))
    const { name } = await upload.done
    assert.deepEqual(filesOf(uploads), [name])
  })

  it('is refused when its content does not match the extension', async t => {
    const uploads = await uploadsOf(t)
    const upload = await uploads.begin(ANN, { name: 'a.jpg', size: 10_000 })
    const expected = { code: 'content', message: 'the content has type png, the extension is jpg' }
    await Promise.all([assert.rejects(upload.write(png(4100)), expected), assert.rejects(upload.done, expected)])
    await assert.rejects(upload.write(PNG), expected)
    assert.deepEqual(filesOf(uploads), [])
  })

  it('has exactly the announced size', async t => {
    const uploads = await uploadsOf(t)
    const long = await uploads.begin(ANN, { name: 'a.png', size: 5000 })
    await long.write(png(4900))
    await assert.rejects(long.write(Buffer.alloc(101)), {
      code: 'size',
      message: 'the file was announced with 5000 bytes, received more',
    })
    const short = await uploads.begin(ANN, { name: 'a.png', size: 5000 })
    await short.write(png(4900))
    await assert.rejects(short.finish(), { code: 'size', message: 'the file ended after 4900 of 5000 bytes' })
    await Promise.all([long.cancel(), short.cancel()])
    assert.deepEqual(filesOf(uploads), [])
    for (const size of [0, -1, 1.5, Number.NaN, 1_000_001, 2 ** 60])
      await assert.rejects(uploads.begin(ANN, { name: 'a.png', size }), { message: 'a file has 1 to 1000000 bytes' })
  })

  it('is refused if more than the window waits, and continues if it waits for drained()', async t => {
    const uploads = await uploadsOf(t, { window: 10_000 })
    const upload = await uploads.begin(ANN, { name: 'a.png', size: 50_000 })
    upload.write(png(9999))
    assert.equal(upload.shouldPause, false)
    upload.write(Buffer.alloc(5000))
    assert.equal(upload.shouldPause, true)
    await upload.drained()
    assert.equal(upload.shouldPause, false)
    upload.write(Buffer.alloc(10_000))
    await assert.rejects(upload.write(Buffer.alloc(1)), {
      code: 'busy',
      message: 'at most 10000 bytes and 8192 chunks wait for the disk, received more',
    })
    await upload.cancel()
    assert.deepEqual(filesOf(uploads), [])
  })

  it('may come in single bytes, of which at most 8192 wait', async t => {
    const uploads = await uploadsOf(t)
    const bytes = png(20_000)
    const send = async (count: number) => {
      const upload = await uploads.begin(ANN, { name: 'a.png', size: count })
      for (let i = 0; i < count; i++) upload.write(bytes.subarray(i, i + 1))
      return upload.done
    }
    assert.deepEqual(readFileSync((await send(8000)).path), bytes.subarray(0, 8000))
    await assert.rejects(send(20_000), {
      code: 'busy',
      message: 'at most 4194304 bytes and 8192 chunks wait for the disk, received more',
    })
    assert.equal(filesOf(uploads).length, 1)
  })

  it('pauses clients when the chunks of all uploads exceed the memory budget', async t => {
    const uploads = await uploadsOf(t, { memory: 10_000 })
    const [ann, bob] = await Promise.all([ANN, BOB].map(owner => uploads.begin(owner, { name: 'a.png', size: 50_000 })))
    ann!.write(png(20_000))
    assert.deepEqual([ann!.shouldPause, bob!.shouldPause], [true, false])
    bob!.write(png(100))
    assert.equal(bob!.shouldPause, true)
    await ann!.drained()
    assert.deepEqual([ann!.shouldPause, bob!.shouldPause], [false, false])
  })

  it('ends with its client in every state, and leaves no file', async t => {
    const uploads = await uploadsOf(t, { perClient: 9 })
    const begin = () => uploads.begin(ANN, { name: 'a.png', size: 100_000 })
    const waiting = await begin()
    waiting.write(png(100))
    const writing = await begin()
    writing.write(png(50_000))
    const written = await begin()
    await written.write(png(50_000))
    const bobs = await uploads.begin(BOB, { name: 'a.png', size: 5000 })
    const beginning = begin()
    await Promise.all([
      uploads.dropOwner(ANN),
      ...[waiting.done, writing.done, written.done, beginning].map(done =>
        assert.rejects(done, { code: 'lost', message: 'the client has disconnected' }),
      ),
    ])
    assert.deepEqual(filesOf(uploads), [])
    bobs.write(png(5000))
    const { name } = await bobs.done
    assert.deepEqual(filesOf(uploads), [name])
    await uploads.dropOwner(BOB)
  })

  it('ends when only single bytes arrive', async t => {
    const uploads = await uploadsOf(t, { idleMs: 200 })
    const upload = await uploads.begin(ANN, { name: 'a.txt', size: 100_000 })
    let refused: Error | undefined
    upload.done.catch(error => {
      refused = error
    })
    upload.write(Buffer.alloc(5000, 'a'))
    await until(() => {
      if (refused === undefined) upload.write(Buffer.from('a'))
      return refused !== undefined
    })
    assert.equal(refused?.message, 'received less than 16384 bytes in 0.2 s')
  })

  it('ends when no chunk arrives, and its place is free', async t => {
    const uploads = await uploadsOf(t, { idleMs: 1000, perClient: 1 })
    const upload = await uploads.begin(ANN, { name: 'a.png', size: 100_000 })
    await upload.write(png(50_000))
    let refused: Error | undefined
    upload.done.catch(error => {
      refused = error
    })
    await until(() => refused !== undefined)
    assert.equal(refused?.message, 'received less than 16384 bytes in 1 s')
    assert.deepEqual(filesOf(uploads), [])
    await uploads.begin(ANN, { name: 'a.png', size: 1 })
  })

  it('needs one of two places of its client, and one of all places', async t => {
    const uploads = await uploadsOf(t, { perClient: 2, total: 3 })
    const begun = (owner: object) => uploads.begin(owner, { name: 'a.png', size: 5000 })
    const results = await Promise.allSettled([begun(ANN), begun(ANN), begun(ANN), begun(BOB), begun({})])
    assert.deepEqual(
      results.map(result => (result.status === 'fulfilled' ? 'begun' : result.reason.message)),
      [
        'begun',
        'begun',
        '2 uploads of this client are running, try again later',
        'begun',
        '3 uploads are running, try again later',
      ],
    )
    const first = await begun(ANN).catch(error => error.code)
    assert.equal(first, 'busy')
    if (results[0]!.status === 'fulfilled') await results[0]!.value.cancel()
    await begun(ANN)
  })
})

describe('a recording', () => {
  it('becomes a WAV file', async t => {
    const uploads = await uploadsOf(t)
    const upload = await uploads.begin(ANN, { audio: { rate: 44100, channels: 2 } })
    const samples = Buffer.from(Array.from({ length: 4000 }, (_, i) => i % 256))
    assert.deepEqual(await upload.write(samples.subarray(0, 999)), { received: 999 })
    upload.write(samples.subarray(999))
    const { path, name, url, ...rest } = await upload.finish()
    assert.deepEqual(rest, { size: 4044, kind: 'audio', extension: 'wav', rate: 44100, channels: 2 })
    const file = readFileSync(path)
    assert.equal(file.length, 4044)
    assert.deepEqual([file.readUInt32LE(4), file.readUInt32LE(24), file.readUInt32LE(40)], [4036, 44100, 4000])
    assert.deepEqual(file.subarray(44), samples)
    assert.equal((await uploads.save({ name: 'copy.wav' }, file)).mime, 'audio/wav')
  })

  it('has a valid rate, channels, whole samples and a maximum size', async t => {
    const uploads = await uploadsOf(t, { maxBytes: 1000 })
    const begun = (rate: number, channels: number) => uploads.begin(ANN, { audio: { rate, channels } })
    for (const rate of [0, 999, 192_001, 44100.5])
      await assert.rejects(begun(rate, 1), { code: 'format', message: 'audio has a rate from 1000 to 192000' })
    for (const channels of [0, 9, 1.5])
      await assert.rejects(begun(48000, channels), { code: 'format', message: 'audio has 1 to 8 channels' })
    const odd = await begun(48000, 2)
    odd.write(Buffer.alloc(6))
    await assert.rejects(odd.finish(), {
      code: 'content',
      message: 'a recording has a multiple of 4 bytes, received 6',
    })
    await assert.rejects((await begun(48000, 1)).finish(), {
      code: 'size',
      message: 'a file has at least 1 byte, received none',
    })
    const long = await begun(48000, 1)
    await long.write(Buffer.alloc(956))
    await assert.rejects(long.write(Buffer.alloc(2)), { code: 'size', message: 'a file has at most 1000 bytes' })
    await Promise.all([odd.cancel(), long.cancel()])
    assert.deepEqual(filesOf(uploads), [])
    await assert.rejects((await uploadsOf(t, { types: ['png'] })).begin(ANN, { audio: { rate: 48000, channels: 1 } }), {
      code: 'type',
    })
  })
})

describe('the limits of the folder', () => {
  const COUNT = { code: 'count', message: 'the folder has 3 files, the maximum' }
  const QUOTA = { code: 'quota', message: 'all files together have at most 10000 bytes' }

  it('count files, with running uploads and files that existed before', async t => {
    const path = folder(t, { 'there.txt': 'x' })
    const uploads = await uploadsOf(t, { folder: path, maxFiles: 3 })
    const saves = await Promise.allSettled([1, 2, 3, 4, 5].map(() => uploads.save({ name: 'a.png' }, PNG)))
    assert.deepEqual(saves.map(({ status }) => status).toSorted(), [
      'fulfilled',
      'fulfilled',
      'rejected',
      'rejected',
      'rejected',
    ])
    for (const save of saves) if (save.status === 'rejected') assert.equal(save.reason.message, COUNT.message)
    assert.equal(filesOf(uploads).length, 3)
    await assert.rejects(uploads.begin(ANN, { name: 'a.png', size: 1 }), COUNT)
  })

  it('count bytes, with announced ones; a cancelled upload frees its bytes', async t => {
    const uploads = await uploadsOf(t, { quota: 10_000, perClient: 9 })
    await uploads.save({ name: 'a.png' }, png(2000))
    const begun = (size: number) => uploads.begin(ANN, { name: 'a.png', size })
    const [first, ...others] = await Promise.allSettled([begun(8000), begun(8000), begun(1)])
    for (const other of others) assert.equal(other.status === 'rejected' && other.reason.message, QUOTA.message)
    assert.ok(first!.status === 'fulfilled')
    await first.value.write(png(5000))
    await first.value.cancel()
    const again = await begun(8000)
    again.write(png(8000))
    await again.done
    await assert.rejects(begun(1), QUOTA)
  })

  it('bound a recording while it grows', async t => {
    const uploads = await uploadsOf(t, { quota: 10_000 })
    const upload = await uploads.begin(ANN, { audio: { rate: 48000, channels: 1 } })
    await upload.write(Buffer.alloc(9956))
    await assert.rejects(upload.write(Buffer.alloc(2)), QUOTA)
    await upload.cancel()
    assert.deepEqual(filesOf(uploads), [])
    await uploads.save({ name: 'a.png' }, png(10_000))
  })

  it('are counted again every minute and before a refusal, because others may write and delete', async t => {
    let now = Date.now()
    const uploads = await uploadsOf(t, { quota: 10_000, now: () => now })
    writeFileSync(join(uploads.folder, 'other.bin'), Buffer.alloc(9999))
    await uploads.save({ name: 'a.txt' }, Buffer.from('ab'))
    now += 60_000
    await assert.rejects(uploads.save({ name: 'a.txt' }, Buffer.from('ab')), QUOTA)
    writeFileSync(join(uploads.folder, 'other.bin'), '')
    await assert.rejects(uploads.save({ name: 'a.txt' }, Buffer.from('ab')), QUOTA)
    now += 1000
    await uploads.save({ name: 'a.txt' }, Buffer.from('ab'))
  })

  it('count a running upload once when the folder is counted', async t => {
    let now = Date.now()
    const uploads = await uploadsOf(t, { quota: 10_000, now: () => now })
    const upload = await uploads.begin(ANN, { name: 'a.png', size: 6000 })
    await upload.write(png(5000))
    now += 60_000
    await uploads.save({ name: 'a.png' }, png(4000))
    upload.write(Buffer.alloc(1000))
    await upload.done
    now += 60_000
    await assert.rejects(uploads.save({ name: 'a.txt' }, Buffer.from('a')), QUOTA)
  })

  it('are not reduced by writes that fail', async t => {
    const uploads = await uploadsOf(t, { maxFiles: 3 })
    rmSync(uploads.folder, { recursive: true })
    for (let i = 0; i < 4; i++)
      await assert.rejects(uploads.save({ name: 'a.png' }, PNG), {
        code: 'lost',
        message: 'the file could not be written',
      })
    mkdirSync(uploads.folder)
    await uploads.save({ name: 'a.png' }, PNG)
  })
})
