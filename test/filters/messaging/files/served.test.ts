import assert from 'node:assert/strict'
import { existsSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { folder } from '../../../support/cli.ts'
import { building, request } from '../../../support/messaging.ts'
import {
  asked,
  bare,
  bytesOf,
  fileDoor,
  filesIn,
  PART,
  partsOf,
  pushed,
  sha256,
} from '../../../support/messaging-files.ts'
import { Peer, until } from '../../../support/peer.ts'

const MB = bytesOf(1_000_000)

describe('files that are requested', () => {
  it('are sent in one frame up to its limit', async t => {
    const large = 'x'.repeat(20_000)
    const { peer } = await fileDoor(t, { files: { 'a/b.csv': '0 1 2', empty: '', large }, messagingMaxWhole: 10_000 })
    const ann = await peer()
    const answer = await asked(ann, { filepath: 'a/b.csv' })
    assert.deepEqual([String(answer.content), answer.part], ['0 1 2', undefined])
    assert.equal(((await asked(ann, { filepath: 'empty' })).content as Buffer).length, 0)
    for (const [filepath, code, message] of [
      ['large', 'too-large', 'a file in one frame has at most 10000 bytes, this has 20000'],
      ['nothing', 'missing', 'there is no such file or folder'],
      ['a', 'path', 'the path is not a regular file'],
      ['a/b.csv/c', 'path', 'a file or a link stands where a folder should be'],
      [7, 'path', 'a path is a string, received 7'],
    ] as const)
      assert.deepEqual((await asked(ann, { filepath })).error, { code, message }, String(filepath))
  })

  it('are sent in parts, with a version and a hash', async t => {
    const { root, peer } = await fileDoor(t)
    writeFileSync(join(root, 'a.bin'), MB)
    const ann = await peer()
    const first = await asked(ann, { filepath: 'a.bin', offset: 0, length: 1_000_000 })
    const { version, ...place } = first.part!
    assert.deepEqual([(first.content as Buffer).length, place], [262_144, { offset: 0, size: MB.length }])
    const end = await asked(ann, { filepath: 'a.bin', offset: 999_000, length: 10_000, version })
    assert.deepEqual(end.content, MB.subarray(999_000))
    const { value } = await asked(ann, { filepath: 'a.bin', version }, 'fws.hash')
    assert.deepEqual(value, bare({ sha256: sha256(MB) }))
    writeFileSync(join(root, 'a.bin'), Buffer.from(MB).fill(1))
    const changed = { code: 'changed', message: 'the file has changed meanwhile' }
    assert.deepEqual((await asked(ann, { filepath: 'a.bin', offset: 0, length: 1, version })).error, changed)
    assert.deepEqual((await asked(ann, { filepath: 'a.bin', version }, 'fws.hash')).error, changed)
    for (const [offset, message] of [
      [MB.length + 1, `the file has ${MB.length} bytes, received offset ${MB.length + 1}`],
      [-1, 'offset is a number of bytes, received -1'],
      ['0', 'offset is a number of bytes, received "0"'],
    ])
      assert.deepEqual((await asked(ann, { filepath: 'a.bin', offset, length: 1 })).error, { code: 'offset', message })
  })

  it('are sent one after the other to a client that reads slowly', async t => {
    const { root, peer, server } = await fileDoor(t, { filters: ['echo'] })
    writeFileSync(join(root, 'a.bin'), bytesOf(3_000_000))
    const ann = await peer()
    ann.socket.pause()
    ann.send(...Array.from({ length: 20 }, (_, i) => request('filetransfer', `${i}`, [], { filepath: 'a.bin' })))
    ann.send(
      ...Array.from({ length: 20 }, (_, i) =>
        request('filetransfer', `p${i}`, [], { filepath: 'a.bin', offset: 0, length: 262_144 }),
      ),
    )
    await until(() => server.counters.messages === 40)
    await sleep(100)
    ann.socket.resume()
    await ann.get(40)
    assert.deepEqual([server.clients.size, server.counters.closes[1013]], [1, undefined])
  })

  for (const [how, kwargs] of [
    ['whole', {}],
    ['in parts', { offset: 0, length: PART }],
  ] as const) {
    it(`end the connection of a client that requests them ${how} and never reads`, async t => {
      const { root, peer, server } = await fileDoor(t, { messagingIdle: 0.1 })
      writeFileSync(join(root, 'a.bin'), bytesOf(10_000_000))
      const ann = await peer()
      ann.socket.pause()
      ann.send(
        ...Array.from({ length: 90 }, (_, i) => request('filetransfer', `${i}`, [], { filepath: 'a.bin', ...kwargs })),
      )
      await until(() => server.counters.closes[1013] === 1)
    })
  }

  it('are passed to handlers, and refused by a throw, in parts too', async t => {
    const heard: string[] = []
    const { peer } = await fileDoor(t, {
      files: { open: 'yes', secret: 'no' },
      filters: [
        building(api =>
          api.onFile((_, { filepath, size, direction, done }) => {
            heard.push(`${filepath} ${size} ${direction} ${done}`)
            if (filepath === 'secret') throw new Error('not for you')
          }),
        ),
      ],
    })
    const ann = await peer()
    const refused = { code: 'refused', message: 'not for you' }
    assert.deepEqual((await asked(ann, { filepath: 'secret' })).error, refused)
    assert.deepEqual((await asked(ann, { filepath: 'secret', offset: 1, length: 1 })).error, refused)
    await asked(ann, { filepath: 'open' })
    await asked(ann, { filepath: 'open', offset: 0, length: 1 })
    await asked(ann, { filepath: 'open', offset: 1, length: 2 })
    await until(() => heard.length === 6)
    assert.deepEqual(heard, [
      'secret 2 out false',
      'secret 2 out false',
      'open 3 out false',
      'open 3 out true',
      'open 3 out false',
      'open 3 out true',
    ])
  })

  it('are not behind links: files, folders, and links back into the root', async t => {
    const outside = folder(t, { secret: 'secret' })
    const { root, peer, server } = await fileDoor(t, { files: { 'in/a': 'a' } })
    symlinkSync(join(outside, 'secret'), join(root, 'file'))
    symlinkSync(outside, join(root, 'out'))
    symlinkSync('in', join(root, 'again'))
    const ann = await peer()
    for (const [filepath, message] of [
      ['file', 'links are not followed'],
      ['out/secret', 'a file or a link stands where a folder should be'],
      ['again/a', 'a file or a link stands where a folder should be'],
    ] as const) {
      assert.deepEqual((await asked(ann, { filepath })).error, { code: 'path', message })
      ann.send(pushed(filepath, 'overwritten'))
    }
    await until(() => server.counters.drops['file: path'] === 3)
    assert.equal(readFileSync(join(outside, 'secret'), 'utf8'), 'secret')
    assert.deepEqual(filesIn(root), ['again', 'file', 'in', 'in/a', 'out'])
  })
})

describe('files over WebSocket', () => {
  it('are sent in one message, and in parts to clients that offer messaging-frames', async t => {
    const { server, root } = await fileDoor(t)
    const ann = await Peer.open(server.url, {}, ['messaging', 'messaging-frames'])
    assert.equal(ann.ws.protocol, 'messaging-frames')
    ann.send(pushed('a.bin', MB))
    ann.send(request('filetransfer', '1', [], { filepath: 'a.bin' }))
    await until(() => existsSync(join(root, 'a.bin')))
    for (const bytes of partsOf('b.bin', MB)) ann.send(bytes)
    await ann.get(5)
    assert.deepEqual(readFileSync(join(root, 'a.bin')), MB)
    assert.deepEqual(readFileSync(join(root, 'b.bin')), MB)
  })
})

describe('files and clients that use JSON text', () => {
  it('do not go together: a request gets an error', async t => {
    const { server } = await fileDoor(t, { files: { a: 'a' } })
    const ann = await Peer.open(server.url, {}, ['messaging'])
    ann.send('{"request": "filetransfer", "id": "1", "kwargs": {"filepath": "a"}}')
    const [answer] = await ann.get(1)
    assert.deepEqual(JSON.parse(String(answer)), {
      response: 'filetransfer',
      id: '1',
      error: { code: 'refused', message: 'a file is sent in a frame: request it in a frame' },
    })
  })
})
