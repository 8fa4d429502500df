import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Writers } from '../../../../filters/messaging/files/writers.ts'

const BUSY = { code: 'busy', message: 'another client writes this file, try again later' }

describe('writers', () => {
  it('of one path wait for each other if they are the same, else the second is refused', async () => {
    const writers = new Writers()
    const owner = {}
    const release = await writers.enter(owner, 'a')
    await assert.rejects(writers.enter({}, 'a'), BUSY)
    await writers.enter({}, 'b')
    const order: string[] = []
    const second = writers.enter(owner, 'a').then(() => order.push('second'))
    await new Promise(setImmediate)
    order.push('released')
    release()
    await second
    release()
    await assert.rejects(writers.enter({}, 'a'), BUSY)
    assert.deepEqual(order, ['released', 'second'])
  })
})
