import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Handlers } from '../../../../filters/messaging/rpc/handlers.ts'
import { TaskQueue } from '../../../../filters/messaging/rpc/task-queue.ts'

describe('built-in requests', () => {
  it('are replaced by a handler of an application', () => {
    const handlers = new Handlers()
    const [builtIn, replacement] = [() => 1, () => 2]
    handlers.builtIn('time', builtIn)
    assert.deepEqual([handlers.requestOf('time'), handlers.isBuiltIn('time')], [builtIn, true])
    handlers.request('time', replacement)
    assert.deepEqual([handlers.requestOf('time'), handlers.isBuiltIn('time')], [replacement, false])
    assert.equal(handlers.isBuiltIn('x'), true)
    assert.throws(handlers.requestOf('x') as () => void, { code: 'unknown', message: 'there is no request "x"' })
  })

  it('run at once, not after the actions before them', async () => {
    const done: string[] = []
    const tasks = new TaskQueue(10, 1000, error => assert.fail(String(error)))
    let end = () => {}
    tasks.runAction(() => new Promise<void>(resolve => (end = resolve)), 1)
    tasks.runRequest(() => void done.push('served'), 1)
    tasks.track(void done.push('at once'), 1)
    assert.deepEqual(done, ['at once'])
    end()
    await tasks.actionsDone
    await new Promise(setImmediate)
    assert.deepEqual(done, ['at once', 'served'])
  })

  it('count as running tasks', () => {
    const tasks = new TaskQueue(1, 1000, error => assert.fail(String(error)))
    tasks.track(new Promise<void>(() => {}), 1)
    assert.equal(tasks.isFull, true)
  })
})
