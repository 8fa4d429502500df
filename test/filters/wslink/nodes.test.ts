import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { folder, type Launched, launch } from '../../support/cli.ts'
import { until } from '../../support/peer.ts'
import { type RedisServer, skipWithoutOwn, startRedis } from '../../support/redis.ts'
import { Client2, official, SECRET } from '../../support/wslink.ts'

const PROCEDURES = `export const uses = ['wslink']
export const setup = host => {
  const wslink = host.use('wslink')
  wslink.register('demo.say', (topic, data, { quiet } = {}) =>
    wslink.publish(topic, data, quiet ? { except: wslink.caller } : {}))
}`

describe('wslink on two nodes', { skip: skipWithoutOwn }, () => {
  let redis: RedisServer
  before(async () => {
    redis = await startRedis()
  })
  after(() => redis.stop())

  const published = (client: Client2) =>
    client.messages.flatMap(({ id, result }) => (id.startsWith('publish:') ? [[id.split(':')[1], result]] : []))

  it('a publish reaches all listening clients once, on all nodes, and official clients of both versions', async t => {
    const start = (): Promise<Launched> =>
      launch(t, ['-p', '0', '-f', './procedures.mjs', '--redis-url', redis.url, '--drain', '1'], {
        env: { STORAGE_OBJECT_MODULE: 'redis', FWS_WSLINK_SECRET: SECRET },
        cwd: folder(t, { 'procedures.mjs': PROCEDURES }),
      })
    const [here, there] = [await start(), await start()]
    const [ann, bob, narrow] = [
      await Client2.enter(here.url),
      await Client2.enter(there.url),
      await Client2.enter(there.url),
    ]
    narrow.call('wslink.subscribe', ['room'])
    await narrow.peer.get(2)
    // The subscription to the topic comes after the call.
    await until(() => {
      ann.call('demo.say', ['room', 'ready'])
      return published(narrow).length > 0
    }, 'the subscription')
    const programs = (['wslink', 'wslink-1'] as const).map(generation =>
      official(
        generation,
        there.url,
        `const { call, collect } = await enter()
        const image = collect('image')
        await call('demo.say', ['waiting', 1])
        const [{ pixels, wide }] = await image.next(1)
        return [wide, await digest(pixels) === await digest(pattern(100_000))]`,
      ),
    )
    const waiting = () => published(ann).filter(([topic]) => topic === 'waiting').length
    await until(() => waiting() === 2, 'both official clients')
    for (let i = 0; i < 20; i++) {
      ann.call('demo.say', ['room', i], { quiet: true })
      ann.call('demo.say', ['other', i])
    }
    const pixels = Buffer.alloc(100_000)
    for (let at = 0; at + 4 <= pixels.length; at += 4) pixels.writeUInt32LE((at * 2_654_435_761) >>> 0, at)
    ann.call('demo.say', ['image', { wide: 250, pixels }])
    ann.call('demo.say', ['room', 'end'])
    for (const client of [ann, bob, narrow])
      await until(() => published(client).at(-1)?.[1] === 'end', 'the last publish')
    const numbers = (client: Client2, wanted: string) =>
      published(client).flatMap(([topic, data]) => (topic === wanted && typeof data === 'number' ? [data] : []))
    const all = Array.from({ length: 20 }, (_, i) => i)
    assert.deepEqual(numbers(bob, 'room'), all)
    assert.deepEqual(numbers(bob, 'other'), all)
    assert.deepEqual(numbers(ann, 'room'), [])
    assert.deepEqual(numbers(narrow, 'room'), all)
    assert.deepEqual(new Set(published(narrow).map(([topic]) => topic)), new Set(['room']))
    assert.deepEqual(await Promise.all(programs), [
      [250, true],
      [250, true],
    ])
  })
})
