import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { CentrifugeApi } from '../../../filters/centrifuge.ts'
import { ENDPOINT, page, Raw } from '../../support/centrifuge.ts'
import { Peer, raw as rawBytes, serve, until } from '../../support/peer.ts'
import { type RedisServer, skipWithoutOwn, startRedis } from '../../support/redis.ts'
import { SECRET, sign } from '../../support/tokens.ts'

const KEPT = { filters: ['streams', 'centrifuge'], streamsRules: ['chat:* size=300 ttl=5m'] }
const limited = { error: { code: 106, message: 'limit exceeded' } }
const temporary = { error: { code: 100, message: 'internal server error', temporary: true } }

describe('a client that sends', () => {
  it('1,000 commands in one frame gets 1,000 answers', async t => {
    const server = await serve(t, { ...KEPT, centrifugePublish: true })
    const raw = await Raw.connected(server.url)
    raw.send(
      ...Array.from({ length: 500 }, (_, i) => ({ id: i + 2, publish: { channel: 'chat:1', data: i } })),
      ...Array.from({ length: 500 }, (_, i) => ({ id: i + 502, history: { channel: 'chat:1', limit: 1 } })),
    )
    await raw.reply(1001)
    assert.deepEqual(
      raw.messages.map(({ id }) => id),
      Array.from({ length: 1001 }, (_, i) => i + 1),
    )
  })

  /** A server with procedures, and the calls of `count`. */
  const counting = async (t: { after(fn: () => Promise<void>): void }) => {
    const calls: number[] = []
    const waits: (() => void)[] = []
    const filter = {
      uses: ['centrifuge'],
      setup(host: { use(name: 'centrifuge'): CentrifugeApi }) {
        const { rpc } = host.use('centrifuge')
        rpc('wait', () => new Promise<void>(resolve => waits.push(resolve)))
        rpc('count', () => {
          for (const end = performance.now() + 1; performance.now() < end; );
          calls.push(performance.now())
        })
      },
    }
    const server = await serve(t, { filters: ['centrifuge', filter] as never })
    const raw = await Raw.connected(server.url)
    return { server, raw, calls, waits }
  }

  it('200 commands in one frame does not keep others waiting', async t => {
    const { raw, calls } = await counting(t)
    let [before, most, isDone] = [0, 0, false]
    const watch = () => {
      most = Math.max(most, calls.length - before)
      before = calls.length
      if (!isDone) setImmediate(watch)
    }
    raw.send(...Array.from({ length: 200 }, (_, i) => ({ id: i + 2, rpc: { method: 'count' } })))
    watch()
    await raw.reply(201)
    isDone = true
    assert.ok(most <= 20, `${most} commands in one turn`)
  })

  it('commands and is disconnected has only those run that have begun', async t => {
    const { server, raw, calls, waits } = await counting(t)
    raw.send({ id: 2, rpc: { method: 'wait' } }, { id: 3, rpc: { method: 'count' } })
    await until(() => waits.length === 1, 'the first command')
    const [client] = server.clients.values()
    client!.disconnect(1000)
    await new Promise<void>(resolve => client!.onGone(resolve))
    waits[0]!()
    // Without a wait in between, the next command would run in one of them.
    for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate)
    assert.deepEqual(calls, [])
  })

  it('20 commands with large replies, and reads them late, gets them all', async t => {
    const server = await serve(t, { ...KEPT, maxBuffered: 4_194_304 })
    for (let n = 1; n <= 250; n++) await server.append('chat:1', JSON.stringify('x'.repeat(4000)))
    const raw = await Raw.connected(server.url)
    raw.peer.ws.pause()
    raw.send(...Array.from({ length: 20 }, (_, i) => ({ id: i + 2, history: { channel: 'chat:1', limit: -1 } })))
    const [client] = server.clients.values()
    await until(() => client!.buffered > 100_000, 'replies that wait')
    for (let turn = 0; turn < 100; turn++) await new Promise(setImmediate)
    assert.ok(client!.buffered < 3_000_000, `${client!.buffered} bytes wait`)
    raw.peer.ws.resume()
    const replies = () => raw.peer.received.filter(reply => String(reply).includes('"publications"'))
    await until(() => replies().length === 20, 'all replies')
  })

  it('a flood of subscriptions gets 128 of them', async t => {
    const server = await serve(t, KEPT)
    const raw = await Raw.connected(server.url)
    raw.send(...Array.from({ length: 1000 }, (_, i) => ({ id: i + 2, subscribe: { channel: `chat:${i}` } })))
    await until(() => raw.messages.length === 1001, 'all replies')
    assert.equal(raw.messages.filter(({ subscribe }) => subscribe !== undefined).length, 128)
    assert.deepEqual(await raw.reply(1001), limited)
    const [client] = server.clients.values()
    assert.equal(client!.topics.size, 128)
  })

  it('subscriptions and their ends in a loop leaves nothing behind', async t => {
    const server = await serve(t, KEPT)
    const raw = await Raw.connected(server.url)
    for (let round = 0; round < 20; round++) {
      const id = round * 20 + 2
      raw.send(
        ...Array.from({ length: 20 }, (_, i) => {
          const channel = `chat:${round}:${i >> 1}`
          return { id: id + i, ...(i % 2 === 0 ? { subscribe: { channel } } : { unsubscribe: { channel } }) }
        }),
      )
    }
    await raw.reply(401)
    const [client] = server.clients.values()
    assert.deepEqual([client!.topics.size, server.streamGauges.followed], [0, 0])
  })

  it('newlines only, or pongs only, is not answered', async t => {
    const server = await serve(t, KEPT)
    const raw = await Raw.connected(server.url)
    for (const frame of ['\n'.repeat(100_000), '{}\n'.repeat(100_000), '']) raw.peer.send(frame)
    raw.send({ id: 2, fly: {} })
    await raw.reply(2)
    assert.equal(raw.messages.length, 2)
  })

  it('a large publication, up to --max-payload', async t => {
    const server = await serve(t, { ...KEPT, centrifugePublish: true })
    const raw = await Raw.connected(server.url)
    const data = 'x'.repeat(1_000_000)
    raw.send({ id: 2, subscribe: { channel: 'chat:1' } }, { id: 3, publish: { channel: 'chat:1', data } })
    assert.ok(Object.hasOwn(Object(await raw.reply(3)), 'publish'))
    await until(() => raw.messages.some(({ push }) => push !== undefined), 'the publication')
    raw.send({ id: 4, publish: { channel: 'chat:1', data: 'x'.repeat(1_048_576) } })
    assert.equal((await raw.peer.end()).code, 1009)
  })

  it('JSON of 100,001 elements is closed', async t => {
    const server = await serve(t, { ...KEPT, centrifugePublish: true })
    const raw = await Raw.connected(server.url)
    raw.peer.send(`{"id":2,"publish":{"channel":"chat:1","data":[${'1,'.repeat(100_001)}1]}}`)
    assert.deepEqual(await raw.peer.end(), { code: 3501, reason: 'bad request' })
  })

  it('a plain request to the endpoint is answered with 426, and other paths are not of the filter', async t => {
    const server = await serve(t, KEPT)
    const { answer } = await rawBytes(
      server.url,
      `GET ${ENDPOINT} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`,
    )
    assert.match(await answer(), /^HTTP\/1\.1 426 /)
    const peer = await Peer.open(server.url)
    peer.send('{"id":1,"connect":{}}')
    server.broadcast('end')
    assert.deepEqual(await peer.get(1), ['end'])
  })
})

describe('a client', () => {
  it('with info of more than 4 KiB in its token cannot enter a channel whose members are known', async t => {
    const options = { jwtSecret: SECRET, presenceTopics: ['chat:*'] }
    const server = await serve(t, { ...KEPT, ...options, filters: ['jwt', 'streams', 'presence', 'centrifuge'] })
    const raw = await Raw.open(server.url)
    const token = sign({ sub: 'ann', info: 'x'.repeat(5000) })
    raw.send({ id: 1, connect: { token } }, { id: 2, subscribe: { channel: 'chat:1' } })
    assert.deepEqual(await raw.reply(2), { error: { code: 107, message: 'bad request' } })
    raw.send({ id: 3, subscribe: { channel: 'other' } })
    assert.deepEqual(await raw.reply(3), { subscribe: {} })
  })

  it('is answered after a handler of send has failed, and pinged', async t => {
    const failing = {
      uses: ['centrifuge'],
      setup: (host: { use(name: 'centrifuge'): CentrifugeApi }) =>
        host.use('centrifuge').onSend(() => {
          throw new Error('broken')
        }),
    }
    const server = await serve(t, { filters: ['centrifuge', failing] as never, centrifugePing: 0.2 })
    const raw = await Raw.connected(server.url)
    raw.send({ send: { data: 1 } }, { id: 2, fly: {} })
    await raw.reply(2)
    assert.deepEqual(await raw.peer.end(), { code: 3012, reason: 'no pong' })
  })

  it('that returns gets large publications whole, as all others with its position', async t => {
    const server = await serve(t, KEPT)
    const payloads = Array.from({ length: 60 }, (_, n) => `{"n":${n},"text":"${'ü'.repeat(500)}"}`)
    for (const payload of payloads) await server.append('chat:1', payload)
    const expected = payloads.slice(10).map((payload, i) => ({ data: JSON.parse(payload), offset: i + 11 }))
    const returning = await Promise.all(Array.from({ length: 5 }, () => Raw.connected(server.url)))
    for (const raw of returning) raw.send({ id: 2, subscribe: { channel: 'chat:1', recover: true, offset: 10 } })
    for (const raw of returning) {
      const { subscribe } = (await raw.reply(2)) as { subscribe: { publications: object[]; recovered: boolean } }
      assert.deepEqual(subscribe.publications, expected)
    }
  })
})

describe('a compressed connection', () => {
  it('of centrifuge-js gets small and large messages', async t => {
    const server = await serve(t, { ...KEPT, compress: true, centrifugePublish: true })
    const large = (n: number) => `${n} ${'ü'.repeat(1000)}`
    for (let n = 1; n <= 40; n++) await server.append('chat:1', JSON.stringify(large(n)))
    const { top } = await server.read('chat:1', { from: 'newest', entries: 1, bytes: 1 })
    const ann = page(t, server.url, 'chat:1', { since: { offset: 10, epoch: top.epoch } })
    await until(() => ann.seen.length === 31, 'publications')
    await ann.sub.publish('x'.repeat(100_000))
    await until(() => ann.seen.length === 32, 'a publication')
    const expected = Array.from({ length: 30 }, (_, i) => `${i + 11} ${large(i + 11)}`)
    assert.deepEqual(ann.seen, ['= recovered, publications', ...expected, `41 ${'x'.repeat(100_000)}`])
  })
})

describe('while the storage does not answer', { skip: skipWithoutOwn }, () => {
  async function away(t: { after(fn: () => Promise<void>): void }) {
    const redis: RedisServer = await startRedis()
    t.after(() => redis.stop())
    const options = { storage: 'redis', redisUrl: redis.url, centrifugePublish: true, centrifugePing: 1 }
    const server = await serve(t, { ...KEPT, ...options })
    const raw = await Raw.connected(server.url)
    return { redis, server, raw }
  }

  it('commands of kept topics get error 100 within 5 seconds, others an answer, and the client stays', async t => {
    const { redis, raw } = await away(t)
    redis.pause()
    t.after(async () => redis.resume())
    const at = performance.now()
    raw.send(
      { id: 2, subscribe: { channel: 'other' } },
      { id: 3, subscribe: { channel: 'chat:1' } },
      { id: 4, publish: { channel: 'chat:1', data: 1 } },
      { id: 5, history: { channel: 'chat:1' } },
    )
    assert.deepEqual(await raw.reply(2), { subscribe: {} })
    for (const id of [3, 4, 5]) assert.deepEqual(await raw.reply(id), temporary)
    const took = performance.now() - at
    assert.ok(took < 5000, `${took} ms`)
    redis.resume()
    raw.send({})
    let id = 10
    await until(async () => {
      raw.send({}, { id: ++id, subscribe: { channel: 'chat:1' } })
      return !('error' in ((await raw.reply(id)) as object))
    }, 'a subscription')
  })
})
