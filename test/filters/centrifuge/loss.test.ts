import assert from 'node:assert/strict'
import { it } from 'node:test'
import { page, Raw } from '../../support/centrifuge.ts'
import { startFaultProxy } from '../../support/fault-proxy.ts'
import { serve, until } from '../../support/peer.ts'
import { skipWithoutOwn, startRedis } from '../../support/redis.ts'

it('a client that is informed of a loss gets no publication until it subscribes again', {
  skip: skipWithoutOwn,
}, async t => {
  const redis = await startRedis()
  t.after(() => redis.stop())
  const proxy = await startFaultProxy({ host: '127.0.0.1', port: redis.port })
  t.after(() => proxy.stop())
  const options = { filters: ['streams', 'centrifuge'], streamsRules: ['a size=5 ttl=5m'], storage: 'redis' }
  const server = await serve(t, { ...options, redisUrl: `redis://127.0.0.1:${proxy.port}` })
  const other = await serve(t, { ...options, redisUrl: redis.url })
  const raw = await Raw.connected(server.url)
  raw.send({ id: 2, subscribe: { channel: 'a' } })
  await raw.reply(2)
  const js = page(t, server.url, 'a')
  await js.sees('= subscribed')
  await other.append('a', '0')
  await js.sees('1 0')
  proxy.refuse()
  for (let n = 1; n <= 20; n++) await other.append('a', `${n}`)
  await proxy.accept()
  const isInformed = () => raw.messages.some(({ push }) => Object.hasOwn(Object(push), 'unsubscribe'))
  await until(async () => {
    await other.append('a', '"meanwhile"')
    return isInformed()
  }, 'the loss')
  for (let n = 1; n <= 20; n++) await other.append('a', '"later"')
  await until(() => js.seen.includes('= not recovered'), 'the loss in centrifuge-js')
  await other.append('a', '"last"')
  await until(() => js.seen.at(-1)!.endsWith(' last'), 'the last publication')
  assert.deepEqual(raw.messages.at(-1), {
    push: { channel: 'a', unsubscribe: { code: 2500, reason: 'insufficient state' } },
  })
})
