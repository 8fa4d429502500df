import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { PartFile } from '../../../src/kit/files/part-file.ts'
import { namesIn } from '../../../src/kit/files/path.ts'
import { FileRoot } from '../../../src/kit/files/root.ts'
import { folder } from '../../support/cli.ts'

describe('a path', () => {
  const ONES = 'a path is relative, with names between single slashes, none of them . or ..'
  for (const [filepath, why] of [
    ['', 'a path is a string, received ""'],
    [undefined, 'a path is a string, received undefined'],
    ['/etc/passwd', `${ONES}, received "/etc/passwd"`],
    ['a/../b', `${ONES}, received "a/../b"`],
    ['a//b', `${ONES}, received "a//b"`],
    ['.', `${ONES}, received "."`],
    ['a/', `${ONES}, received "a/"`],
    ['a\\b', 'a path has no control characters and no \\, received "a\\\\b"'],
    ['a\0', 'a path has no control characters and no \\, received "a\\u0000"'],
    ['a\ud800', 'a path has no half characters (unpaired surrogates), received "a\\ud800"'],
    ['x'.repeat(1025), `a path has at most 1024 characters, received "${'x'.repeat(60)}..."`],
    ['.FWS-Parts/x', 'a path does not begin with .fws-parts, received ".FWS-Parts/x"'],
  ] as const) {
    it(`is refused: ${String(filepath).slice(0, 20)}`, () => {
      assert.throws(() => namesIn(filepath), { code: 'path', message: why })
    })
  }

  it('may have other characters of common file names', () => {
    for (const filepath of ['a', 'a/b/c.csv', '.hidden', 'a b/полёт.csv', 'a/.fws-parts', '..a', 'x'.repeat(1024)])
      assert.deepEqual(namesIn(filepath), filepath.split('/'))
  })
})

describe('a root', () => {
  it('stays in the opened folder when its path is replaced', async t => {
    const outside = folder(t, { a: 'secret' })
    const path = folder(t, { 'in/a': 'open' })
    const root = await FileRoot.open(path, '--files')
    const temp = new PartFile(root, 'once-x')
    await temp.open()
    await temp.append(Buffer.from('written'))
    const text = await root.within(['in'], async inner => {
      renameSync(join(path, 'in'), join(path, 'away'))
      symlinkSync(outside, join(path, 'in'))
      const file = await open(`${inner.entry}/a`)
      const read = await file.readFile('utf8')
      await file.close()
      return read
    })
    assert.equal(text, process.platform === 'linux' ? 'open' : text)
    await assert.rejects(root.place('once-x', 'in/a', true), { code: 'ENOTDIR' })
    await temp.discard()
    assert.equal(readFileSync(join(outside, 'a'), 'utf8'), 'secret')
    assert.deepEqual(readdirSync(join(path, '.fws-parts')), [])
  })

  it('opens no pipe or folder, and does not replace them', async t => {
    const path = folder(t, { 'in/a': '' })
    execFileSync('mkfifo', [join(path, 'pipe')])
    const root = await FileRoot.open(path, '--files')
    const temp = new PartFile(root, 'once-x')
    await temp.open()
    for (const filepath of ['pipe', 'in']) {
      const why = { code: 'path', message: 'the path is not a regular file' }
      await assert.rejects(root.file(filepath), why)
      await assert.rejects(root.check(filepath), why)
      await assert.rejects(root.place('once-x', filepath, true), why)
      await assert.rejects(root.place('once-x', filepath, false), {
        code: 'exists',
        message: 'a file of this name exists',
      })
    }
    await temp.discard()
  })

  it('writes no upload through a link, and follows no link to uploads', async t => {
    const outside = folder(t, { a: 'secret' })
    const path = folder(t)
    const root = await FileRoot.open(path, '--files')
    mkdirSync(join(path, '.fws-parts'))
    symlinkSync(join(outside, 'a'), join(path, '.fws-parts/key-x'))
    await assert.rejects(new PartFile(root, 'key-x').open(), { code: 'ELOOP' })
    renameSync(join(path, '.fws-parts'), join(path, 'other'))
    symlinkSync(outside, join(path, '.fws-parts'))
    await assert.rejects(new PartFile(root, 'a').open(), { code: 'ENOTDIR' })
    assert.equal(readFileSync(join(outside, 'a'), 'utf8'), 'secret')
  })

  it('changes the version of a file when it changes, also with equal size and time', async t => {
    const path = folder(t, { a: 'abc' })
    const root = await FileRoot.open(path, '--files')
    const versions = new Set<string>()
    for (const text of ['abc', 'abd', 'abd']) {
      const file = await root.file('a')
      versions.add(file.version)
      await file.close()
      execFileSync('touch', ['-d', '2026-01-01', join(path, 'a')])
      writeFileSync(join(path, 'a'), text)
      execFileSync('touch', ['-d', '2026-01-01', join(path, 'a')])
    }
    assert.equal(versions.size, 3)
  })
})
