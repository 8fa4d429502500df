import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { connectMessaging } from '../../../client/messaging/node.ts'
import type { Messaging, Request } from '../../../filters/messaging/wire/message.ts'
import { type GroundOptions, ground } from '../../support/ground.ts'
import { plainly } from '../../support/messaging.ts'
import { failing, follow, responseTo } from '../../support/messaging-client.ts'
import { until } from '../../support/peer.ts'
import { freePort } from '../../support/port.ts'

/** Responds to the request `echo` with its args, and to actions with null. */
const echoing: GroundOptions['onMessage'] = (message, line) => {
  if (message.type === 'request' && message.name === 'echo') line.send(responseTo(message, message.args))
  if (message.type === 'message' && message.id !== undefined) line.send(responseTo(message, null))
}

for (const over of ['tcp', 'ws'] as const) {
  describe(`a messaging client over ${over}`, () => {
    it('registers first, then calls, delivers and emits in order', async t => {
      const station = await ground(t, { over, onMessage: echoing })
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

    it('rejects with the error of the server, and after the timeout', async t => {
      const station = await ground(t, {
        over,
        onMessage: (message, line) => {
          const error = { code: 'low', message: 'battery at 3 %' }
          if (message.name === 'arm') line.send({ ...responseTo(message, null), error } as Messaging)
        },
      })
      const { client } = follow(t, station.url)
      await assert.rejects(client.call('arm'), failing('low', 'battery at 3 %'))
      await assert.rejects(client.deliver('arm'), failing('low', 'battery at 3 %'))
      await assert.rejects(
        client.call('silence', [], {}, { timeout: 20 }),
        failing('timeout', 'the server has not answered "silence" within 20 ms'),
      )
      await assert.rejects(
        client.call('silence', [], {}, { signal: AbortSignal.abort('cancelled') }),
        reason => reason === 'cancelled',
      )
      const late = new AbortController()
      const called = client.call('silence', [], {}, { signal: late.signal })
      late.abort('cancelled')
      await assert.rejects(called, reason => reason === 'cancelled')
      assert.equal(client.queued, 0)
      const last = client.call('silence')
      client.close()
      await assert.rejects(last, failing('gone', 'the connection is closed'))
      await assert.rejects(client.call('silence'), failing('gone', 'the connection is closed'))
      assert.equal(client.emit('silence'), false)
    })

    it('sends unanswered messages again with their ids and arguments, before new ones', async t => {
      const first = await ground(t, { over, port: await freePort() })
      const { client, events, opened } = follow(t, first.url)
      await opened()
      const calls = [client.call('echo', ['one']), client.deliver('two', [2])]
      const line = await first.line()
      await until(() => line.received.length === 3, 'the messages')
      await first.close()
      await until(() => events.some(([type]) => type === 'close'))
      client.emit('three')
      calls.push(client.call('echo', ['four']))
      const second = await ground(t, { over, port: first.port, onMessage: echoing })
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

it('the default id of a messaging client does not contain its epoch', async t => {
  const { url, line } = await ground(t)
  const client = connectMessaging(url)
  t.after(() => client.close())
  const { received } = await line()
  await until(() => received.length > 0, 'the registration')
  const { id, epoch } = (received[0] as Request).kwargs
  assert.equal(id, client.id)
  assert.match(`${id} ${epoch}`, /^\d{6,30} \d{6,30}$/)
  assert.notEqual(id, epoch)
})
