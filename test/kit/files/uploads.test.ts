import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { IncomingFiles } from '../../../src/kit/files/incoming.ts'
import { FileStore } from '../../../src/kit/files/store.ts'
import { FileUploads, type UploadHooks, type UploadSender } from '../../../src/kit/files/uploads.ts'
import { OwnerLimiter } from '../../../src/kit/limiter.ts'
import { folder } from '../../support/cli.ts'
import { bytesOf, sha256 } from '../../support/messaging-files.ts'
import { until } from '../../support/peer.ts'

const BYTES = bytesOf(10)
const UPLOAD = { part: 'key-a', filepath: 'a', size: BYTES.length }

async function uploads(t: TestContext, { idleTimeout = 60_000, isResumable = true } = {}) {
  const path = folder(t)
  const store = await FileStore.open(path, '--files', { quota: 1000, partAge: 60_000 })
  const limiter = new OwnerLimiter(8, 8, 'files')
  const all = new FileUploads(new IncomingFiles({ store, limiter, maxFile: 100 }), idleTimeout)
  t.after(() => all.close())
  const upload = { ...UPLOAD, isResumable }
  const append = (sender: UploadSender, offset: number, end: number, hooks?: UploadHooks, bytes = BYTES) => {
    const hash = end === bytes.length ? sha256(BYTES) : undefined
    return all.append(upload, sender, { offset, bytes: bytes.subarray(offset, end), sha256: hash }, hooks)
  }
  return { path, all, append, find: (sender: UploadSender) => all.find(upload, sender) }
}

function sender() {
  const gone = new AbortController()
  return { signal: gone.signal, gone }
}

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await undefined
}

const partsIn = (path: string) => readdirSync(join(path, '.fws-parts'))

describe('an upload that ends while it is used', () => {
  it('is continued when it has ended, whenever the next part arrives', async t => {
    for (let count = 0; count < 12; count++) {
      const { path, all, append, find } = await uploads(t)
      const [ann, again] = [sender(), sender()]
      await append(ann, 0, 4)
      assert.equal(await find(again), 4)
      const written = append(again, 4, 10)
      await turns(count)
      await all.close()
      assert.equal(await written, 10, `after ${count} turns`)
      assert.deepEqual(readFileSync(join(path, 'a')), BYTES)
    }
  })

  it('has no bytes when its hash was wrong', async t => {
    for (let count = 0; count < 12; count++) {
      const { append, find } = await uploads(t)
      const ann = sender()
      await append(ann, 0, 4)
      const refused = assert.rejects(append(ann, 4, 10, {}, Buffer.alloc(10)), { code: 'corrupt' })
      await turns(count)
      assert.equal(await find(ann), 0, `after ${count} turns`)
      await refused
    }
  })

  it('is not begun again for a client that has disconnected', async t => {
    const { path, append } = await uploads(t)
    const ann = sender()
    await append(ann, 0, 4)
    const written = append(ann, 4, 8)
    ann.gone.abort()
    assert.equal(await written, 8)
    await assert.rejects(append(ann, 8, 10), { code: 'gone', message: 'the connection has ended' })
    assert.equal(await append(sender(), 8, 10), 10)
    assert.deepEqual(readFileSync(join(path, 'a')), BYTES)
  })
})

describe('an upload', () => {
  it('belongs to the connection that asked for it last', async t => {
    const { append, find } = await uploads(t)
    const [ann, again] = [sender(), sender()]
    const busy = { code: 'busy', message: 'another connection continues this upload' }
    await append(ann, 0, 4)
    await assert.rejects(append(again, 4, 8), busy)
    assert.equal(await find(again), 4)
    await assert.rejects(append(ann, 4, 8), busy)
    ann.gone.abort()
    assert.equal(await append(again, 4, 8), 8)
  })

  it('ends with its connection, and keeps its part only if it is resumable', async t => {
    for (const isResumable of [true, false]) {
      const { path, append, find } = await uploads(t, { isResumable })
      const ann = sender()
      await append(ann, 0, 4)
      ann.gone.abort()
      assert.equal(await find(sender()), isResumable ? 4 : 0)
      assert.equal(partsIn(path).length, isResumable ? 1 : 0)
    }
  })

  it('without progress is closed, and another connection continues it', async t => {
    const { append } = await uploads(t, { idleTimeout: 20 })
    const [ann, again] = [sender(), sender()]
    await append(ann, 0, 4)
    await until(() =>
      append(again, 4, 8).then(
        () => true,
        () => false,
      ),
    )
    assert.equal(await append(again, 8, 10), 10)
  })

  it('whose first part is invalid leaves nothing', async t => {
    const { path, append } = await uploads(t)
    for (const [offset, bytes, code] of [
      [3, BYTES, 'offset'],
      [0, bytesOf(11), 'too-large'],
      [0, Buffer.alloc(10), 'corrupt'],
    ] as const) {
      await assert.rejects(append(sender(), offset, bytes.length, {}, bytes), { code })
      assert.deepEqual([code, partsIn(path)], [code, []])
    }
  })

  it('is allowed before its first part, and saved once unless that fails', async t => {
    const { append } = await uploads(t)
    const calls: string[] = []
    let isFailing = true
    const hooks = {
      allow: async () => void calls.push('allow'),
      saved: async () => {
        calls.push('saved')
        if (isFailing) throw new Error('not now')
      },
    }
    const ann = sender()
    const refusing = { allow: () => Promise.reject(new Error('no')) }
    await assert.rejects(append(ann, 0, 4, refusing), { message: 'no' })
    await append(ann, 0, 4, hooks)
    await assert.rejects(append(ann, 4, 10, hooks), { message: 'not now' })
    isFailing = false
    assert.equal(await append(ann, 0, 10, hooks), 10)
    assert.equal(await append(ann, 10, 10, hooks), 10)
    assert.deepEqual(calls, ['allow', 'saved', 'allow', 'saved'])
  })
})
