import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { fileErrorOf } from '../../../src/kit/files/file-error.ts'
import { FileStore, type FileStoreOptions } from '../../../src/kit/files/store.ts'
import { folder } from '../../support/cli.ts'
import { smallDisk } from '../../support/small-disk.ts'

const LIMITS = { quota: 100, partAge: 60_000 }
const bytes = (count: number) => Buffer.alloc(count, 'x')

async function storeOf(t: TestContext, options: Partial<FileStoreOptions> = {}, files: Record<string, string> = {}) {
  const path = folder(t, files)
  return { path, store: await FileStore.open(path, '--files', { ...LIMITS, ...options }) }
}

const namesOf = (path: string) => readdirSync(path).sort()

describe('a file store', () => {
  for (const [name, make, code] of [
    ['a file', (path: string) => writeFileSync(path, ''), 'ENOTDIR'],
    ['nothing', () => {}, 'ENOENT'],
    ['a link to nothing', (path: string) => symlinkSync('/no/where', path), 'ENOENT'],
    ['a link to itself', (path: string) => symlinkSync(path, path), 'ELOOP'],
    ['a link to a file', (path: string) => symlinkSync('/etc/hostname', path), 'ENOTDIR'],
  ] as const)
    it(`is refused if there is ${name}`, async t => {
      const path = join(folder(t), 'store')
      make(path)
      await assert.rejects(FileStore.open(path, '--files', LIMITS), {
        code: 'ERR_OPTION',
        message: `--files takes a folder that exists: ${code}, received "${path}"`,
      })
    })

  for (const parts of ['folder', 'prefix'] as const) {
    const partsIn = (path: string) =>
      parts === 'folder' ? namesOf(join(path, '.fws-parts')) : namesOf(path).filter(name => name.startsWith('.part-'))

    it(`names a file when it is complete, with parts in a ${parts}`, async t => {
      const { path, store } = await storeOf(t, { parts }, { 'in/b': '' })
      const write = await store.begin({ bytes: 10 })
      await write.append(bytes(4))
      await write.append(bytes(6))
      await write.overwrite(Buffer.from('head'))
      assert.equal(write.size, 10)
      const [part] = partsIn(path)
      assert.match(part!, parts === 'folder' ? /^once-[0-9a-f-]{36}$/ : /^\.part-[0-9a-f-]{36}$/)
      assert.equal(store.space.used.bytes, 10)
      await write.commit('in/a')
      await write.end(false)
      await write.end(true)
      assert.equal(readFileSync(join(path, 'in/a'), 'utf8'), 'headxxxxxx')
      assert.equal(statSync(join(path, 'in/a')).mode & 0o777, 0o644)
      assert.deepEqual(partsIn(path), [])
      assert.deepEqual(store.space.used, { files: 2, bytes: 10 })
    })

    it(`keeps a part that continues, and deletes an expired one, with parts in a ${parts}`, async t => {
      const { path, store } = await storeOf(t, { parts })
      const part = parts === 'folder' ? 'key' : '.part-key'
      const first = await store.begin({ bytes: 10, part })
      await first.append(bytes(4))
      await first.end(true)
      assert.equal(store.space.used.bytes, 4)
      assert.equal(await store.partSize(part), 4)
      const second = await store.begin({ bytes: 10, part })
      assert.equal(second.size, 4)
      assert.equal(store.space.used.bytes, 10)
      await second.end(true)
      const old = Date.now() / 1000 - 61
      const file = join(store.root.partsPath, part)
      utimesSync(file, old, old)
      await store.clean()
      assert.deepEqual(partsIn(path), [])
      assert.equal(await store.partSize(part), 0)
    })
  }

  it('continues a part that is too old, which no count deletes then', async t => {
    const { path, store } = await storeOf(t)
    const first = await store.begin({ bytes: 10, part: 'key' })
    await first.append(bytes(4))
    await first.end(true)
    const old = Date.now() / 1000 - 61
    utimesSync(join(store.root.partsPath, 'key'), old, old)
    const other = await FileStore.open(path, '--root', { quota: 100, partAge: 60_000 })
    const second = await other.begin({ bytes: 10, part: 'key' })
    assert.equal(second.size, 4)
    await second.append(bytes(6))
    await second.commit('a')
    await second.end(false)
    assert.equal(statSync(join(path, 'a')).size, 10)
  })

  it('continues a part also when it has its maximum of files', async t => {
    const { path } = await storeOf(t)
    const options = { quota: 100, maxFiles: 1, partAge: 60_000 }
    const store = await FileStore.open(path, '--root', options)
    const first = await store.begin({ bytes: 10, part: 'key' })
    await first.append(bytes(4))
    await first.end(true)
    const second = await store.begin({ bytes: 10, part: 'key' })
    await assert.rejects(store.begin({ bytes: 1 }), { code: 'count', message: 'the folder has 1 files, the maximum' })
    await second.end(true)
  })

  it('does not create a file before its first bytes', async t => {
    const { path, store } = await storeOf(t)
    const write = await store.begin({ bytes: 10 })
    assert.deepEqual(namesOf(path), [])
    await write.end(false)
    assert.deepEqual(namesOf(path), [])
    assert.equal(store.space.used.bytes, 0)
  })

  it('accepts empty files', async t => {
    const { path, store } = await storeOf(t)
    const write = await store.begin({ bytes: 0 })
    await write.commit('empty')
    await write.end(false)
    assert.equal(statSync(join(path, 'empty')).size, 0)
  })

  it('replaces a file only on request', async t => {
    const { path, store } = await storeOf(t, {}, { a: 'old' })
    const write = await store.begin({ bytes: 3 })
    await write.append(Buffer.from('new'))
    await assert.rejects(write.commit('a', false), { code: 'exists', message: 'a file of this name exists' })
    assert.equal(readFileSync(join(path, 'a'), 'utf8'), 'old')
    await write.commit('b', false)
    await write.end(false)
    const again = await store.begin({ bytes: 5 })
    await again.append(Buffer.from('again'))
    await again.commit('a')
    await again.end(false)
    assert.deepEqual([readFileSync(join(path, 'a'), 'utf8'), readFileSync(join(path, 'b'), 'utf8')], ['again', 'new'])
    await store.space.count()
    assert.deepEqual(store.space.used, { files: 2, bytes: 8 })
  })

  for (const [name, options, begins, error] of [
    ['bytes', {}, [60, 41], { code: 'full', message: 'all files together have at most 100 bytes' }],
    ['files', { maxFiles: 1 }, [1, 1], { code: 'count', message: 'the folder has 1 files, the maximum' }],
    ['files, with those that exist', { maxFiles: 2 }, [1, 1, 1], { code: 'count' }],
    ['bytes at once', {}, [101], { code: 'full' }],
    ['files of no bytes', { maxFiles: 0 }, [0], { code: 'count' }],
  ] as const)
    it(`refuses too many ${name}, and releases the space`, async t => {
      const { store } = await storeOf(t, options)
      const writes = await Promise.all(begins.slice(0, -1).map(bytes => store.begin({ bytes })))
      await assert.rejects(store.begin({ bytes: begins.at(-1)! }), error)
      if (writes.length === 0) return
      await writes[0]!.end(false)
      await store.begin({ bytes: begins.at(-1)! })
    })

  it('grows a reservation up to the limit', async t => {
    const { store } = await storeOf(t)
    const write = await store.begin({ bytes: 44 })
    write.grow(56)
    assert.throws(() => write.grow(1), { code: 'full' })
    assert.equal(store.space.used.bytes, 100)
    await write.end(false)
    assert.equal(store.space.used.bytes, 0)
  })

  it('keeps the bytes before a failed append', async t => {
    const path = smallDisk(t, 65_536)
    if (path === undefined) return t.skip('no tmpfs can be mounted')
    const store = await FileStore.open(path, '--files', { quota: 1e6, partAge: 1000 })
    const write = await store.begin({ bytes: 200_000 })
    await write.append(bytes(10_000))
    const error = await write.append(bytes(190_000)).then(
      () => undefined,
      error => fileErrorOf(error),
    )
    assert.deepEqual([error?.code, error?.message], ['full', 'the disk is full'])
    assert.equal(write.size, 10_000)
    await write.append(bytes(10_000))
    await write.commit('a')
    await write.end(false)
    assert.equal(statSync(join(path, 'a')).size, 20_000)
  })

  it('checks whether it can be written', async t => {
    const { path, store } = await storeOf(t, { parts: 'prefix' })
    await store.probe()
    assert.deepEqual(namesOf(path), [])
    const gone = await FileStore.open('/proc/self', '--files', { ...LIMITS, parts: 'prefix' })
    await assert.rejects(gone.probe(), { code: 'ENOENT' })
  })

  it('deletes no folder and no complete file of any age', async t => {
    const { path, store } = await storeOf(t, { parts: 'prefix' }, { a: 'x', '.hidden': 'x', 'in/.part-old': 'x' })
    mkdirSync(join(path, '.part-folder'))
    const old = Date.now() / 1000 - 61
    for (const name of ['a', '.hidden', 'in/.part-old', '.part-folder']) utimesSync(join(path, name), old, old)
    await store.clean()
    assert.deepEqual(namesOf(path), ['.hidden', '.part-folder', 'a', 'in'])
    assert.deepEqual(namesOf(join(path, 'in')), ['.part-old'])
  })
})

describe('an error of the system', () => {
  const PATH = '/secret/path'
  for (const [code, expected, hasCause] of [
    ['ENOENT', 'missing: there is no such file or folder', false],
    ['ELOOP', 'path: links are not followed', false],
    ['EISDIR', 'path: it is a folder', false],
    ['EACCES', 'refused: the file may not be used', true],
    ['ENOSPC', 'full: the disk is full', true],
    ['EMFILE', 'busy: too many files are open, try again later', true],
    ['EIO', 'failed: the file could not be read or written', true],
  ] as const)
    it(`${code} shows no path to a client`, () => {
      const system = Object.assign(new Error(`${code}: open '${PATH}'`), { code })
      const error = fileErrorOf(system)
      assert.equal(`${error.code}: ${error.message}`, expected)
      assert.equal(error.cause, hasCause ? system : undefined)
      assert.equal(fileErrorOf(error), error)
    })
})
