import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { link } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { placeNew } from '../../../src/kit/files/place.ts'
import { folder } from '../../support/cli.ts'

const failing = (code: string) => () => Promise.reject(Object.assign(new Error(code), { code }))

for (const [system, makeLink] of [
  ['with links', link],
  ['without links', failing('EPERM') as typeof link],
] as const) {
  describe(`committing an upload, on a system ${system}`, () => {
    const parts = (t: TestContext) => {
      const path = folder(t, { '.part-1': 'one', '.part-2': 'two' })
      return { path, give: (part: string) => placeNew(join(path, part), join(path, 'a.txt'), makeLink) }
    }

    it('gives it its name', async t => {
      const { path, give } = parts(t)
      assert.equal(await give('.part-1'), true)
      assert.deepEqual(readdirSync(path), ['.part-2', 'a.txt'])
    })

    it('does not overwrite files', async t => {
      const { path, give } = parts(t)
      await give('.part-1')
      assert.equal(await give('.part-2'), false)
      assert.equal(readFileSync(join(path, 'a.txt'), 'utf8'), 'one')
      assert.deepEqual(readdirSync(path), ['.part-2', 'a.txt'])
    })

    it('commits one of two concurrent uploads to a name', async t => {
      const { path, give } = parts(t)
      const results = await Promise.all(['.part-1', '.part-2'].map(give))
      assert.deepEqual(results.toSorted(), [false, true])
      const [left] = readdirSync(path).filter(name => name !== 'a.txt')
      assert.equal(left, results[0] ? '.part-2' : '.part-1')
      assert.equal(readFileSync(join(path, 'a.txt'), 'utf8'), results[0] ? 'one' : 'two')
    })
  })
}

describe('committing an upload', () => {
  it('fails with the error of the system', async t => {
    const path = folder(t, { '.part-1': 'one' })
    await assert.rejects(placeNew(join(path, '.part-1'), join(path, 'a.txt'), failing('EIO') as typeof link), {
      code: 'EIO',
    })
    assert.deepEqual(readdirSync(path), ['.part-1'])
  })
})
