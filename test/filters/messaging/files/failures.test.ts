import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import {
  appendFileSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { Response } from '../../../../filters/messaging/wire/message.ts'
import { folder } from '../../../support/cli.ts'
import { HOSTILE } from '../../../support/hostile-names.ts'
import { framed, headerOf } from '../../../support/messaging.ts'
import {
  asked,
  bytesOf,
  fileDoor,
  filesIn,
  known,
  part,
  partsOf,
  pushed,
  sha256,
  startedOn,
  unfinished,
} from '../../../support/messaging-files.ts'
import { until } from '../../../support/peer.ts'
import { smallDisk } from '../../../support/small-disk.ts'

const MB = bytesOf(1_000_000)
function offsetIn({ value }: Response): unknown {
  return (value as { offset: number }).offset
}

describe('a server that is killed during uploads', () => {
  it('leaves no incomplete file under its name, and its clients continue', async t => {
    const root = folder(t, { 'a.bin': 'old' })
    const first = await startedOn(t, root, [])
    const ann = await known(await first.peer(), 'ann')
    ann.send(...partsOf('a.bin', MB).slice(0, 3))
    await ann.get(3)
    const bob = await first.peer()
    const header = { action: 'filetransfer', filepath: 'b.bin', 'content-type': 'binary', 'content-length': MB.length }
    bob.send(framed(headerOf('', header), MB.subarray(0, 500_000)))
    await until(() => unfinished(root).length === 2)
    await first.server.kill()
    assert.deepEqual(filesIn(root), ['a.bin'])
    assert.equal(readFileSync(join(root, 'a.bin'), 'utf8'), 'old')

    // A write that was running.
    const keyed = unfinished(root).find(name => name.startsWith('key-'))!
    appendFileSync(join(root, '.fws-parts', keyed), MB.subarray(786_432, 800_000))
    const second = await startedOn(t, root, [])
    const back = await known(await second.peer(), 'ann')
    const found = await asked(back, { filepath: 'a.bin', size: MB.length, key: 'k' }, 'fws.part')
    assert.equal(offsetIn(found), 800_000)
    back.send(...partsOf('a.bin', MB, { from: 800_000 }))
    await back.get(2)
    assert.deepEqual(readFileSync(join(root, 'a.bin')), MB)
    await second.server.kill()

    // All bytes were written, but not verified.
    const third = await startedOn(t, root, [])
    const third1 = await known(await third.peer(), 'ann')
    third1.send(part('1', 'c', { offset: 0, size: 3, key: 'c' }, Buffer.from('ab')))
    await third1.get(1)
    await third.server.kill()
    const half = unfinished(root).find(name => name.startsWith('key-'))!
    appendFileSync(join(root, '.fws-parts', half), 'c')
    const fourth = await known(await (await startedOn(t, root, [])).peer(), 'ann')
    assert.equal(offsetIn(await asked(fourth, { filepath: 'c', size: 3, key: 'c' }, 'fws.part')), 3)
    const hash = sha256(Buffer.from('abc'))
    fourth.send(part('2', 'c', { offset: 3, size: 3, key: 'c', sha256: hash }, Buffer.alloc(0)))
    await fourth.get(2)
    assert.equal(readFileSync(join(root, 'c'), 'utf8'), 'abc')
  })
})

describe('a full disk', () => {
  it('refuses the file, deletes its part, and releases its quota', async t => {
    const root = smallDisk(t, 1_000_000)
    if (root === undefined) return t.skip('no tmpfs can be mounted')
    const { peer, logged, server } = await fileDoor(t, { messagingRoot: root })
    const ann = await peer()
    ann.send(pushed('a.bin', bytesOf(3_000_000)))
    await until(() => server.counters.drops['file: full'] === 1)
    ann.send(...partsOf('b.bin', bytesOf(3_000_000)))
    await ann.get(12)
    const errors = ann.received.map(said => (said as Response).error)
    const isFull = ({ code, message }: { code: string; message: string }) =>
      `${code}: ${message}` === 'full: the disk is full'
    assert.equal(errors.filter(error => error !== undefined && isFull(error)).length, 1)
    assert.deepEqual([filesIn(root), unfinished(root)], [[], []])
    ann.send(pushed('c.bin', bytesOf(500_000)))
    await until(() => filesIn(root).length === 1)
    const lines = logged.filter(({ level }) => Number(level) >= 50)
    assert.deepEqual(
      lines.map(({ msg, code, err }) => [msg, code, (err as { code: string }).code]),
      [
        ['a file transfer failed', 'full', 'ENOSPC'],
        ['a file transfer failed', 'full', 'ENOSPC'],
      ],
    )
    await server.close()
  })
})

describe('hostile names', () => {
  const names = HOSTILE.flatMap(([, ...names]) => names).filter(name => Buffer.byteLength(name) < 1024 && name !== '')

  it('are used as they are within the root, or are refused', async t => {
    const outer = folder(t)
    const root = join(outer, 'root')
    mkdirSync(join(root, 'in'), { recursive: true })
    const { peer } = await fileDoor(t, { messagingRoot: root })
    const ann = await peer()
    const tried = names.flatMap(name => [name, `in/${name}`])
    const more = [
      '.fws-parts',
      '.FWS-parts/x',
      '.fws\u200b-parts/x',
      '.fws-parts-x',
      '//a',
      'a//b',
      './a',
      'in/../../x',
      '~/x',
    ]
    assert.ok(tried.length > 180)
    let kept = 0
    for (const [i, filepath] of [...tried, ...more].entries()) {
      const size = 1
      ann.send(
        part(`${i}`, filepath, { key: `k${i}`, offset: 0, size, sha256: sha256(Buffer.from('x')) }, Buffer.from('x')),
      )
      const { error } = (await ann.get(i + 1))[i] as Response
      if (error === undefined) {
        kept++
        assert.ok(lstatSync(join(root, filepath)).isFile(), JSON.stringify(filepath))
        assert.ok(
          readdirSync(filepath.startsWith('in/') ? join(root, 'in') : root).includes(filepath.replace('in/', '')),
        )
      } else {
        assert.ok(
          ['path', 'missing'].includes(error.code),
          `${JSON.stringify(filepath)} ${error.code} ${error.message}`,
        )
      }
    }
    assert.deepEqual(readdirSync(outer), ['root'])
    assert.equal(filesIn(root).length, kept + 1)
    assert.ok(kept > 50 && kept < tried.length)
    assert.deepEqual(unfinished(root), [])
  })
})

describe('a path that changes while it is walked', () => {
  it('does not follow a link that is created meanwhile', async t => {
    const outside = folder(t, { a: 'secret' })
    const { root, peer } = await fileDoor(t, { files: { 'in/a': 'open' } })
    const ann = await peer()
    let isOver = false
    // A random number, so that requests do not keep in step with the swaps.
    const turns = async () => {
      for (let left = randomInt(1, 8); left > 0; left--) await new Promise(setImmediate)
    }
    const swapping = (async () => {
      while (!isOver) {
        renameSync(join(root, 'in'), join(root, 'away'))
        symlinkSync(outside, join(root, 'in'))
        await turns()
        unlinkSync(join(root, 'in'))
        renameSync(join(root, 'away'), join(root, 'in'))
        await turns()
      }
    })()
    const seen = new Map<string, number>()
    for (let i = 0; i < 80 || (i < 5000 && (!seen.has('open') || seen.size === 1)); i++) {
      ann.send(pushed('in/b', 'written'))
      const { error, content } = await asked(ann, { filepath: 'in/a' })
      const what = error?.code ?? String(content)
      seen.set(what, (seen.get(what) ?? 0) + 1)
    }
    isOver = true
    await swapping
    assert.deepEqual(readdirSync(outside), ['a'])
    assert.equal(readFileSync(join(outside, 'a'), 'utf8'), 'secret')
    for (const what of seen.keys()) assert.ok(['open', 'path', 'missing'].includes(what), what)
    assert.ok(seen.has('open') && seen.size > 1, JSON.stringify([...seen]))
    writeFileSync(join(root, 'in/a'), 'still here')
  })
})
