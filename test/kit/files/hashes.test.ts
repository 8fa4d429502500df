import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { FileHashes } from '../../../src/kit/files/hashes.ts'
import { FileRoot } from '../../../src/kit/files/root.ts'
import { folder } from '../../support/cli.ts'

const BUSY = { code: 'busy', message: '64 files wait, try again later' }

describe('hashes', () => {
  it('are computed once per version, two at a time, and waiting clients can abort', async t => {
    const path = folder(t, { a: 'abc' })
    const root = await FileRoot.open(path, '--files')
    const hashes = new FileHashes()
    const file = await root.file('a')
    t.after(() => file.close())
    const all = await Promise.allSettled(Array.from({ length: 67 }, () => hashes.of(file)))
    const right = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
    assert.equal(all.filter(one => one.status === 'fulfilled' && one.value === right).length, 66)
    await assert.rejects(Promise.reject((all[66] as PromiseRejectedResult).reason), BUSY)
    assert.equal(await hashes.of(file, AbortSignal.abort()), right)
    writeFileSync(join(path, 'a'), 'abd')
    await assert.rejects(new FileHashes().of(file), { code: 'changed' })
    await assert.rejects(new FileHashes().of(file, AbortSignal.abort(new Error('enough'))), { message: 'enough' })
  })
})
