import assert from 'node:assert/strict'
import { chmodSync, existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Client } from '../../../../src/contract/client.ts'
import type { FilterModule } from '../../../../src/contract/filter.ts'
import type { Payload } from '../../../../src/contract/payload.ts'
import type { Closed } from '../../../../src/contract/peer.ts'
import { createServer } from '../../../../src/index.ts'
import { folder } from '../../../support/cli.ts'
import { action, building, request, type TcpPeer } from '../../../support/messaging.ts'
import {
  asked,
  begun,
  bytesOf,
  fileDoor,
  filesIn,
  pushed,
  sha256,
  taken,
  unfinished,
} from '../../../support/messaging-files.ts'
import { becomes, until } from '../../../support/peer.ts'

const MB = bytesOf(1_000_000)

describe('files that are sent over TCP', () => {
  it('are written as they arrive, and get their names when they are complete', async t => {
    const { root, peer, server } = await fileDoor(t)
    const ann = await peer()
    ann.send(begun('a.bin', MB.length, MB.subarray(0, 600_000)))
    await until(() => unfinished(root).length === 1, 'a part')
    const [name] = unfinished(root)
    await until(() => readFileSync(join(root, '.fws-parts', name!)).length === 600_000, 'the bytes so far')
    assert.deepEqual(filesIn(root), [])
    ann.send(MB.subarray(600_000))
    await until(() => existsSync(join(root, 'a.bin')))
    assert.deepEqual(readFileSync(join(root, 'a.bin')), MB)
    assert.deepEqual(unfinished(root), [])
    assert.equal(server.counters.messages, 1)
    assert.ok(server.counters.bytesIn < 1000)
  })

  it('leave nothing when the connection is lost', async t => {
    const { root, peer, server } = await fileDoor(t)
    const ann = await peer()
    ann.send(begun('a.bin', MB.length, MB.subarray(0, 600_000)))
    await until(() => unfinished(root).length === 1)
    ann.socket.resetAndDestroy()
    await until(() => server.clients.size === 0 && unfinished(root).length === 0, 'the part to be gone')
    assert.deepEqual(filesIn(root), [])
  })

  for (const [how, isSlow] of [
    ['at once', false],
    ['behind an await', true],
  ] as const) {
    it(`are read and discarded when an earlier filter drops them ${how}, and later messages are handled`, async t => {
      const seen: number[] = []
      const guard: FilterModule = {
        stage: 'guard',
        message(payload: Payload, client: Client) {
          if (!payload.includes('filetransfer')) return
          seen.push(payload.length)
          return isSlow ? sleep(50).then(() => client.drop('no files')) : client.drop('no files')
        },
      }
      const { root, peer } = await fileDoor(t, { guards: [guard], filters: ['echo'] })
      const ann = await peer()
      ann.send(pushed('a.bin', MB), action('message', ['still here']))
      await ann.get(1)
      assert.deepEqual(ann.names, [['message', ['still here']]])
      assert.ok(seen.length === 1 && seen[0]! < 300, `${seen}`)
      assert.deepEqual([filesIn(root), unfinished(root)], [[], []])
    })
  }

  it('are read and discarded without a root', async t => {
    const { peer, server } = await fileDoor(t, { messagingRoot: undefined, filters: ['echo'] })
    const ann = await peer()
    ann.send(pushed('a.bin', MB))
    ann.send(action('message', ['still here']))
    await ann.get(1)
    await until(() => server.counters.drops['file: off'] === 1)
  })

  it('end the connection when they make no progress, as other contents do', async t => {
    const ended: Closed[] = []
    const { root, peer, clientOf } = await fileDoor(t, {
      filters: [{ disconnect: (_: Client, closed: Closed) => void ended.push(closed) }],
      messagingIdle: 0.3,
    })
    const [silent, drips] = [await peer(), await peer()]
    await clientOf(2)
    silent.send(begun('a.bin', MB.length, MB.subarray(0, 600_000)))
    const frame = action('a', ['x'.repeat(100_000)])
    drips.send(frame.subarray(0, 1000))
    const dripping = setInterval(() => drips.socket.write('x'), 20)
    t.after(() => clearInterval(dripping))
    await Promise.all([silent.end(), drips.end()])
    await until(() => ended.length === 2)
    const end = { code: 1008, reason: 'a content did not go on for 0.3 seconds', clean: true }
    assert.deepEqual(ended, [end, end])
    await becomes(() => [filesIn(root), unfinished(root)], [[], []])
  })

  it('have no timeout while they make progress', async t => {
    const { root, peer } = await fileDoor(t, { messagingIdle: 3 })
    const ann = await peer()
    ann.send(begun('a.bin', 120_000, Buffer.alloc(0)))
    for (let i = 0; i < 6; i++) {
      // Together longer than the timeout.
      await sleep(600)
      ann.send(MB.subarray(i * 20_000, (i + 1) * 20_000))
    }
    await until(() => existsSync(join(root, 'a.bin')))
    assert.deepEqual(readFileSync(join(root, 'a.bin')), MB.subarray(0, 120_000))
  })

  it('wait in the socket until there is room', async t => {
    let agree = () => {}
    const agreed = new Promise<void>(resolve => {
      agree = resolve
    })
    const { root, peer } = await fileDoor(t, {
      filters: [building(api => api.onFile(() => agreed))],
      messagingIdle: 3,
    })
    const ann = await peer()
    const large = bytesOf(40_000_000)
    ann.send(pushed('a.bin', large))
    // As much as the system buffers, and longer than the timeout of a content that is read.
    await sleep(3300)
    assert.ok(ann.socket.writableLength > 0)
    agree()
    await until(() => existsSync(join(root, 'a.bin')))
    assert.equal(sha256(readFileSync(join(root, 'a.bin'))), sha256(large))
  })

  it('replace a file in one step, a hundred times in order', async t => {
    const { root, peer } = await fileDoor(t, { files: { 'a.txt': 'old' }, messagingMaxTransfers: 2, filters: ['echo'] })
    const ann = await peer()
    const frames = Array.from({ length: 100 }, (_, i) => [pushed('a.txt', `version ${i}`), pushed(`${i}.txt`, `${i}`)])
    ann.send(...frames.flat())
    await until(() => existsSync(join(root, '99.txt')), 'the last file', 120_000)
    assert.equal(readFileSync(join(root, 'a.txt'), 'utf8'), 'version 99')
    assert.equal(filesIn(root).length, 101)
  })

  it('have one writer per path; a second client is refused', async t => {
    const { root, peer, server } = await fileDoor(t)
    const [ann, bob] = [await peer(), await peer()]
    ann.send(begun('a.bin', MB.length, MB.subarray(0, 500_000)))
    await until(() => unfinished(root).length === 1)
    bob.send(pushed('a.bin', 'from bob'), pushed('b.txt', 'from bob'))
    await until(() => existsSync(join(root, 'b.txt')))
    assert.equal(server.counters.drops['file: busy'], 1)
    ann.send(MB.subarray(500_000))
    await until(() => existsSync(join(root, 'a.bin')))
    assert.deepEqual(readFileSync(join(root, 'a.bin')), MB)
  })

  it('are refused beyond the limit of transfers', async t => {
    const { root, peer, server } = await fileDoor(t, { messagingMaxTransfers: 1 })
    const [ann, bob] = [await peer(), await peer()]
    ann.send(begun('a.bin', MB.length, MB.subarray(0, 500_000)))
    await until(() => unfinished(root).length === 1)
    bob.send(pushed('b.bin', MB))
    await until(() => server.counters.drops['file: busy'] === 1)
    ann.send(MB.subarray(500_000))
    await until(() => existsSync(join(root, 'a.bin')))
    bob.send(pushed('b.bin', MB))
    await until(() => existsSync(join(root, 'b.bin')))
  })

  it('may not exceed the quota together, running transfers included', async t => {
    const { root, peer, server } = await fileDoor(t, {
      files: { there: 'x'.repeat(500_000) },
      filters: [building(api => api.request('saved', () => true))],
      messagingQuota: 2_600_000,
    })
    const peers = await Promise.all([peer(), peer(), peer()])
    for (const [i, ann] of peers.entries()) ann.send(begun(`${i}.bin`, MB.length, MB.subarray(0, 1000)))
    await until(() => server.counters.drops['file: full'] === 1)
    for (const ann of peers) ann.send(MB.subarray(1000))
    /** Waits until the files of a client are saved: until then they count to its share. */
    const saved = async (ann: TcpPeer, count: number) => {
      ann.send(request('saved', `${count}`))
      await ann.get(count)
    }
    for (const ann of peers) await saved(ann, 1)
    assert.equal(filesIn(root).length, 3)
    // The replaced file releases its quota.
    peers[0]!.send(pushed('there', 'x'))
    await saved(peers[0]!, 2)
    assert.equal(readFileSync(join(root, 'there')).length, 1)
    peers[0]!.send(pushed('small', 'x'.repeat(500_000)))
    await saved(peers[0]!, 3)
    assert.ok(filesIn(root).includes('small'))
    assert.deepEqual(unfinished(root), [])
  })

  it('are passed to handlers before and after, and refused by a throw', async t => {
    const heard: unknown[] = []
    const { root, peer, server } = await fileDoor(t, {
      filters: [
        building(api =>
          api.onFile(async (_, file) => {
            heard.push(file)
            if (file.filepath.endsWith('.exe')) throw new Error('no programs')
            if (file.done) throw new Error('too late')
          }),
        ),
      ],
    })
    const ann = await peer()
    ann.send(pushed('a.exe', MB), pushed('a.bin', MB))
    await until(() => heard.length === 3)
    const { size } = { size: MB.length }
    assert.deepEqual(heard, [
      { filepath: 'a.exe', size, direction: 'in', done: false },
      { filepath: 'a.bin', size, direction: 'in', done: false },
      { filepath: 'a.bin', size, direction: 'in', done: true },
    ])
    assert.equal(server.counters.drops['file: refused'], 1)
    assert.deepEqual(filesIn(root), ['a.bin'])
  })
})

describe('the root', () => {
  for (const [what, path] of [
    ['that is not there', 'nowhere'],
    ['that is a file', 'file'],
  ] as const) {
    it(`is refused at start: ${what}`, async t => {
      const messagingRoot = join(folder(t, { file: '' }), path)
      const code = path === 'file' ? 'ENOTDIR' : 'ENOENT'
      await assert.rejects(createServer({ port: 0, logLevel: 'silent', filters: ['messaging'], messagingRoot }), {
        code: 'ERR_OPTION',
        message: `filter messaging: --messaging-root takes a folder that exists: ${code}, received "${messagingRoot}"`,
      })
    })
  }

  it('may be read-only', async t => {
    const { root, peer } = await fileDoor(t, { files: { a: 'a' } })
    mkdirSync(join(root, 'locked'))
    chmodSync(join(root, 'locked'), 0o500)
    const ann = await peer()
    assert.equal(String((await asked(ann, { filepath: 'a' })).content), 'a')
    if (process.getuid?.() === 0) return t.skip('root may write everywhere')
    assert.deepEqual(
      await taken(ann, '1', 'locked/b', { offset: 0, size: 0, sha256: sha256(Buffer.alloc(0)) }, Buffer.alloc(0)),
      ['refused', 'the file may not be used'],
    )
  })
})
