import assert from 'node:assert/strict'
import { rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { FileRoot } from '../../../src/kit/files/root.ts'
import { Space } from '../../../src/kit/files/space.ts'
import { folder } from '../../support/cli.ts'

const FULL = { code: 'full', message: 'all files together have at most 100 bytes' }

/** A limit of 100 bytes, and a clock. */
async function spaceOf(t: TestContext, files: Record<string, string> = {}, share = 1) {
  const path = folder(t, files)
  const clock = { now: Date.now() }
  const space = new Space(await FileRoot.open(path, '--files'), {
    quota: 100,
    share,
    partAge: 60_000,
    now: () => clock.now,
  })
  return { path, clock, space }
}

describe('the space under a root', () => {
  it('is what exists, also in folders, and what is reserved', async t => {
    const { space } = await spaceOf(t, { a: 'x'.repeat(20), 'in/b': 'x'.repeat(30) })
    await space.reserve('one', 40, 0)
    assert.equal(space.used.bytes, 90)
    await assert.rejects(space.reserve('two', 11, 0), FULL)
    await space.reserve('two', 10, 0)
    space.release('one', 0)
    space.release('one', 0)
    assert.equal(space.used.bytes, 60)
    await assert.rejects(Promise.all([space.reserve('three', 25, 0), space.reserve('four', 25, 0)]), FULL)
  })

  it('is granted to one file of a sender completely, to several up to a share of the free space', async t => {
    const { space } = await spaceOf(t, { a: 'x'.repeat(20) }, 1 / 4)
    await space.reserve('one', 15, 0, 'ann')
    await space.reserve('two', 5, 0, 'ann')
    await assert.rejects(space.reserve('three', 1, 0, 'ann'), {
      code: 'busy',
      message: 'the unfinished files of this client reserve too much of the free space, try again later',
    })
    await space.reserve('three', 50, 0, 'bob')
    await space.reserve('four', 5, 0)
    await space.reserve('five', 5, 0)
    await assert.rejects(space.reserve('six', 1, 0, 'ann'), FULL)
    space.release('two', 0)
    space.release('one', 0)
    await space.reserve('six', 20, 0, 'ann')
  })

  it('is counted once for a file that is committed, less the file that it replaces', async t => {
    const { space } = await spaceOf(t, { a: 'x'.repeat(20) })
    await space.reserve('one', 50, 0)
    await space.take('one', async () => 20)
    assert.equal(space.used.bytes, 50)
  })

  it('is not refused while a commit frees it', async t => {
    const { space } = await spaceOf(t, { a: 'x'.repeat(60) })
    await space.reserve('one', 30)
    let place = () => {}
    const taken = space.take('one', () => new Promise(resolve => (place = () => resolve(60))))
    const reserved = space.reserve('two', 70)
    place()
    await Promise.all([taken, reserved])
    assert.equal(space.used.bytes, 100)
  })

  it('is counted once for an upload that continues', async t => {
    const { space } = await spaceOf(t, { '.fws-parts/one': 'x'.repeat(80) })
    await space.reserve('one', 100, 80)
    assert.equal(space.used.bytes, 100)
    space.release('one', 90)
    assert.equal(space.used.bytes, 90)
  })

  it('is measured again before a refusal, without expired uploads', async t => {
    const { space, path, clock } = await spaceOf(t, { a: 'x'.repeat(60), '.fws-parts/old': 'x'.repeat(30) })
    await space.count()
    await assert.rejects(space.reserve('one', 20, 0), FULL)
    rmSync(join(path, 'a'))
    clock.now += 1001
    await space.reserve('one', 20, 0)
    assert.equal(space.used.bytes, 50)
    clock.now += 60_001
    writeFileSync(join(path, '.fws-parts/one'), 'x')
    await space.count()
    assert.equal(space.used.bytes, 20)
    assert.throws(() => statSync(join(path, '.fws-parts/old')), { code: 'ENOENT' })
    assert.equal(statSync(join(path, '.fws-parts/one')).size, 1)
  })
})
