import assert from 'node:assert/strict'
import { readFileSync, truncateSync, unlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { building, framed, headerOf, request, response } from '../../../support/messaging.ts'
import {
  asked,
  bare,
  bytesOf,
  fileDoor,
  filesIn,
  known,
  last,
  part,
  partsOf,
  sha256,
  taken,
  unfinished,
} from '../../../support/messaging-files.ts'
import { until } from '../../../support/peer.ts'

const MB = bytesOf(1_000_000)

describe('files that are sent in parts', () => {
  it('are answered part by part, verified and committed', async t => {
    const { root, peer } = await fileDoor(t, { files: { 'paths/old': '' } })
    const ann = await peer()
    const parts = partsOf('paths/a.bin', MB)
    ann.send(...parts)
    const answers = await ann.get(parts.length)
    assert.deepEqual(
      answers.map(said => ({ ...said, value: { ...(said as { value: object }).value } })),
      [262_144, 524_288, 786_432, 1_000_000].map((offset, i) => ({
        type: 'response',
        name: 'filetransfer',
        id: `${i * 262_144}`,
        value: { offset },
      })),
    )
    assert.deepEqual(readFileSync(join(root, 'paths/a.bin')), MB)
    assert.deepEqual(unfinished(root), [])
    ann.send(...partsOf('empty', Buffer.alloc(0)))
    await ann.get(5)
    assert.equal(readFileSync(join(root, 'empty')).length, 0)
    // The last answer was lost: the file is not committed again.
    assert.equal((await asked(ann, { filepath: 'empty', size: 0, key: 'k' }, 'fws.part')).error, undefined)
    const found = await asked(ann, { filepath: 'paths/a.bin', size: MB.length, key: 'k' }, 'fws.part')
    assert.equal((found.value as { offset: number }).offset, MB.length)
    const again = { offset: MB.length, size: MB.length, sha256: sha256(MB) }
    assert.deepEqual(await taken(ann, 'x', 'paths/a.bin', again, Buffer.alloc(0)), bare({ offset: MB.length }))
    assert.deepEqual(unfinished(root), [])
  })

  it('are passed to handlers once when the last part is sent twice', async t => {
    const heard: boolean[] = []
    const { peer } = await fileDoor(t, {
      filters: [building(api => api.onFile((_client, { done }) => void heard.push(done)))],
    })
    const ann = await peer()
    const file = Buffer.from('take off')
    const part = { offset: 0, size: file.length, sha256: sha256(file) }
    await taken(ann, '0', 'a', part, file)
    const again = { ...part, offset: file.length }
    assert.deepEqual(await taken(ann, '0', 'a', again, Buffer.alloc(0)), bare({ offset: file.length }))
    assert.deepEqual(heard, [false, true])
  })

  it('are received again when the file was deleted or replaced', async t => {
    const { root, peer } = await fileDoor(t)
    const ann = await peer()
    const file = Buffer.from('take off')
    const named = { filepath: 'a', size: file.length, key: 'k' }
    for (const change of [() => unlinkSync(join(root, 'a')), () => writeFileSync(join(root, 'a'), 'no way!!')]) {
      const part = { offset: 0, size: file.length, sha256: sha256(file) }
      assert.deepEqual(await taken(ann, '0', 'a', part, file), bare({ offset: file.length }))
      assert.deepEqual((await asked(ann, named, 'fws.part')).value, bare({ offset: file.length }))
      change()
      const again = { offset: file.length, size: file.length, sha256: sha256(file) }
      assert.deepEqual(await taken(ann, 'x', 'a', again, Buffer.alloc(0)), [
        'offset',
        `the next part begins at 0, received ${file.length}`,
      ])
      assert.deepEqual((await asked(ann, named, 'fws.part')).value, bare({ offset: 0 }))
    }
    ann.send(...partsOf('a', file))
    await until(() => readFileSync(join(root, 'a'), 'utf8') === 'take off')
  })

  it('continue on another connection', async t => {
    const { root, peer, server } = await fileDoor(t, { messagingAskId: true })
    const ann = await known(await peer(), 'ann')
    ann.send(...partsOf('a.bin', MB).slice(0, 2))
    await ann.get(2)
    ann.socket.destroy()
    await until(() => server.clients.size === 0)
    const again = await known(await peer(), 'ann')
    const named = { filepath: 'a.bin', size: MB.length, key: 'k' }
    assert.deepEqual((await asked(again, named, 'fws.part')).value, bare({ offset: 524_288 }))
    assert.deepEqual((await asked(again, { ...named, key: 'other' }, 'fws.part')).value, bare({ offset: 0 }))
    again.send(...partsOf('a.bin', MB, { from: 524_288 }))
    await again.get(4)
    assert.deepEqual(readFileSync(join(root, 'a.bin')), MB)
  })

  it('of a client without id and identity belong to its connection', async t => {
    const { root, peer, server } = await fileDoor(t)
    const [ann, eve] = [await peer(), await peer()]
    const [first] = partsOf('a.bin', MB)
    ann.send(first!)
    await ann.get(1)
    const named = { filepath: 'a.bin', size: MB.length, key: 'k' }
    assert.deepEqual((await asked(eve, named, 'fws.part')).value, bare({ offset: 0 }))
    assert.deepEqual((await asked(ann, named, 'fws.part')).value, bare({ offset: 262_144 }))
    ann.socket.destroy()
    await until(() => server.clients.size === 1 && unfinished(root).length === 0, 'nothing of it')
    eve.send(...partsOf('a.bin', MB))
    await until(() => filesIn(root).length === 1)
  })

  it('belong to their sender, which may continue them after a reconnect', async t => {
    const { server, peer } = await fileDoor(t, { messagingAskId: true })
    const come = async (id: string) => {
      const ann = await peer()
      const [question] = await ann.get(1)
      const known = () => [...server.clients.values()].filter(({ state }) => state.messaging !== undefined).length
      const before = known()
      ann.send(response('id', (question as { id: string }).id, id))
      await until(() => known() > before)
      return ann
    }
    const named = { filepath: 'a.bin', size: MB.length, key: 'k' }
    const [first, second] = partsOf('a.bin', MB)
    const [ann, bob] = [await come('ann'), await come('bob')]
    ann.send(first!)
    await ann.get(2)
    assert.deepEqual((await asked(bob, named, 'fws.part')).value, bare({ offset: 0 }))
    bob.send(first!)
    await bob.get(3)
    assert.deepEqual(last(bob), ['busy', 'another client writes this file, try again later'])
    const back = await come('ann')
    assert.deepEqual((await asked(back, named, 'fws.part')).value, bare({ offset: 262_144 }))
    ann.send(second!)
    await ann.get(3)
    assert.deepEqual(last(ann), ['busy', 'another connection continues this upload'])
    back.send(second!)
    await back.get(3)
    assert.deepEqual(last(back), bare({ offset: 524_288 }))
  })

  it('are refused with a wrong offset, size or hash', async t => {
    const { root, peer } = await fileDoor(t, { messagingMaxFile: 2_000_000 })
    const ann = await peer()
    const size = 10
    assert.deepEqual(await taken(ann, '1', 'a', { offset: 3, size }, Buffer.alloc(3)), [
      'offset',
      'the next part begins at 0, received 3',
    ])
    assert.deepEqual(await taken(ann, '2', 'a', { offset: 0, size }, Buffer.alloc(11)), [
      'too-large',
      'the file has 10 bytes, received 11',
    ])
    assert.deepEqual(await taken(ann, '3', 'a', { key: 'l', offset: 0, size: 3_000_000 }, Buffer.alloc(11)), [
      'too-large',
      'a file has at most 2000000 bytes',
    ])
    assert.deepEqual(await taken(ann, '4', 'b', { offset: 0, size: 1_000_000 }, MB.subarray(0, 300_000)), [
      'too-large',
      'a part has at most 262144 bytes, received 300000',
    ])
    assert.deepEqual(await taken(ann, '5', 'c', { offset: 0, size: 1 }, Buffer.from('c')), [
      'corrupt',
      'the last part has no sha256 of the file',
    ])
    const wrong = sha256(Buffer.from('d'))
    assert.deepEqual(await taken(ann, '6', 'c', { offset: 0, size: 1, sha256: wrong }, Buffer.from('c')), [
      'corrupt',
      `the file has the sha256 ${sha256(Buffer.from('c'))}, not ${wrong}`,
    ])
    assert.deepEqual(filesIn(root), [])
  })

  for (const [what, header, why] of [
    [
      'a key that is a path',
      { key: '../x', offset: 0, size: 1 },
      'key matches /^[A-Za-z0-9_-]{1,64}$/, received "../x"',
    ],
    ['a negative offset', { key: 'k', offset: -1, size: 1 }, 'offset is a number of bytes, received -1'],
    ['no size', { key: 'k', offset: 0 }, 'size is a number of bytes, received undefined'],
    ['no hash', { key: 'k', offset: 0, size: 1, sha256: 'x' }, 'sha256 matches /^[0-9a-f]{64}$/, received "x"'],
  ] as const) {
    it(`end the connection with ${what}`, async t => {
      const { peer, logged } = await fileDoor(t)
      const ann = await peer()
      const fields = { action: 'filetransfer', filepath: 'a', 'content-type': 'binary', 'content-length': 1, ...header }
      ann.send(framed(headerOf('', fields), 'x'))
      await ann.end()
      assert.ok(logged.some(({ msg }) => msg === `messaging client refused: ${why}`))
    })
  }

  it('close the upload without progress, and continue its part later', async t => {
    const { root, peer } = await fileDoor(t, { messagingIdle: 1, messagingMaxTransfers: 1 })
    const [ann, bob] = [await peer(), await peer()]
    ann.send(partsOf('a.bin', MB)[0]!)
    await ann.get(1)
    await until(async () => {
      const count = bob.received.length
      bob.send(...partsOf('a.bin', Buffer.from('b'), { key: 'b' }))
      await bob.get(count + 1)
      return !Array.isArray(last(bob))
    }, 'its place')
    ann.send(...partsOf('a.bin', MB, { from: 262_144 }))
    await ann.get(4)
    assert.deepEqual(readFileSync(join(root, 'a.bin')), MB)
  })

  it('are verified while other clients request hashes of huge files', async t => {
    const { root, peer } = await fileDoor(t, { files: { huge: '' }, messagingQuota: 2 ** 42 })
    truncateSync(join(root, 'huge'), 2 ** 40)
    const [ann, ...others] = [await peer(), await peer(), await peer()]
    for (const other of others) {
      other.send(request('time', 't'), request('fws.hash', 'h', [], { filepath: 'huge' }))
      await other.get(1)
    }
    ann.send(...partsOf('a.bin', Buffer.from('a')))
    await ann.get(1)
    assert.deepEqual(last(ann), bare({ offset: 1 }))
    for (const other of others) assert.equal(other.received.length, 1)
  })

  it('are closed if they send only empty parts', async t => {
    const { peer } = await fileDoor(t, { messagingIdle: 1, messagingMaxTransfers: 1 })
    const [ann, bob] = [await peer(), await peer()]
    const empty = () => ann.send(part('x', 'a.bin', { offset: 0, size: 9 }, Buffer.alloc(0)))
    empty()
    await ann.get(1)
    const drip = setInterval(empty, 20)
    t.after(() => clearInterval(drip))
    await until(async () => {
      const count = bob.received.length
      bob.send(part('y', 'b.bin', { key: 'b', offset: 0, size: 9 }, Buffer.alloc(1)))
      await bob.get(count + 1)
      return !Array.isArray(last(bob))
    }, 'its place')
  })

  it('of one client may use an eighth of the transfers, and a quarter of the quota', async t => {
    const { peer } = await fileDoor(t, { messagingMaxTransfers: 16, messagingQuota: 4_000_000 })
    const [ann, bob] = [await peer(), await peer()]
    const begin = (name: string, size: number) => [name, name, { offset: 0, size }, Buffer.alloc(1)] as const
    assert.deepEqual(await taken(ann, ...begin('a', 2_000_000)), bare({ offset: 1 }))
    assert.deepEqual(await taken(ann, ...begin('b', 2_000_000)), [
      'busy',
      'the unfinished files of this client reserve too much of the free space, try again later',
    ])
    assert.deepEqual(await taken(bob, ...begin('c', 400_000)), bare({ offset: 1 }))
    assert.deepEqual(await taken(bob, ...begin('d', 1000)), bare({ offset: 1 }))
    const busy = ['busy', '2 files of this client are running, try again later']
    assert.deepEqual(await taken(bob, ...begin('e', 1000)), busy)
    bob.socket.destroy()
    assert.deepEqual(await taken(await peer(), ...begin('e', 1000)), bare({ offset: 1 }))
  })

  it('are deleted when they are too old, also at start', async t => {
    const { root, peer, server } = await fileDoor(t, { messagingAskId: true })
    const ann = await known(await peer(), 'ann')
    ann.send(partsOf('a.bin', MB)[0]!)
    await ann.get(1)
    ann.socket.destroy()
    await until(() => server.clients.size === 0)
    await server.close()
    const start = () => fileDoor(t, { messagingRoot: root })
    await start()
    const [name] = unfinished(root)
    assert.notEqual(name, undefined)
    const old = Date.now() / 1000 - 3601
    utimesSync(join(root, '.fws-parts', name!), old, old)
    await start()
    assert.deepEqual(unfinished(root), [])
  })
})
