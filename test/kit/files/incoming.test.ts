import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { IncomingFiles } from '../../../src/kit/files/incoming.ts'
import { FileStore } from '../../../src/kit/files/store.ts'
import { OwnerLimiter } from '../../../src/kit/limiter.ts'
import { folder } from '../../support/cli.ts'
import { sha256 } from '../../support/sha256.ts'

const BUSY = { code: 'busy', message: 'another client writes this file, try again later' }

async function incomingIn(t: TestContext, max = 8) {
  const path = folder(t)
  const store = await FileStore.open(path, '--files', { quota: 1000, partAge: 60_000 })
  return { path, incoming: new IncomingFiles({ store, limiter: new OwnerLimiter(max, max, 'files'), maxFile: 100 }) }
}

describe('incoming files', () => {
  it('to one path wait for each other if their writer is the same, else the second is refused', async t => {
    const { incoming } = await incomingIn(t)
    const writer = {}
    const first = await incoming.begin({ filepath: 'a', size: 1, writer })
    await assert.rejects(incoming.begin({ filepath: 'a', size: 1, writer: {} }), BUSY)
    await incoming.begin({ filepath: 'b', size: 1, writer: {} })
    const order: string[] = []
    const second = incoming.begin({ filepath: 'a', size: 1, writer }).then(() => order.push('second'))
    await new Promise(setImmediate)
    order.push('ended')
    await first.end(false)
    await second
    await first.end(false)
    await assert.rejects(incoming.begin({ filepath: 'a', size: 1, writer: {} }), BUSY)
    assert.deepEqual(order, ['ended', 'second'])
  })

  it('without a writer replace each other', async t => {
    const { path, incoming } = await incomingIn(t)
    const files = [
      await incoming.begin({ filepath: 'a', size: 1 }),
      await incoming.begin({ filepath: 'a', size: 1, writer: {} }),
    ]
    for (const [i, file] of files.entries()) {
      await file.append(Buffer.from(`${i}`))
      await file.commit()
      await file.end(false)
      assert.equal(readFileSync(join(path, 'a'), 'utf8'), `${i}`)
    }
    assert.deepEqual(readdirSync(join(path, '.fws-parts')), [])
  })

  it('are limited in number until they are filled, and in bytes', async t => {
    const { incoming } = await incomingIn(t, 1)
    const first = await incoming.begin({ filepath: 'a', size: 1 })
    await assert.rejects(incoming.begin({ filepath: 'b', size: 1 }), {
      code: 'busy',
      message: '1 files are running, try again later',
    })
    first.filled()
    await (await incoming.begin({ filepath: 'b', size: 1, writer: {} })).end(false)
    await assert.rejects(incoming.begin({ filepath: 'c', size: 101 }), {
      code: 'too-large',
      message: 'a file has at most 100 bytes',
    })
    await incoming.begin({ filepath: 'b', size: 1, writer: {} })
  })

  it('have the hash of their bytes, before and after the commit', async t => {
    const { path, incoming } = await incomingIn(t)
    const file = await incoming.begin({ filepath: 'a', size: 3 })
    await file.append(Buffer.from('abc'))
    const hash = sha256(Buffer.from('abc'))
    assert.equal(await file.sha256(), hash)
    assert.equal(await incoming.has('a', hash), false)
    assert.equal(existsSync(join(path, 'a')), false)
    await file.commit()
    await file.end(true)
    assert.equal(await incoming.has('a', hash), true)
    assert.equal(await incoming.has('a', sha256(Buffer.from('abd'))), false)
  })
})
