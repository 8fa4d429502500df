import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { until } from '../../../support/peer.ts'
import { resuming } from '../../../support/resuming.ts'

describe('a call to a peer', () => {
  it('is sent again under the same id when the peer reconnects in time', async t => {
    const { api, come } = await resuming(t)
    const peer = api.peer('copter1')
    const args = [{ a: 1 }]
    const called = peer.call('battery', args, { b: 2 })
    args[0]!.a = 7
    const ann = await come()
    const [asked] = await ann.todo(1)
    assert.deepEqual(asked, { request: 'battery', id: asked!.id, args: [{ a: 1 }], kwargs: { b: 2 } })
    await ann.drop()
    await until(() => peer.client === undefined)
    const again = await come()
    assert.deepEqual(await again.todo(1), [{ ...asked, resend: true }])
    again.answer(asked!, 12.5)
    assert.equal(await called, 12.5)
  })

  it('ends with an error of the peer, a deadline, or an abort', async t => {
    const { api, come } = await resuming(t, { messagingMaxCalls: 2 })
    const peer = api.peer('copter1')
    await assert.rejects(peer.call('x', [], {}, { timeout: 5 }), {
      code: 'timeout',
      message: 'peer "copter1" has not answered "x" within 5 ms',
    })
    const ann = await come()
    await assert.rejects(peer.call('x', [], {}, { timeout: 5 }), {
      code: 'timeout',
      message: 'peer "copter1" has not answered "x" within 5 ms',
    })
    const called = peer.call('y')
    ann.answer((await ann.todo(2))[1]!, null, { code: 'gone', message: 'another error' })
    await assert.rejects(called, { code: 'gone', message: 'another error' })
    const controller = new AbortController()
    const two = [1, 2].map(() => peer.call('z', [], {}, { signal: controller.signal }))
    await assert.rejects(peer.call('z'), {
      code: 'busy',
      message: '2 calls wait for answers, --messaging-max-calls allows no more',
    })
    controller.abort(new Error('enough'))
    for (const call of two) await assert.rejects(call, { message: 'enough' })
    await assert.rejects(peer.call('z', [1n]), TypeError)
  })

  it('may wait for the longest timeout of a timer', async t => {
    const { api, come } = await resuming(t)
    const ann = await come()
    const called = api.peer('copter1').call('battery', [], {}, { timeout: 2_147_483_647 })
    ann.answer((await ann.todo(1))[0]!, 12)
    assert.equal(await called, 12)
  })

  it('keeps no answer after the call', async t => {
    setFlagsFromString('--expose_gc')
    const collect = runInNewContext('gc') as () => void
    const { api, come } = await resuming(t)
    const ann = await come()
    const call = async () => {
      const called = api.peer('copter1').call('battery', [], {}, { timeout: 600_000 })
      ann.answer((await ann.todo(1))[0]!, { percent: 12 })
      return new WeakRef((await called) as object)
    }
    const answer = await call()
    await until(() => {
      collect()
      return answer.deref() === undefined
    }, 'the answer to be collected')
  })

  it('is sent again to each connection that becomes active, and once to each', async t => {
    const { api, come } = await resuming(t)
    const old = await come()
    const called = api.peer('copter1').call('battery')
    const [asked] = await old.todo(1)
    const young = await come()
    assert.deepEqual(await young.todo(1), [{ ...asked, resend: true }])
    await young.drop()
    // The old one is active again, and has the request.
    await api.peer('copter1').emit('land')
    assert.deepEqual(
      (await old.todo(2)).map(({ request, action }) => request ?? action),
      ['battery', 'land'],
    )
    old.answer(asked!, 12)
    assert.equal(await called, 12)
  })

  it('is sent to the active connection alone', async t => {
    const { api, come } = await resuming(t)
    const [old, young] = [await come(), await come()]
    const called = api.peer('copter1').call('battery')
    young.answer((await young.todo(1))[0]!, 12)
    assert.equal(await called, 12)
    await old.read()
    assert.deepEqual(old.tasks, [])
  })
})
