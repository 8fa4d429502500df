import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { Store } from '../../../../filters/messaging/files/store.ts'
import type { Sender } from '../../../../filters/messaging/files/upload.ts'
import { Uploads } from '../../../../filters/messaging/files/uploads.ts'
import { FileStore } from '../../../../src/kit/files/store.ts'
import { folder } from '../../../support/cli.ts'
import { bytesOf, sha256 } from '../../../support/messaging-files.ts'

const BYTES = bytesOf(10)
const HOOKS = { allow: async () => {}, saved: async () => {} }
const KEY = { filepath: 'a', size: BYTES.length, key: 'k' }

async function uploads(t: TestContext) {
  const path = folder(t)
  const files = await FileStore.open(path, '--files', { quota: 1000, partAge: 60_000 })
  const store = new Store(files, { maxTransfers: 8, maxFile: 100, idleTimeout: 60_000 })
  const all = new Uploads(store)
  t.after(() => all.close())
  const append = (client: Sender, offset: number, end: number) => {
    const hash = end === BYTES.length && { sha256: sha256(BYTES) }
    return all.append(
      client,
      'a',
      { key: 'k', size: BYTES.length, offset, ...hash },
      BYTES.subarray(offset, end),
      HOOKS,
    )
  }
  return { path, all, append }
}

function sender() {
  const gone = new AbortController()
  return { id: 'c', identity: 'ann', state: {}, signal: gone.signal, gone }
}

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await undefined
}

describe('an upload that ends while it is used', () => {
  it('is continued when it has ended, whenever the next part arrives', async t => {
    for (let count = 0; count < 12; count++) {
      const { path, all, append } = await uploads(t)
      const [ann, again] = [sender(), sender()]
      await append(ann, 0, 4)
      assert.equal(await all.find(again, KEY), 4)
      const written = append(again, 4, 10)
      await turns(count)
      await all.close()
      assert.equal(await written, 10, `after ${count} turns`)
      assert.deepEqual(readFileSync(join(path, 'a')), BYTES)
    }
  })

  it('has the bytes of its kept part', async t => {
    for (let count = 0; count < 12; count++) {
      const { all, append } = await uploads(t)
      const ann = sender()
      await append(ann, 0, 4)
      const last = { key: 'k', size: 10, offset: 4, sha256: 'x' }
      const refused = assert.rejects(all.append(ann, 'a', last, BYTES.subarray(4), HOOKS), { code: 'corrupt' })
      await turns(count)
      const found = all.find(ann, KEY)
      await refused
      const bytes = await found
      assert.ok(bytes === 0 || bytes === 4, `${bytes} after ${count} turns`)
    }
  })

  it('is not begun again for a client that has disconnected', async t => {
    for (let count = 0; count < 12; count++) {
      const { append } = await uploads(t)
      const ann = sender()
      await append(ann, 0, 4)
      const written = append(ann, 4, 8).catch(error => error.code)
      await turns(count)
      ann.gone.abort()
      assert.ok([8, 'busy'].includes((await written) as never))
    }
  })
})
