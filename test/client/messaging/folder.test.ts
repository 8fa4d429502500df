import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { folder as open } from '../../../client/messaging/folder.ts'
import { folder } from '../../support/cli.ts'
import { sha256 } from '../../support/file-station.ts'
import { until } from '../../support/peer.ts'

const bytes = (text: string) => new Uint8Array(Buffer.from(text))
const hash = sha256(Buffer.from('abcdef'))
const upload = { filepath: 'a', key: 'k', size: 6 }

describe('an upload to a folder', () => {
  it('continues in another process, and gets its name with the last part', async t => {
    const path = folder(t)
    const first = await open(path)
    assert.equal(await first.find(upload), 0)
    await first.take(upload, 0, bytes('abc'), undefined)
    assert.deepEqual(readdirSync(path), ['.fws-parts'])
    const second = await open(path)
    assert.equal(await second.find(upload), 3)
    await second.take(upload, 3, bytes('def'), hash)
    assert.equal(readFileSync(join(path, 'a'), 'utf8'), 'abcdef')
    assert.deepEqual(readdirSync(join(path, '.fws-parts')), [])
  })

  it('is complete after a lost response, unless the file was replaced', async t => {
    const path = folder(t)
    const received: string[] = []
    const files = await open(path, { onFile: filepath => received.push(filepath) })
    for (let i = 0; i < 2; i++) {
      await files.take(upload, 0, bytes('abcdef'), hash)
      assert.equal(await files.find(upload), 6)
      await files.take(upload, 6, bytes(''), hash)
      writeFileSync(join(path, 'a'), 'other')
      assert.equal(await files.find(upload), 0)
    }
    assert.deepEqual(received, ['a', 'a'])
  })

  it('refuses another part, too many bytes, and another hash, after which it starts again', async t => {
    const files = await open(folder(t), { maxFile: 6 })
    const take = async (offset: number, text: string, sha?: string) => files.take(upload, offset, bytes(text), sha)
    await assert.rejects(take(3, 'def'), { code: 'offset', message: 'the next part begins at 0, received 3' })
    await take(0, 'abc')
    await assert.rejects(take(0, 'abc'), { code: 'offset', message: 'the next part begins at 3, received 0' })
    await assert.rejects(take(3, 'defg'), { code: 'too-large', message: 'the file has 6 bytes, received 7' })
    assert.equal(await files.find(upload), 3)
    await assert.rejects(take(3, 'def', sha256(Buffer.from('other'))), { code: 'corrupt' })
    assert.equal(await files.find(upload), 0)
    await assert.rejects(take(0, 'abcdef'), { code: 'corrupt' })
    const large = async () => files.take({ ...upload, size: 7 }, 0, bytes('a'), undefined)
    await assert.rejects(large, { code: 'too-large', message: 'a file has at most 6 bytes' })
  })

  it('is refused above the quota, and leaves no part', async t => {
    const path = folder(t, { other: 'x'.repeat(5) })
    const files = await open(path, { quota: 10 })
    await assert.rejects(async () => files.take(upload, 0, bytes('abc'), undefined), { code: 'full' })
    await assert.rejects(async () => files.save('a', bytes('abcdef')), { code: 'full' })
    assert.deepEqual(readdirSync(join(path, '.fws-parts')), [])
  })

  it('reserves its space until it is complete', async t => {
    const path = folder(t)
    const files = await open(path, { quota: 10 })
    const other = { filepath: 'b', key: 'l', size: 6 }
    await files.take(upload, 0, bytes('abc'), undefined)
    await assert.rejects(async () => files.take(other, 0, bytes('abc'), undefined), { code: 'full' })
    await files.take(upload, 3, bytes('def'), hash)
    assert.deepEqual(readdirSync(join(path, '.fws-parts')), [])
    await assert.rejects(async () => files.take(other, 0, bytes('abc'), undefined), { code: 'full' })
  })

  it('goes on while other uploads come between its parts', async t => {
    const path = folder(t)
    const files = await open(path)
    const uploads = Array.from({ length: 12 }, (_, i) => ({ ...upload, filepath: `f${i}`, key: `k${i}` }))
    for (const text of ['abc', 'def'])
      for (const one of uploads) await files.take(one, text === 'abc' ? 0 : 3, bytes(text), hash)
    assert.deepEqual(
      uploads.map(({ filepath }) => readFileSync(join(path, filepath), 'utf8')),
      uploads.map(() => 'abcdef'),
    )
  })

  it('of one file does not wait for the handler of another', async t => {
    let finish: (() => void) | undefined
    const slow = () =>
      new Promise<void>(resolve => {
        finish = resolve
      })
    const files = await open(folder(t), { onFile: filepath => (filepath === 'a' ? slow() : undefined) })
    const first = files.save('a', bytes('abc'))
    await until(() => finish !== undefined, 'the handler')
    await files.save('b', bytes('abc'))
    finish!()
    await first
  })

  it('does not send paths of this machine in the error of its handler', async t => {
    const files = await open(folder(t), { onFile: () => readFileSync('/none/secret') })
    await assert.rejects(async () => files.save('a', bytes('abc')), { code: 'failed', message: 'file a failed' })
  })
})
