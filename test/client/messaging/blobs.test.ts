import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { type BlobOptions, blobs, connectMessaging, type MessagingOptions } from '../../../client/messaging/node.ts'
import { fileStation, type Received, sha256 } from '../../support/file-station.ts'
import { until } from '../../support/peer.ts'

const PART = 256 * 1024

/** A page that shares files, and functions that send it requests and files. */
async function shared(t: TestContext, options: BlobOptions | undefined) {
  const station = await fileStation(t)
  const settings: MessagingOptions = { firstDelay: 10, maxDelay: 20, ...(options && { files: blobs(options) }) }
  const page = connectMessaging(station.url, settings)
  t.after(() => page.close())
  const line = await station.line()
  let count = 0

  /** The value, or the code of the error. */
  const resultOf = ({ json, header, bytes }: Received) => {
    const { code } = Object(header.error)
    return code ?? (header['content-type'] === 'json' ? json.value : { ...fieldsOf(header), bytes })
  }
  return {
    page,
    line,
    async request(name: string, kwargs: object) {
      const id = `r${++count}`
      const content = JSON.stringify({ requested_value: name, request_id: id, args: [], kwargs })
      return resultOf(await line.request({ 'message-type': 'request' }, content, id))
    },
    async push(fields: object, bytes: Uint8Array) {
      const id = `m${++count}`
      return resultOf(await line.request({ action: 'filetransfer', request_id: id, ...fields }, Buffer.from(bytes), id))
    },
  }
}

function fieldsOf({ offset, size, version }: Received['header']) {
  return { offset, size, version }
}

const letters = (length: number) => Buffer.alloc(length, 'abcdefg')

describe('files that the server sends to a page', () => {
  it('arrive as Blobs when they are complete, and once', async t => {
    const received: { filepath: string; blob: Blob }[] = []
    const { request, push } = await shared(t, { take: file => void received.push(file) })
    const file = letters(PART + 10)
    const upload = { filepath: 'a/b', key: 'k', size: file.length }
    const last = { ...upload, offset: PART, sha256: sha256(file) }
    assert.deepEqual(await request('fws.part', upload), { offset: 0 })
    assert.deepEqual(await push({ ...upload, offset: 0 }, file.subarray(0, PART)), { offset: PART })
    assert.deepEqual(await request('fws.part', upload), { offset: PART })
    assert.equal(await push({ ...upload, offset: 5 }, file.subarray(5)), 'offset')
    assert.equal(received.length, 0)
    assert.deepEqual(await push(last, file.subarray(PART)), { offset: PART + 10 })
    // The response was lost.
    assert.deepEqual(await request('fws.part', upload), { offset: PART + 10 })
    assert.deepEqual(await push({ ...last, offset: PART + 10 }, letters(0)), { offset: PART + 10 })
    assert.deepEqual(
      received.map(({ filepath }) => filepath),
      ['a/b'],
    )
    assert.deepEqual(Buffer.from(await received[0]!.blob.arrayBuffer()), file)
  })

  it('do not retain their frames', async () => {
    let blob: Blob | undefined
    const files = await blobs({
      take: received => {
        blob = received.blob
      },
    })()
    const upload = { filepath: 'a', key: 'k', size: 3 }
    const frames = [...'abc'].map(letter => new TextEncoder().encode(`${'header'.repeat(10_000)}${letter}`))
    for (const [offset, frame] of frames.entries()) {
      await files.take(upload, offset, frame.subarray(frame.length), undefined)
      const isLast = offset === 2
      if (isLast) for (const kept of frames.slice(0, 2)) kept.fill(0)
      await files.take(upload, offset, frame.subarray(-1), isLast ? sha256(Buffer.from('abc')) : undefined)
    }
    assert.equal(await blob!.text(), 'abc')
  })

  it('can be empty, and can arrive in one frame as from clever-show', async t => {
    const received: string[] = []
    const { push, line } = await shared(t, {
      take: async ({ filepath, blob }) => void received.push(`${filepath} ${await blob.text()}`),
    })
    assert.deepEqual(
      await push({ filepath: 'empty', key: 'k', size: 0, offset: 0, sha256: sha256(letters(0)) }, letters(0)),
      { offset: 0 },
    )
    line.send({ action: 'filetransfer', filepath: 'whole' }, letters(3))
    await until(() => received.length === 2)
    assert.deepEqual(received, ['empty ', 'whole abc'])
  })

  it('are refused by path, size and hash, and by the callback', async t => {
    const received: string[] = []
    const { request, push } = await shared(t, {
      maxBytes: 10,
      take: ({ filepath }) => {
        if (filepath === 'no') throw Object.assign(new Error('not this one'), { code: 'refused' })
        received.push(filepath)
      },
    })
    const whole = { key: 'k', size: 3, offset: 0, sha256: sha256(letters(3)) }
    const paths = ['', '.', '..', '/a', 'a/', 'a//b', 'a/../b', './a', 'a\\b', 'a\0', 'a\nb', 'a'.repeat(1025), 7, null]
    for (const filepath of paths) assert.equal(await push({ ...whole, filepath }, letters(3)), 'path', `${filepath}`)
    for (const filepath of ['..a', 'a/..b', 'a..', '...', 'ж/ a', 'a'.repeat(1024)])
      assert.deepEqual(await push({ ...whole, filepath }, letters(3)), { offset: 3 }, filepath)
    assert.equal(received.length, 6)
    assert.equal(await push({ ...whole, filepath: 'a', key: 'k/' }, letters(3)), 'failed')
    assert.equal(await push({ ...whole, filepath: 'a', size: -1 }, letters(3)), 'failed')
    assert.equal(await push({ ...whole, filepath: 'a', size: 2 }, letters(3)), 'too-large')
    assert.equal(await push({ ...whole, filepath: 'a', size: 11 }, letters(3)), 'too-large')
    assert.equal(await request('fws.part', { filepath: 'a', size: 11, key: 'k' }), 'too-large')
    assert.equal(await push({ filepath: 'a' }, letters(11)), 'too-large')
    assert.equal(await push({ ...whole, filepath: 'b' }, Buffer.from('abd')), 'corrupt')
    assert.equal(await push({ ...whole, filepath: 'c', sha256: undefined }, letters(3)), 'corrupt')
    assert.equal(await push({ ...whole, filepath: 'no' }, letters(3)), 'refused')
    assert.equal(await push({ ...whole, filepath: 'no' }, letters(3)), 'refused')
    assert.equal(received.length, 6)
  })

  it('arrive eight at a time; the one that is idle for longest starts again', async t => {
    const { push, request } = await shared(t, { take: () => {} })
    const begin = (key: string) => push({ filepath: 'a', key, size: 4, offset: 0 }, letters(2))
    const sizeOf = (key: string) => request('fws.part', { filepath: 'a', key, size: 4 })
    for (const key of 'abcdefgh') assert.deepEqual(await begin(key), { offset: 2 })
    assert.deepEqual(await push({ filepath: 'a', key: 'a', size: 4, offset: 2 }, letters(1)), { offset: 3 })
    assert.deepEqual(await begin('i'), { offset: 2 })
    assert.deepEqual(await sizeOf('a'), { offset: 3 })
    assert.deepEqual(await sizeOf('b'), { offset: 0 })
    assert.deepEqual(await sizeOf('c'), { offset: 2 })
  })
})

describe('files that the server requests from a page', () => {
  it('are sent in parts, with a version and a hash', async t => {
    let content = letters(10)
    const { request } = await shared(t, { give: filepath => (filepath === 'a' ? new Blob([content]) : undefined) })
    const part = (offset: number, length: number) => request('filetransfer', { filepath: 'a', offset, length })
    const version = sha256(content)
    assert.deepEqual(await part(0, 4), { offset: 0, size: 10, version, bytes: Buffer.from('abcd') })
    assert.deepEqual(await part(8, 4), { offset: 8, size: 10, version, bytes: Buffer.from('bc') })
    assert.deepEqual(await request('fws.hash', { filepath: 'a', version }), { sha256: version })
    content = letters(PART * 2)
    const { bytes, version: next } = await part(0, PART * 2)
    assert.deepEqual([next, bytes.length], [sha256(content), PART])
    assert.equal(await request('fws.hash', { filepath: 'a', version }), 'changed')
    assert.equal(await request('filetransfer', { filepath: 'b', offset: 0, length: 1 }), 'missing')
    assert.equal(await request('filetransfer', { filepath: '../a', offset: 0, length: 1 }), 'path')
    assert.equal(await part(-1, 1), 'failed')
    assert.equal(await part(0, 0.5), 'failed')
  })

  it('are sent in one response as for clever-show, if they fit', async t => {
    const { request } = await shared(t, {
      give: filepath => new Blob([letters(filepath === 'large' ? 2 ** 24 + 1 : 7)]),
    })
    assert.deepEqual((await request('filetransfer', { filepath: 'a' })).bytes, letters(7))
    assert.equal(await request('filetransfer', { filepath: 'large' }), 'too-large')
  })
})

it('a client without shared files responds `off`', async t => {
  for (const options of [undefined, {}]) {
    const { request, push } = await shared(t, options)
    const upload = { filepath: 'a', key: 'k', size: 1 }
    assert.equal(await request('fws.part', upload), 'off')
    assert.equal(await push({ ...upload, offset: 0 }, letters(1)), 'off')
    assert.equal(await push({ filepath: 'a' }, letters(1)), 'off')
    const missing = options === undefined ? 'off' : 'missing'
    assert.equal(await request('filetransfer', { filepath: 'a' }), missing)
    assert.equal(await request('fws.hash', { filepath: 'a', version: '1' }), missing)
  }
})
