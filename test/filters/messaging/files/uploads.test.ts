import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import type { Sender } from '../../../../filters/messaging/files/upload.ts'
import { Uploads } from '../../../../filters/messaging/files/uploads.ts'
import { Store } from '../../../../filters/messaging/files/writing.ts'
import { FileStore } from '../../../../src/kit/files/store.ts'
import { folder } from '../../../support/cli.ts'
import { bytesOf, sha256 } from '../../../support/messaging-files.ts'

const BYTES = bytesOf(10)
const HOOKS = { allow: async () => {}, placed: async () => {} }
const NAMED = { filepath: 'a', size: BYTES.length, key: 'k' }

async function uploads(t: TestContext) {
  const path = folder(t)
  const files = await FileStore.open(path, '--files', { quota: 1000, partAge: 60_000 })
  const store = new Store(files, { maxTransfers: 8, maxFile: 100, idleTimeout: 60_000 })
  const all = new Uploads(store)
  t.after(() => all.close())
  const take = (client: Sender, offset: number, end: number) => {
    const hash = end === BYTES.length && { sha256: sha256(BYTES) }
    return all.take(client, 'a', { key: 'k', size: BYTES.length, offset, ...hash }, BYTES.subarray(offset, end), HOOKS)
  }
  return { path, all, take }
}

function sender() {
  const gone = new AbortController()
  return { id: 'c', identity: 'ann', state: {}, signal: gone.signal, gone }
}

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await undefined
}

describe('an upload that is just ending', () => {
  it('is gone on with when it has ended, whenever that begins', async t => {
    for (let count = 0; count < 12; count++) {
      const { path, all, take } = await uploads(t)
      const [ann, again] = [sender(), sender()]
      await take(ann, 0, 4)
      assert.equal(await all.find(again, NAMED), 4)
      const taken = take(again, 4, 10)
      await turns(count)
      await all.close()
      assert.equal(await taken, 10, `after ${count} turns`)
      assert.deepEqual(readFileSync(join(path, 'a')), BYTES)
    }
  })

  it('has as many bytes as stay of it', async t => {
    for (let count = 0; count < 12; count++) {
      const { all, take } = await uploads(t)
      const ann = sender()
      await take(ann, 0, 4)
      const last = { key: 'k', size: 10, offset: 4, sha256: 'x' }
      const refused = assert.rejects(all.take(ann, 'a', last, BYTES.subarray(4), HOOKS), { code: 'corrupt' })
      await turns(count)
      const found = all.find(ann, NAMED)
      await refused
      const there = await found
      assert.ok(there === 0 || there === 4, `${there} after ${count} turns`)
    }
  })

  it('is not begun again for a client that has gone', async t => {
    for (let count = 0; count < 12; count++) {
      const { take } = await uploads(t)
      const ann = sender()
      await take(ann, 0, 4)
      const taken = take(ann, 4, 8).catch(error => error.code)
      await turns(count)
      ann.gone.abort()
      assert.ok([8, 'busy'].includes((await taken) as never))
    }
  })
})
