import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { type Call, subscriber } from '../../../client/topics/subscription.ts'

const LOST = { channel: 'news', unsubscribe: { code: 2500, reason: 'insufficient state' } }

/** A subscription with a server that always answers; `tick` ends all delays. */
async function subscribed(t: TestContext) {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const requests: object[] = []
  const got: unknown[] = []
  const call: Call = async (_, params, onResult) => {
    requests.push(params)
    const result = { recoverable: true, epoch: 'e', offset: 1 }
    onResult?.(result)
    return result
  }
  const one = subscriber('news', { onMessage: data => got.push(data) }, call, () => {})
  await one.start()
  return { one, requests, got, tick: () => t.mock.timers.tick(60_000) }
}

describe('a subscription that the server ends', () => {
  it('is made again once, also after two pushes', async t => {
    const { one, requests, tick } = await subscribed(t)
    one.push(LOST)
    one.push(LOST)
    tick()
    assert.equal(requests.length, 2)
  })

  it('keeps its position: a message that comes before it is made again does not count', async t => {
    const { one, requests, got, tick } = await subscribed(t)
    one.push(LOST)
    one.push({ channel: 'news', pub: { data: 'later', offset: 50 } })
    assert.deepEqual(one.position, { epoch: 'e', offset: 1 })
    assert.deepEqual(got, [])
    tick()
    assert.deepEqual(requests[1], { channel: 'news', recoverable: true, flag: 2, recover: true, epoch: 'e', offset: 1 })
  })
})
