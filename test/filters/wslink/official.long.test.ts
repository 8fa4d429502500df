// The unmodified official clients of both versions, each in its own process.
import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { createServer } from 'node:http'
import { describe, it, type TestContext } from 'node:test'
import type { WslinkApi } from '../../../filters/wslink.ts'
import { freePort } from '../../support/port.ts'
import { official, serveWslink, type Version } from '../../support/wslink.ts'

const MIB = 1024 * 1024

function procedures(wslink: WslinkApi): void {
  const events = new EventEmitter()
  wslink.registerAll({
    demo: {
      add: (a: number, b: number) => a + b,
      minus: (a: number, { b }: { b: number }) => a - b,
      echo: (...all: unknown[]) => all,
      fail: (why: string) => {
        throw new RangeError(why)
      },
      special: () => [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY],
      slow: async () => (await once(events, 'quick'))[0],
      quick: () => {
        setImmediate(() => events.emit('quick', 'slow'))
        return 'quick'
      },
      say: (topic: string, data: unknown) => wslink.publish(topic, data),
      same: (bytes: Uint8Array) => wslink.attachment(bytes),
      length: (bytes: Uint8Array) => bytes.length,
      async *count(to: number) {
        for (let i = 1; i <= to; i++) yield i
        return `counted to ${to}`
      },
    },
  })
}

for (const version of ['wslink', 'wslink-1'] as const) {
  describe(`the official client ${version === 'wslink' ? '2.x' : '1.x'}`, () => {
    const start = async (t: TestContext, options = {}) => {
      const { url, server } = await serveWslink(t, procedures, options)
      return { server, run: (program: string) => official(version as Version, `${url}/ws`, program) }
    }

    it('is admitted with the secret', async t => {
      const { run } = await start(t)
      assert.equal(await run(`return (await enter()).call('demo.add', [1, 2])`), 3)
    })
    it('gets an error for a wrong secret', async t => {
      const { run } = await start(t)
      const error = await run(`return enter('wrong').then(() => 'let in', error => error)`)
      assert.deepEqual(error, { code: -32_000, message: 'Authentication failed' })
    })
    it('sends positional and keyword arguments', async t => {
      const { run } = await start(t)
      const program = `const { call } = await enter()
        return [await call('demo.minus', [5], { b: 3 }), await call('demo.echo', [1, null, 'é', [true]]), await call('demo.echo')]`
      assert.deepEqual(await run(program), [2, [1, null, 'é', [true]], []])
    })
    it('gets errors with their codes and data', async t => {
      const { run } = await start(t)
      const program = `const { call } = await enter()
        return Promise.all([call('demo.fail', ['boom']), call('no.such')].map(one => one.catch(error => error)))`
      assert.deepEqual(await run(program), [
        { code: -32_001, message: 'Exception raised', data: { method: 'demo.fail', exception: 'boom' } },
        { code: -32_601, message: 'Unregistered method called', data: 'no.such' },
      ])
    })
    it('gets replies to concurrent calls when they are ready', async t => {
      const { run } = await start(t)
      const program = `const { call } = await enter()
        const order = []
        await Promise.all([call('demo.slow'), call('demo.quick')].map(one => one.then(name => order.push(name))))
        return order`
      assert.deepEqual(await run(program), ['quick', 'slow'])
    })
    it('gets NaN and infinite numbers', async t => {
      const { run } = await start(t)
      assert.deepEqual(await run(`return (await (await enter()).call('demo.special')).map(String)`), [
        'NaN',
        'Infinity',
        '-Infinity',
      ])
    })
    it('gets a topic until it unsubscribes', async t => {
      const { run } = await start(t)
      const program = `const { call, collect } = await enter()
        const [room, end] = [collect('demo.room'), collect('demo.end')]
        await call('demo.say', ['demo.room', { n: 1 }])
        await call('demo.say', ['demo.other', 0])
        await call('demo.say', ['demo.room', [2]])
        await room.next(2)
        await room.unsubscribe()
        await call('demo.say', ['demo.room', 3])
        await call('demo.say', ['demo.end', true])
        return [await end.next(1), room.received]`
      assert.deepEqual(await run(program), [[true], [{ n: 1 }, [2]]])
    })
    it('can subscribe on the server in one line, and then gets no other topics', async t => {
      const { run } = await start(t)
      const program = `const { call, collect } = await enter()
        const [a, b, c] = ['a', 'b', 'c'].map(collect)
        const say = async () => { for (const topic of 'abc') await call('demo.say', [topic, topic]) }
        await say()
        const answers = [await call('wslink.subscribe', ['a']), await call('wslink.subscribe', ['c'])]
        await say()
        answers.push(await call('wslink.unsubscribe', ['a']), await call('wslink.unsubscribe', ['a']))
        await say()
        await c.next(3)
        return [answers, a.received, b.received]`
      assert.deepEqual(await run(program), [[true, true, true, false], ['a', 'a'], ['b']])
    })
    it('gets the yielded values of a generator on the topic of its method', async t => {
      const { run } = await start(t)
      const program = `const { call, collect } = await enter()
        const progress = collect('demo.count.progress')
        return [await call('demo.count', [3]), await progress.next(3)]`
      assert.deepEqual(await run(program), ['counted to 3', [1, 2, 3]])
    })
    it('sends and gets attachments anywhere in a message', async t => {
      const { run } = await start(t)
      const program = `const { call, attach } = await enter()
        const given = [{ deep: attach(pattern(3)) }, 'wslink_bin0', attach(pattern(5).buffer.slice(0, 5))]
        const [first, text, second] = await call('demo.echo', given)
        return [(await bytesOf(first.deep)).length, text, (await bytesOf(second)).length]`
      assert.deepEqual(await run(program), [3, 'wslink_bin0', 5])
    })
    for (const size of [0, 1, MIB, 64 * MIB])
      it(`sends and gets ${size} bytes`, async t => {
        const { run } = await start(t, version === 'wslink' ? {} : { maxPayload: 64 * MIB })
        const program = `const { call, attach } = await enter()
          const sent = pattern(${size})
          const got = await call('demo.same', [attach(sent)])
          return [await digest(got) === await digest(sent), await call('demo.length', [attach(sent)])]`
        assert.deepEqual(await run(program), [true, size])
      })
    it('gets published attachments', async t => {
      const { run } = await start(t)
      const program = `const { call, collect, attach } = await enter()
        const images = collect('demo.image')
        for (const size of [0, 1, 70_000, ${MIB}]) await call('demo.say', ['demo.image', { size, image: attach(pattern(size)) }])
        const seen = await images.next(4)
        return Promise.all(seen.map(async ({ size, image }) => await digest(image) === await digest(pattern(size))))`
      assert.deepEqual(await run(program), [true, true, true, true])
    })
    it('reconnects after it has disconnected', async t => {
      const { run } = await start(t)
      const program = `const before = await enter()
        await before.leave()
        const lost = await before.call('demo.add', [1, 1]).catch(error => error.code)
        return [lost, await (await enter()).call('demo.add', [1, 1])]`
      assert.deepEqual(await run(program), [-32_099, 2])
    })
    it('gets the reason of a close, and does not stop the server by disconnecting', async t => {
      const { run, server } = await start(t)
      const program = `const { call, connection, closed } = await enter()
        const answers = [await call('application.exit.later', [0]), await call('application.exit')]
        connection.destroy(-1)
        return [answers, await (await enter()).call('demo.add', [1, 2])]`
      assert.deepEqual(await run(program), [[null, null], 3])
      assert.equal(server.ready, true)
    })
  })
}

describe('chunks of the official client 2.x', () => {
  const FRAME = 100_000
  it('have the size from the reply to hello, also at its boundaries', async t => {
    const { url } = await serveWslink(t, procedures, { maxPayload: FRAME })
    // In this range the envelopes of call and reply first fill their last chunk, then exceed it.
    const program = `const { call } = await enter()
      const wrong = []
      for (const chunks of [1, 2])
        for (let around = 120; around >= 50; around--) {
          const sent = pattern(chunks * (${FRAME} - 12) - around)
          const got = await call('demo.same', [sent])
          if (!(await bytesOf(got)).equals(sent)) wrong.push(sent.length)
        }
      return wrong`
    assert.deepEqual(await official('wslink', url, program), [])
  })
})

it('a client whose server has stopped can connect to the next one', async t => {
  const port = await freePort()
  const first = await serveWslink(t, procedures, { port })
  // The client asks the test to stop the server after its authentication.
  const control = createServer(async (_, response) => {
    await first.server.close()
    await serveWslink(t, procedures, { port })
    response.end()
  }).listen(0, '127.0.0.1')
  t.after(() => control.close())
  await once(control, 'listening')
  const address = control.address() as { port: number }
  const program = `const before = await enter()
    const [{ code }] = await Promise.all([before.closed, fetch('http://127.0.0.1:${address.port}/')])
    return [code, await (await enter()).call('demo.add', [2, 2])]`
  assert.deepEqual(await official('wslink', first.url, program), [1001, 4])
})
