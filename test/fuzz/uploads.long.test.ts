// Clients begin, send, end, cancel and leave at random: the files must match the replies, and no space may leak.
import assert from 'node:assert/strict'
import { statSync } from 'node:fs'
import { it } from 'node:test'
import fc from 'fast-check'
import type { SavedFile } from '../../filters/media/saved-file.ts'
import { UploadSession } from '../../filters/media/upload-session.ts'
import type { UploadReply } from '../../protocols/nanollm/upload.ts'
import { until } from '../support/peer.ts'
import { filesOf, uploadsOf } from '../support/uploads.ts'
import { chooseSeed } from './seed.ts'

const RUNS = 300
const QUOTA = 60_000
const MAX_FILES = 6

const id = fc.nat(2)
/** Sizes, so that chunks often complete a file. */
const sizes = fc.constantFrom(100, 5000, 10_000)
const step = fc.oneof(
  fc.record({
    begin: id,
    name: fc.constantFrom('a.bin', 'a.bin', 'a.png', '../a.bin'),
    size: fc.oneof(sizes, fc.integer({ max: 20_000 })),
  }),
  fc.record({
    begin: id,
    audio: fc.record({ rate: fc.constantFrom(48_000, 0), channels: fc.integer({ min: 1, max: 2 }) }),
  }),
  { weight: 4, arbitrary: fc.record({ chunk: id, bytes: fc.oneof(sizes, fc.integer({ min: 1, max: 9000 })) }) },
  fc.record({ end: id }),
  fc.record({ cancel: id }),
)
type Step = object | { readonly chunk: number; readonly bytes: number }

/** An upload of a number ends before the next one begins. */
function checkOrder(replies: readonly UploadReply[]): void {
  const open = new Set<number>()
  for (const reply of replies) {
    if ('ready' in reply) open.add(reply.ready)
    else if ('progress' in reply) assert.ok(open.has(reply.progress), JSON.stringify(replies))
    else if ('done' in reply) assert.ok(open.delete(reply.done), JSON.stringify(replies))
    else if (reply.refused !== null) open.delete(reply.refused)
  }
}

it(`${RUNS} rooms of three clients`, { timeout: 280_000 }, async t => {
  const seed = chooseSeed()
  t.diagnostic(`FUZZ_SEED=${seed}`)
  const clients = fc.array(fc.array(step, { maxLength: 30 }), { minLength: 3, maxLength: 3 })
  const property = fc.asyncProperty(clients, async plans => {
    // The clock is fixed, so the counted space must be right without a new measurement.
    const uploads = await uploadsOf(t, { quota: QUOTA, maxFiles: MAX_FILES, window: 8192, total: 5, now: () => 0 })
    const files: SavedFile[] = []
    const run = async (steps: readonly Step[]) => {
      const replies: UploadReply[] = []
      const session = new UploadSession({
        uploads,
        reply: json => void replies.push(json),
        onSaved: file => void files.push(file),
      })
      for (const step of steps)
        await ('chunk' in step
          ? session.handleChunk(String(step.chunk), Buffer.alloc(step.bytes))
          : session.handleCommand(step))
      await session.close()
      checkOrder(replies)
    }
    await Promise.all(plans.map(run))
    await until(() => filesOf(uploads).length === files.length)
    assert.deepEqual(filesOf(uploads), files.map(({ name }) => name).sort())
    let used = 0
    for (const { path, size } of files) {
      assert.equal(statSync(path).size, size)
      used += size
    }
    const left = await Promise.allSettled(
      Array.from({ length: 5 }, (_, owner) => uploads.begin({ owner }, { name: 'a.bin', size: 1 })),
    )
    const begun = left.filter(({ status }) => status === 'fulfilled').length
    assert.equal(begun, Math.min(5, MAX_FILES - files.length, QUOTA - used))
    await uploads.close()
    if (files.length === MAX_FILES || used === QUOTA) return
    await assert.rejects(uploads.save({ extension: 'bin' }, Buffer.alloc(QUOTA - used + 1)), { code: 'quota' })
    await uploads.save({ extension: 'bin' }, Buffer.alloc(QUOTA - used))
  })
  await fc.assert(property, { seed, numRuns: RUNS })
})
