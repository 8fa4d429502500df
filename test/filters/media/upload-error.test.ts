import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { UploadError, uploadErrorOf } from '../../../filters/media/upload-error.ts'
import { FileError } from '../../../src/kit/files/file-error.ts'
import { LimitError } from '../../../src/kit/limiter.ts'

describe('an error of the system', () => {
  it('has one of three codes for clients', () => {
    const shown = (code: string) => {
      const refused = uploadErrorOf(Object.assign(new Error(`${code}: /secret/path`), { code }))
      return `${refused.code}: ${refused.message}`
    }
    assert.equal(shown('ENOSPC'), 'quota: the disk is full')
    assert.equal(shown('EDQUOT'), 'quota: the disk is full')
    assert.equal(shown('EMFILE'), 'busy: too many files are open, try again later')
    assert.equal(shown('EIO'), 'lost: the file could not be written')
  })

  for (const [error, expected, hasCause] of [
    [
      new FileError('full', 'all files together have at most 9 bytes'),
      'quota: all files together have at most 9 bytes',
      false,
    ],
    [
      new FileError('count', 'the folder has 9 files, the maximum'),
      'count: the folder has 9 files, the maximum',
      false,
    ],
    [new LimitError('2 uploads are under way'), 'busy: 2 uploads are under way', false],
    [new FileError('path', 'the path is not a regular file'), 'lost: the file could not be written', true],
    [new Error('/secret/path'), 'lost: the file could not be written', true],
    [undefined, 'lost: the file could not be written', false],
    [new UploadError('name', 'a file needs a name'), 'name: a file needs a name', false],
  ] as const)
    it(`is ${expected}`, () => {
      const refused = uploadErrorOf(error)
      assert.equal(`${refused.code}: ${refused.message}`, expected)
      assert.equal(refused.cause !== undefined, hasCause)
    })
})
