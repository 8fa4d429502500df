import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Handlers } from '../../../../filters/messaging/rpc/handlers.ts'
import { Work } from '../../../../filters/messaging/rpc/work.ts'

describe('requests of the filter itself', () => {
  it('yield to a handler of an application', () => {
    const handlers = new Handlers()
    const [ours, theirs] = [() => 1, () => 2]
    handlers.own('time', ours)
    assert.deepEqual([handlers.requestOf('time'), handlers.isOwn('time')], [ours, true])
    handlers.request('time', theirs)
    assert.deepEqual([handlers.requestOf('time'), handlers.isOwn('time')], [theirs, false])
    assert.equal(handlers.isOwn('x'), true)
    assert.throws(handlers.requestOf('x') as () => void, { code: 'unknown', message: 'there is no request "x"' })
  })

  it('begin at once, and not behind the actions before them', async () => {
    const done: string[] = []
    const work = new Work(10, 1000, error => assert.fail(String(error)))
    let end = () => {}
    work.act(() => new Promise<void>(resolve => (end = resolve)), 1)
    work.serve(() => void done.push('served'), 1)
    work.concurrently(() => void done.push('beside'), 1)
    assert.deepEqual(done, ['beside'])
    end()
    await work.actionsDone
    await new Promise(setImmediate)
    assert.deepEqual(done, ['beside', 'served'])
  })

  it('take their place among what is worked on', () => {
    const work = new Work(1, 1000, error => assert.fail(String(error)))
    work.concurrently(() => new Promise<void>(() => {}), 1)
    assert.equal(work.isFull, true)
  })
})
