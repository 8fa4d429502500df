import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Refused, refusedBy } from '../../../filters/media/refused.ts'
import { FileError } from '../../../src/kit/files/file-error.ts'
import { LimitError } from '../../../src/kit/limiter.ts'

describe('what the system says', () => {
  it('is told to clients in three ways', () => {
    const told = (code: string) => {
      const refused = refusedBy(Object.assign(new Error(`${code}: /secret/path`), { code }))
      return `${refused.code}: ${refused.reason}`
    }
    assert.equal(told('ENOSPC'), 'quota: the disk is full')
    assert.equal(told('EDQUOT'), 'quota: the disk is full')
    assert.equal(told('EMFILE'), 'busy: too many files are open, try again later')
    assert.equal(told('EIO'), 'lost: the file could not be written')
  })

  for (const [error, expected, hasCause] of [
    [
      new FileError('full', 'no more than 9 bytes are kept in all'),
      'quota: no more than 9 bytes are kept in all',
      false,
    ],
    [
      new FileError('count', 'there are 9 files, and no more are kept'),
      'count: there are 9 files, and no more are kept',
      false,
    ],
    [new LimitError('2 uploads are under way'), 'busy: 2 uploads are under way', false],
    [new FileError('path', 'what is there is no file'), 'lost: the file could not be written', true],
    [new Error('/secret/path'), 'lost: the file could not be written', true],
    [undefined, 'lost: the file could not be written', false],
    [new Refused('name', 'a file needs a name'), 'name: a file needs a name', false],
  ] as const)
    it(`as ${expected}`, () => {
      const refused = refusedBy(error)
      assert.equal(`${refused.code}: ${refused.reason}`, expected)
      assert.equal(refused.cause !== undefined, hasCause)
    })
})
