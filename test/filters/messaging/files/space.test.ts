import assert from 'node:assert/strict'
import { rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { Hashes } from '../../../../filters/messaging/files/hashes.ts'
import { Root } from '../../../../filters/messaging/files/root.ts'
import { Space } from '../../../../filters/messaging/files/space.ts'
import { Transfers } from '../../../../filters/messaging/files/transfers.ts'
import { folder } from '../../../support/cli.ts'

const FULL = { code: 'full', message: 'no more than 100 bytes are kept in all' }
const BUSY = { code: 'busy' }

/** Room for 100 bytes, and a clock. */
async function spaceOf(t: TestContext, files: Record<string, string> = {}, share = 1) {
  const path = folder(t, files)
  const clock = { now: Date.now() }
  const space = new Space({ root: await Root.open(path), quota: 100, share, partAge: 60_000, now: () => clock.now })
  return { path, clock, space }
}

describe('the room under a root', () => {
  it('is what is there, in folders too, and what is promised', async t => {
    const { space } = await spaceOf(t, { a: 'x'.repeat(20), 'in/b': 'x'.repeat(30) })
    await space.promise('one', 40, 0)
    assert.equal(space.used, 90)
    await assert.rejects(space.promise('two', 11, 0), FULL)
    await space.promise('two', 10, 0)
    space.release('one', 0)
    space.release('one', 0)
    assert.equal(space.used, 60)
    await assert.rejects(Promise.all([space.promise('three', 25, 0), space.promise('four', 25, 0)]), FULL)
  })

  it('is promised to one file of a sender up to all, to several up to a share of what is free', async t => {
    const { space } = await spaceOf(t, { a: 'x'.repeat(20) }, 1 / 4)
    await space.promise('one', 15, 0, 'ann')
    await space.promise('two', 5, 0, 'ann')
    await assert.rejects(space.promise('three', 1, 0, 'ann'), {
      code: 'busy',
      message: 'files of this client that are under way wait for much of the room, try again later',
    })
    await space.promise('three', 50, 0, 'bob')
    await space.promise('four', 5, 0)
    await space.promise('five', 5, 0)
    await assert.rejects(space.promise('six', 1, 0, 'ann'), FULL)
    space.release('two', 0)
    space.release('one', 0)
    await space.promise('six', 20, 0, 'ann')
  })

  it('is taken once by a file that becomes one, less what it replaces', async t => {
    const { space } = await spaceOf(t, { a: 'x'.repeat(20) })
    await space.promise('one', 50, 0)
    await space.take('one', async () => 20)
    assert.equal(space.used, 50)
  })

  it('is taken once by a part that goes on', async t => {
    const { space } = await spaceOf(t, { '.fws-parts/one': 'x'.repeat(80) })
    await space.promise('one', 100, 80)
    assert.equal(space.used, 100)
    space.release('one', 90)
    assert.equal(space.used, 90)
  })

  it('is looked at anew before a refusal, and forgets parts that are too old', async t => {
    const { space, path, clock } = await spaceOf(t, { a: 'x'.repeat(60), '.fws-parts/old': 'x'.repeat(30) })
    await space.count()
    await assert.rejects(space.promise('one', 20, 0), FULL)
    rmSync(join(path, 'a'))
    clock.now += 1001
    await space.promise('one', 20, 0)
    assert.equal(space.used, 50)
    clock.now += 60_001
    writeFileSync(join(path, '.fws-parts/one'), 'x')
    await space.count()
    assert.equal(space.used, 20)
    assert.throws(() => statSync(join(path, '.fws-parts/old')), { code: 'ENOENT' })
    assert.equal(statSync(join(path, '.fws-parts/one')).size, 1)
  })
})

describe('transfers', () => {
  it('are so many at a time', () => {
    const transfers = new Transfers(2)
    const leave = transfers.enter()
    transfers.enter()
    assert.throws(() => transfers.enter(), BUSY)
    leave()
    leave()
    transfers.enter()
    assert.throws(() => transfers.enter(), BUSY)
  })

  it('are so many of one sender', () => {
    const transfers = new Transfers(3, 1)
    const leave = transfers.enter('ann')
    assert.throws(() => transfers.enter('ann'), {
      code: 'busy',
      message: '1 files of this client are under way, try again later',
    })
    transfers.enter('bob')
    leave()
    leave()
    transfers.enter('ann')
    transfers.enter()
    assert.throws(() => transfers.enter('eve'), { code: 'busy', message: '3 files are under way, try again later' })
  })

  it('of one owner to one path wait for each other, of two they are refused', async () => {
    const transfers = new Transfers(2)
    const owner = {}
    const release = await transfers.write(owner, 'a')
    await assert.rejects(transfers.write({}, 'a'), BUSY)
    await transfers.write({}, 'b')
    const order: string[] = []
    const second = transfers.write(owner, 'a').then(() => order.push('second'))
    await new Promise(setImmediate)
    order.push('released')
    release()
    await second
    release()
    await assert.rejects(transfers.write({}, 'a'), BUSY)
    assert.deepEqual(order, ['released', 'second'])
  })
})

describe('hashes', () => {
  it('are found once for a version, two at a time, with an end to those that wait', async t => {
    const path = folder(t, { a: 'abc' })
    const root = await Root.open(path)
    const hashes = new Hashes()
    const file = await root.file('a')
    t.after(() => file.close())
    const all = await Promise.allSettled(Array.from({ length: 67 }, () => hashes.of(file)))
    const right = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
    assert.equal(all.filter(one => one.status === 'fulfilled' && one.value === right).length, 66)
    await assert.rejects(Promise.reject((all[66] as PromiseRejectedResult).reason), BUSY)
    assert.equal(await hashes.of(file, AbortSignal.abort()), right)
    writeFileSync(join(path, 'a'), 'abd')
    await assert.rejects(new Hashes().of(file), { code: 'changed' })
    await assert.rejects(new Hashes().of(file, AbortSignal.abort(new Error('enough'))), { message: 'enough' })
  })
})
