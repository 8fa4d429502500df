import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { connectMessaging } from '../../../client/messaging/node.ts'
import type { Messaging, Request } from '../../../filters/messaging/wire/message.ts'
import { type GroundOptions, ground } from '../../support/ground.ts'
import { plainly } from '../../support/messaging.ts'
import { answer, failing, follow } from '../../support/messaging-client.ts'
import { until } from '../../support/peer.ts'

/** Requests `echo` are answered with their args, actions with an id with null. */
const echoing: GroundOptions['hear'] = (said, line) => {
  if (said.type === 'request' && said.name === 'echo') line.send(answer(said, said.args))
  if (said.type === 'message' && said.id !== undefined) line.send(answer(said, null))
}

for (const over of ['tcp', 'ws'] as const) {
  describe(`a messaging client over ${over}`, () => {
    it('says who it is before anything else, then calls, delivers and emits in order', async t => {
      const station = await ground(t, { over, hear: echoing })
      const { client } = follow(t, station.url)
      assert.equal(client.emit('led', [1, 2], { blue: true }), true)
      const called = client.call('echo', ['первый', { a: [Number.NaN] }])
      await client.deliver('landed', [], { at: 'home' })
      assert.deepEqual(plainly(await called), ['первый', { a: [null] }])
      const { received } = await station.line()
      const [resume, led, echo, landed] = plainly(received) as unknown as Record<string, unknown>[]
      const { epoch } = resume!.kwargs as { epoch: string }
      assert.match(epoch, /^\d{6,30}$/)
      assert.deepEqual(resume, {
        type: 'request',
        name: 'fws.resume',
        id: 'fws.resume',
        args: [],
        kwargs: { id: 'copter1', epoch },
      })
      assert.deepEqual(led, { type: 'message', name: 'led', args: [1, 2], kwargs: { blue: true } })
      assert.deepEqual([echo!.name, echo!.id, echo!.resend], ['echo', `${epoch}.1`, undefined])
      assert.deepEqual([landed!.name, landed!.id, landed!.kwargs], ['landed', `${epoch}.2`, { at: 'home' }])
    })

    it('rejects with what the server says, and after its timeout', async t => {
      const station = await ground(t, {
        over,
        hear: (said, line) => {
          const error = { code: 'low', message: 'battery at 3 %' }
          if (said.name === 'arm') line.send({ ...answer(said, null), error } as Messaging)
        },
      })
      const { client } = follow(t, station.url)
      await assert.rejects(client.call('arm'), failing('low', 'battery at 3 %'))
      await assert.rejects(client.deliver('arm'), failing('low', 'battery at 3 %'))
      await assert.rejects(
        client.call('silence', [], {}, { timeout: 20 }),
        failing('timeout', 'no answer to "silence" within 20 ms'),
      )
      await assert.rejects(
        client.call('silence', [], {}, { signal: AbortSignal.abort('enough') }),
        reason => reason === 'enough',
      )
      const late = new AbortController()
      const called = client.call('silence', [], {}, { signal: late.signal })
      late.abort('enough')
      await assert.rejects(called, reason => reason === 'enough')
      assert.equal(client.queued, 0)
      const last = client.call('silence')
      client.close()
      await assert.rejects(last, failing('gone', 'the connection is gone'))
      await assert.rejects(client.call('silence'), failing('gone', 'the connection is gone'))
      assert.equal(client.emit('silence'), false)
    })

    it('sends what is unanswered again, with its id and arguments, before what is new', async t => {
      const first = await ground(t, { over })
      const { client, told, opened } = follow(t, first.url)
      await opened()
      const calls = [client.call('echo', ['one']), client.deliver('two', [2])]
      const line = await first.line()
      await until(() => line.received.length === 3, 'the messages')
      await first.close()
      await until(() => told.some(([type]) => type === 'close'))
      client.emit('three')
      calls.push(client.call('echo', ['four']))
      const second = await ground(t, { over, port: first.port, hear: echoing })
      assert.deepEqual(plainly(await Promise.all(calls)), [['one'], null, ['four']])
      const { received } = await second.line()
      const again = received.slice(1) as Request[]
      assert.deepEqual(
        again.map(({ name, args, resend }) => [name, args, resend]),
        [
          ['echo', ['one'], true],
          ['two', [2], true],
          ['three', [], undefined],
          ['echo', ['four'], undefined],
        ],
      )
      assert.deepEqual(
        again.map(({ id }) => id),
        [(line.received[1] as Request).id, (line.received[2] as Request).id, undefined, again[3]!.id],
      )
    })
  })
}

it('a messaging client without an id has one that does not tell its epoch', async t => {
  const { url, line } = await ground(t)
  const client = connectMessaging(url)
  t.after(() => client.close())
  const { received } = await line()
  await until(() => received.length > 0, 'who it is')
  const { id, epoch } = (received[0] as Request).kwargs
  assert.equal(id, client.id)
  assert.match(`${id} ${epoch}`, /^\d{6,30} \d{6,30}$/)
  assert.notEqual(id, epoch)
})
