import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import type { Args, Kwargs, Messaging } from '../../../filters/messaging/wire/message.ts'
import { type GroundOptions, ground } from '../../support/ground.ts'
import { framed, headerOf, plainly } from '../../support/messaging.ts'
import { answer, follow } from '../../support/messaging-client.ts'
import { Peer, serve, until } from '../../support/peer.ts'

const request = (name: string, id: string | number, args: Args = [], kwargs: Kwargs = {}): Messaging => ({
  type: 'request',
  name,
  id,
  args,
  kwargs,
})
const action = (name: string, args: Args = [], more: object = {}): Messaging => ({
  type: 'message',
  name,
  args,
  kwargs: {},
  ...more,
})

/** A client, the server's end of its connection, and what comes there as answers by their id. */
async function pair(t: TestContext, options: GroundOptions & Parameters<typeof follow>[2] = {}) {
  const station = await ground(t, options)
  const { client, told, opened } = follow(t, station.url, options)
  await opened()
  const line = await station.line()
  line.received.length = 0
  async function answers(count: number): Promise<ReadonlyMap<unknown, unknown>> {
    await until(() => line.received.length >= count, `${count} answers, got ${JSON.stringify(line.received)}`)
    assert.equal(line.received.length, count)
    return new Map(
      (plainly(line.received) as unknown as { id: unknown; value: unknown; error?: unknown }[]).map(
        ({ id, value, error }) => [id, error ?? value],
      ),
    )
  }
  return { station, client, told, opened, line, answers }
}

describe('a messaging client is asked, and', () => {
  it('answers by its handlers, the id and the time by itself', async t => {
    const { client, line, answers } = await pair(t)
    client.request('telemetry', async ([what], { scale }) => ({ [String(what)]: scale, nan: Number.NaN }))
    client.request('nothing', () => undefined)
    client.request('double', () => 1)
    const stop = client.request('double', () => 2)
    const before = Date.now() / 1000
    line.send(request('telemetry', '0001', ['высота'], { scale: 2 }))
    line.send(request('nothing', 7))
    line.send(request('id', '0002'))
    line.send(request('double', '0003'))
    line.send(request('time', '0004'))
    line.send(request('fws.clock', '0005', [before]))
    const heard = await answers(6)
    assert.deepEqual(heard.get('0001'), { высота: 2, nan: null })
    assert.equal(heard.get(7), null)
    assert.equal(heard.get('0002'), 'copter1')
    assert.equal(heard.get('0003'), 2)
    const [t2, t3] = heard.get('0005') as [number, number]
    for (const time of [heard.get('0004') as number, t2, t3])
      assert.ok(Math.abs(time - before) < 5, `${time} is not the time, which was ${before}`)
    assert.ok(t3 >= t2)
    stop()
    client.request('id', () => 'somebody else')
    line.send(request('double', '0006'))
    line.send(request('id', '0007'))
    const later = await answers(8)
    assert.deepEqual([later.get('0006'), later.get('0007')], [1, 'somebody else'])
  })

  it('answers with an error what it does not know, what is thrown, and what is no JSON', async t => {
    const { client, line, answers, told } = await pair(t)
    const low = Object.assign(new Error('battery at 3 %'), { code: 'low' })
    client.request('arm', () => {
      throw low
    })
    client.request('fly', () => Promise.reject('no wings'))
    client.request('count', () => 1n)
    client.request('function', () => () => 1)
    client.action('land', () => {
      throw new Error('no ground')
    })
    for (const [i, name] of ['swim', 'arm', 'fly', 'count', 'function'].entries()) line.send(request(name, i))
    line.send(action('land', [], { id: 'a' }))
    line.send(action('swim', [], { id: 'b' }))
    line.send(action('swim'))
    const heard = await answers(7)
    assert.deepEqual(heard.get(0), { code: 'unknown', message: 'there is no request "swim"' })
    assert.deepEqual(heard.get(1), { code: 'low', message: 'battery at 3 %' })
    assert.deepEqual(heard.get(2), { code: 'failed', message: 'no wings' })
    assert.deepEqual(heard.get(3), { code: 'failed', message: 'Do not know how to serialize a BigInt' })
    assert.equal(heard.get(4), null)
    assert.deepEqual(heard.get('a'), { code: 'failed', message: 'no ground' })
    assert.deepEqual(heard.get('b'), { code: 'unknown', message: 'there is no message "swim"' })
    const failed = told.flatMap(([type, event]) =>
      type === 'failed' ? [event as { name: string; error: unknown }] : [],
    )
    assert.deepEqual(failed.map(({ name }) => name).sort(), ['arm', 'count', 'fly', 'land', 'swim', 'swim', 'swim'])
    assert.equal(failed.find(({ name }) => name === 'arm')!.error, low)
  })

  it('goes on, whatever is thrown', async t => {
    const { client, line, answers } = await pair(t)
    const thrown = [
      Object.create(null),
      { code: Object.create(null), message: 'x'.repeat(100_000) },
      { code: 'low', message: Symbol('s') },
      { code: 'c'.repeat(100_000), message: 'long' },
      Object.defineProperty({}, 'code', {
        get() {
          throw new Error('no code')
        },
      }),
      undefined,
    ]
    client.action('throw', ([i]) => {
      throw thrown[i as number]
    })
    client.request('throw', ([i]) => Promise.reject(thrown[i as number]))
    for (const i of thrown.keys()) {
      line.send(action('throw', [i], { id: `action ${i}` }))
      line.send(request('throw', `request ${i}`, [i]))
    }
    const heard = await answers(2 * thrown.length)
    const silent = { code: 'failed', message: 'what was thrown cannot be said' }
    for (const what of ['action', 'request'])
      assert.deepEqual(
        thrown.map((_, i) => heard.get(`${what} ${i}`)),
        [
          silent,
          silent,
          silent,
          { code: 'c'.repeat(1024), message: 'long' },
          silent,
          { code: 'failed', message: 'undefined' },
        ],
      )
  })

  it('does actions one after the other, and requests beside each other when the actions before them are done', async t => {
    const { client, line, answers } = await pair(t)
    const done: string[] = []
    const gates = new Map<string, () => void>()
    const gate = (name: string) => new Promise<void>(resolve => gates.set(name, resolve))
    client.action('step', async ([name]) => {
      done.push(`${name} begins`)
      await gate(String(name))
      done.push(`${name} ends`)
    })
    client.action('step', ([name]) => done.push(`${name} again`))
    client.request('slow', () => gate('slow'))
    client.request('quick', () => done.push('quick'))
    line.send(action('step', ['one'], { id: 'one' }))
    line.send(request('slow', 'slow'))
    line.send(request('quick', 'quick'))
    line.send(action('step', ['two']))
    await until(() => gates.has('one'))
    assert.deepEqual(done, ['one begins'])
    gates.get('one')!()
    assert.deepEqual([...(await answers(2)).keys()], ['one', 'quick'])
    await until(() => gates.has('two'))
    assert.deepEqual(done, ['one begins', 'one ends', 'one again', 'quick', 'two begins'])
    gates.get('slow')!()
    await answers(3)
  })

  it('does once what the server sends again, and answers it as before', async t => {
    const { client, line, answers, station, opened } = await pair(t)
    const deliveries: unknown[] = []
    let count = 0
    client.action('land', (_args, _kwargs, delivery) => void deliveries.push(delivery))
    client.request('count', (_args, _kwargs, delivery) => {
      deliveries.push(delivery)
      return ++count
    })
    line.send(action('land', [], { id: 'k.1' }))
    line.send(request('count', 'k.2'))
    await answers(2)
    line.cut()
    await opened(2)
    const again = await station.line(2)
    again.received.length = 0
    again.send(action('land', [], { id: 'k.1', resend: true }))
    again.send({ ...request('count', 'k.2'), resend: true } as Messaging)
    again.send({ ...request('count', 'k.3'), resend: true } as Messaging)
    // Of a server that counts up to four digits, and has begun anew.
    again.send(request('count', 'k.2'))
    await until(() => again.received.length === 4)
    assert.deepEqual(
      plainly(again.received).map(said => [(said as { id: unknown }).id, (said as { value: unknown }).value]),
      [
        ['k.1', null],
        ['k.2', 1],
        ['k.3', 2],
        ['k.2', 3],
      ],
    )
    assert.deepEqual(plainly(deliveries), [
      { id: 'k.1', repeated: false },
      { id: 'k.2', repeated: false },
      { id: 'k.3', repeated: true },
      { id: 'k.2', repeated: false },
    ])
  })

  it('answers what it was doing when the connection broke on the next one, once', async t => {
    const { client, line, station, opened } = await pair(t)
    let finish = () => {}
    let count = 0
    client.request('slow', async () => {
      count++
      await new Promise<void>(resolve => {
        finish = resolve
      })
      return count
    })
    line.send(request('slow', 'k.1'))
    await until(() => count === 1)
    line.cut()
    await opened(2)
    const again = await station.line(2)
    again.received.length = 0
    again.send({ ...request('slow', 'k.1'), resend: true } as Messaging)
    again.send(request('id', 'k.2'))
    await until(() => again.received.length === 1)
    finish()
    await until(() => again.received.length === 2)
    assert.deepEqual(
      again.received.map(said => (said as { value: unknown }).value),
      ['copter1', 1],
    )
  })

  it('takes what real peers send: bare NaN, null for args and kwargs, any name of a key', async t => {
    const { client, line, answers, told } = await pair(t)
    const heard: unknown[][] = []
    client.action('telemetry', (args, kwargs) => heard.push([args, kwargs]))
    client.request('count', args => args.length)
    const bytes = (content: string, more: object) => framed(headerOf(content, more), content)
    line.write(
      bytes(
        '{"args": [NaN, -Infinity, "NaN \\" Infinity"], "kwargs": {"__proto__": {"a": Infinity}, "constructor": 1}}',
        {
          action: 'telemetry',
        },
      ),
    )
    line.write(
      bytes('{"requested_value": "count", "request_id": "0001", "args": null, "kwargs": null}', {
        'message-type': 'request',
      }),
    )
    assert.equal((await answers(1)).get('0001'), 0)
    const [args, kwargs] = heard[0] as [unknown[], Record<string, { a: unknown }>]
    assert.deepEqual(args, [null, null, 'NaN " Infinity'])
    assert.equal(Object.getPrototypeOf(kwargs), null)
    assert.deepEqual(Object.keys(kwargs), ['__proto__', 'constructor'])
    assert.equal(({} as { a?: unknown }).a, undefined)
    assert.ok(!told.some(([type]) => type === 'unreadable'))
  })

  it('tells of what it cannot read, ignores types of some day, and hears what follows', async t => {
    const { line, answers, told } = await pair(t)
    const bytes = (content: string, more: object) => framed(headerOf(content, more), content)
    line.write(bytes('{"args": [', { action: 'a' }))
    line.write(bytes('null', { action: 'a' }))
    line.write(bytes('{"args": []}', {}))
    line.write(bytes('{}', { 'message-type': 'some day' }))
    line.write(bytes(`{"args": ${'['.repeat(100_000)}${']'.repeat(100_000)}}`, { action: 'deep' }))
    line.write(bytes('{}', { action: 'a', 'content-encoding': 'klingon' }))
    line.send(request('id', '0001'))
    assert.equal((await answers(1)).get('0001'), 'copter1')
    const reasons = told.flatMap(([type, event]) =>
      type === 'unreadable' ? [(event as { reason: string }).reason] : [],
    )
    assert.equal(reasons.length, 5, reasons.join('\n'))
    assert.equal(reasons[2], 'action is a string of 1 to 1024 characters, received undefined')
  })

  it('hears plain messages as actions of that name', async t => {
    const { client, line, told } = await pair(t)
    line.send(action('message', ['hello']))
    await until(() => told.some(([type]) => type === 'message'))
    assert.deepEqual(
      told.filter(([type]) => type === 'message'),
      [['message', 'hello']],
    )
    assert.equal(client.send('hello too'), true)
    assert.equal(client.send(new Uint8Array([1])), false)
    await until(() => line.received.length === 1)
    assert.deepEqual(plainly(line.received), [{ type: 'message', name: 'message', args: ['hello too'], kwargs: {} }])
  })

  it('refuses handlers of names that are its own', async t => {
    const { client } = await pair(t)
    assert.throws(() => client.action('fws.resume', () => {}), { message: 'no handler can have the name "fws.resume"' })
    assert.throws(() => client.request('filetransfer', () => {}), {
      name: 'TypeError',
      message: 'no handler can have the name "filetransfer"',
    })
  })

  it('works on a thousand messages at most, and is busy for those beyond', async t => {
    const { client, line, told, answers } = await pair(t)
    const finish: (() => void)[] = []
    client.request('slow', () => new Promise<void>(resolve => finish.push(resolve)))
    for (let i = 0; i < 1001; i++) line.send(request('slow', i))
    await until(() => told.some(([type]) => type === 'failed'))
    assert.equal(finish.length, 1000)
    const [[, failed]] = told.filter(([type]) => type === 'failed') as [[string, { name: string; error: Error }]]
    assert.deepEqual([failed.name, failed.error.message], ['slow', 'too much is to be done'])
    assert.deepEqual((await answers(1)).get(1000), { code: 'busy', message: 'too much is to be done' })
    // It was not done: said again, it is not taken for what was.
    for (const end of finish) end()
    await answers(1001)
    line.send({ ...request('slow', 1000), resend: true } as Messaging)
    await until(() => finish.length === 1001)
    finish[1000]!()
    await answers(1002)
  })

  it('works on 16 MiB at most, and is busy beyond', async t => {
    const { client, line, answers } = await pair(t)
    const finish: (() => void)[] = []
    client.request('slow', () => new Promise<void>(resolve => finish.push(resolve)))
    const text = 'x'.repeat(5 * 1024 * 1024)
    for (let i = 0; i < 4; i++) line.send(request('slow', i, [text]))
    assert.deepEqual((await answers(1)).get(3), { code: 'busy', message: 'too much is to be done' })
    assert.equal(finish.length, 3)
    for (const end of finish) end()
    await answers(4)
    line.send(request('slow', 'free', [text]))
    await until(() => finish.length === 4)
  })

  it('takes another id from the server where the application lets it', async t => {
    const names: string[] = []
    const { client, line, station, opened, told } = await pair(t, {
      reconfigure: id => {
        names.push(id)
        if (id === 'bad') throw new Error('not that one')
      },
    })
    line.send(action('id', [], { id: 'k.1', kwargs: { new_id: 'bad' } }))
    line.send(action('id', [], { id: 'k.2', kwargs: { new_id: 'x'.repeat(129) } }))
    line.send(action('id', [], { id: 'k.3', kwargs: { new_id: 'copter2' } }))
    await opened(2)
    assert.deepEqual([names, client.id], [['bad', 'copter2'], 'copter2'])
    const again = await station.line(2)
    assert.equal((again.received[0] as { kwargs: Kwargs }).kwargs.id, 'copter2')
    assert.deepEqual(
      told.flatMap(([type, event]) => (type === 'failed' ? [(event as { error: Error }).error.message] : [])),
      ['not that one', 'new_id is a text of 1 to 128 characters'],
    )
    assert.deepEqual(
      told.filter(([type]) => type === 'close'),
      [['close', { code: 1000, reason: 'reload', retryIn: 0 }]],
    )
  })
})

describe('a messaging client in a room of strangers', () => {
  for (const over of ['tcp', 'ws'] as const)
    it(`keeps its id over ${over}, which only the server itself may give`, async t => {
      const names: string[] = []
      const { client, line, told } = await pair(t, { over, reconfigure: id => names.push(id) })
      line.send(action('id', [], { kwargs: { new_id: 'slave' } }))
      await until(() => told.some(([type]) => type === 'failed'))
      const [, failed] = told.find(([type]) => type === 'failed')! as [string, { name: string; error: Error }]
      assert.deepEqual([failed.name, failed.error.message], ['id', 'an id is given by the server alone'])
      assert.deepEqual([names, client.id], [[], 'copter1'])
    })

  it('keeps its id with a plain server, whatever the texts say', async t => {
    const { url } = await serve(t, { filters: ['broadcast'] })
    const names: string[] = []
    const { told, opened } = follow(t, url, { reconfigure: id => names.push(id) })
    await opened()
    const stranger = await Peer.open(url)
    for (const id of ['id', 'request_id'])
      stranger.send(JSON.stringify({ action: 'id', [id]: '1', kwargs: { new_id: 'slave' } }))
    await until(() => told.filter(([type]) => type === 'failed').length === 2)
    assert.deepEqual(names, [])
  })

  it('takes another id from the original, whose actions have none', async t => {
    const { client, line, opened } = await pair(t, { resume: undefined, reconfigure: () => {} })
    line.send(action('id', [], { kwargs: { new_id: 'copter2' } }))
    await opened(2)
    assert.equal(client.id, 'copter2')
  })

  it('goes on, whatever is to be done in a thousand years', async t => {
    const hear: GroundOptions['hear'] = (said, line) => {
      const now = Date.now() / 1000
      if (said.name === 'fws.clock') line.send(answer(said, [now, now]))
    }
    const { client, line, told } = await pair(t, { hear })
    const done: unknown[] = []
    client.action('land', () => done.push('land'))
    client.action('soon', () => done.push('soon'))
    for (let i = 0; i < 1000; i++) line.send(action('land', [], { at: 33_000_000_000 }))
    // What is nearer takes the place of the farthest.
    line.send(action('soon', [], { at: Date.now() / 1000 + 0.1 }))
    line.send(action('land'))
    line.send(request('id', '1'))
    await until(() => line.received.some(({ type }) => type === 'response'), 'the answer')
    await until(() => done.length === 2)
    assert.deepEqual(done.toSorted(), ['land', 'soon'])
    assert.equal(
      line.received.filter(({ name }) => name === 'fws.clock').length,
      8,
      'one look at the clock for all of them',
    )
    assert.deepEqual(
      told.flatMap(([type, event]) => (type === 'failed' ? [String((event as { error: unknown }).error)] : [])),
      ['MessagingError: too much is to be done'],
    )
  })

  it('does not answer under an id that fits into no header', async t => {
    const { line, told, answers } = await pair(t)
    const content = JSON.stringify({ requested_value: 'id', request_id: 'x'.repeat(70_000), args: [], kwargs: {} })
    line.write(framed(headerOf(content, { 'message-type': 'request' }), content))
    line.send(request('id', '1'))
    assert.equal((await answers(1)).get('1'), 'copter1')
    const [, event] = told.find(([type]) => type === 'unreadable')!
    assert.equal(
      (event as { reason: string }).reason,
      `an id is a number or a string of at most 1024 characters, received "${'x'.repeat(60)}..."`,
    )
  })
})
