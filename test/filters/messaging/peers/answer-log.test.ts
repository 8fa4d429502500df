import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { AnswerLog } from '../../../../filters/messaging/peers/answer-log.ts'
import type { Answer } from '../../../../filters/messaging/rpc/ask-clients.ts'

/** Clients whose answers the test triggers. */
function clients(count: number) {
  const answers: ((outcome: { value?: unknown; error?: unknown }) => void)[] = []
  const asked = Array.from({ length: count }, (_, i) => ({
    id: `copter${i}`,
    answer: new Promise<Answer>(resolve => {
      answers.push(outcome => resolve({ client: undefined, id: `copter${i}`, ...outcome } as Answer))
    }),
  }))
  return { asked, answer: (i: number, outcome: { value?: unknown; error?: unknown }) => answers[i]!(outcome) }
}

const parsed = (items: readonly string[]) => items.map(item => JSON.parse(item))

describe('the log of answers', () => {
  it('has the ids at once, then each answer when it comes', async () => {
    const { asked, answer } = clients(3)
    const log = new AnswerLog('battery', asked)
    const first = await log.page(0)
    assert.deepEqual(parsed(first.items), [{ id: 'copter0' }, { id: 'copter1' }, { id: 'copter2' }])
    const next = log.page(3)
    answer(2, { value: 12 })
    answer(0, { error: Object.assign(new Error('no battery'), { code: 'empty' }) })
    const page = await next
    assert.deepEqual(
      [parsed(page.items), page.isLast],
      [
        [
          { index: 2, value: 12 },
          { index: 0, error: { code: 'empty', message: 'no battery' } },
        ],
        false,
      ],
    )
    // The answer to this page was lost.
    assert.deepEqual(await log.page(3), page)
    answer(1, { value: null })
    const last = await log.page(5)
    assert.deepEqual([parsed(last.items), last.isLast], [[{ index: 1, value: null }], true])
    assert.deepEqual(await log.page(6), { items: [], isLast: true })
  })

  it('has an empty last page without clients', async () => {
    assert.deepEqual(await new AnswerLog('battery', []).page(0), { items: [], isLast: true })
  })

  it('answers with an empty page when no answer comes in 2 seconds', async t => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const log = new AnswerLog('battery', clients(1).asked)
    await log.page(0)
    const page = log.page(1)
    t.mock.timers.tick(2000)
    assert.deepEqual(await page, { items: [], isLast: false })
  })

  it('has pages of at most 256 KiB, or one item', async () => {
    const { asked, answer } = clients(10_000)
    const log = new AnswerLog('battery', asked)
    const value = 'x'.repeat(1000)
    for (let i = 0; i < 10_000; i++) answer(i, { value: i === 5000 ? 'y'.repeat(1_000_000) : value })
    await new Promise(setImmediate)
    let read = 0
    let [count, largest, pages] = [0, 0, 0]
    for (let isLast = false; !isLast; pages++) {
      const page = await log.page(read)
      const size = page.items.reduce((sum, { length }) => sum + length, 0)
      assert.ok(size <= 262_144 || page.items.length === 1)
      largest = Math.max(largest, size)
      count += parsed(page.items).filter(item => 'index' in item).length
      read += page.items.length
      isLast = page.isLast
    }
    assert.equal(count, 10_000)
    assert.ok(largest > 1_000_000)
    assert.ok(pages < 60, `${pages} pages`)
  })
})
