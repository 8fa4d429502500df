import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import type { Args, Kwargs, Messaging } from '../../../filters/messaging/wire/message.ts'
import { type GroundOptions, ground } from '../../support/ground.ts'
import { framed, headerOf, plainly } from '../../support/messaging.ts'
import { follow, responseTo } from '../../support/messaging-client.ts'
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

/** A client, the server's end of its connection, and the responses that arrive there by id. */
async function pair(t: TestContext, options: GroundOptions & Parameters<typeof follow>[2] = {}) {
  const station = await ground(t, options)
  const { client, events, opened } = follow(t, station.url, options)
  await opened()
  const line = await station.line()
  line.received.length = 0
  async function responses(count: number): Promise<ReadonlyMap<unknown, unknown>> {
    await until(() => line.received.length >= count, `${count} responses, got ${JSON.stringify(line.received)}`)
    assert.equal(line.received.length, count)
    return new Map(
      (plainly(line.received) as unknown as { id: unknown; value: unknown; error?: unknown }[]).map(
        ({ id, value, error }) => [id, error ?? value],
      ),
    )
  }
  return { station, client, events, opened, line, responses }
}

describe('a messaging client', () => {
  it('responds with its handlers, and to `id` and `time` without one', async t => {
    const { client, line, responses } = await pair(t)
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
    const received = await responses(6)
    assert.deepEqual(received.get('0001'), { высота: 2, nan: null })
    assert.equal(received.get(7), null)
    assert.equal(received.get('0002'), 'copter1')
    assert.equal(received.get('0003'), 2)
    const [t2, t3] = received.get('0005') as [number, number]
    for (const time of [received.get('0004') as number, t2, t3])
      assert.ok(Math.abs(time - before) < 5, `${time} is not the time, which was ${before}`)
    assert.ok(t3 >= t2)
    stop()
    client.request('id', () => 'somebody else')
    line.send(request('double', '0006'))
    line.send(request('id', '0007'))
    const last = await responses(8)
    assert.deepEqual([last.get('0006'), last.get('0007')], [1, 'somebody else'])
  })

  it('responds with an error without a handler, after a throw, and to a value that is no JSON', async t => {
    const { client, line, responses, events } = await pair(t)
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
    const received = await responses(7)
    assert.deepEqual(received.get(0), { code: 'unknown', message: 'there is no request "swim"' })
    assert.deepEqual(received.get(1), { code: 'low', message: 'battery at 3 %' })
    assert.deepEqual(received.get(2), { code: 'failed', message: 'no wings' })
    assert.deepEqual(received.get(3), { code: 'failed', message: 'Do not know how to serialize a BigInt' })
    assert.equal(received.get(4), null)
    assert.deepEqual(received.get('a'), { code: 'failed', message: 'no ground' })
    assert.deepEqual(received.get('b'), { code: 'unknown', message: 'there is no message "swim"' })
    const failed = events.flatMap(([type, event]) =>
      type === 'failed' ? [event as { name: string; error: unknown }] : [],
    )
    assert.deepEqual(failed.map(({ name }) => name).sort(), ['arm', 'count', 'fly', 'land', 'swim', 'swim', 'swim'])
    assert.equal(failed.find(({ name }) => name === 'arm')!.error, low)
  })

  it('continues after any thrown value', async t => {
    const { client, line, responses } = await pair(t)
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
    const received = await responses(2 * thrown.length)
    const unprintable = { code: 'failed', message: 'the error has no string form' }
    for (const what of ['action', 'request'])
      assert.deepEqual(
        thrown.map((_, i) => received.get(`${what} ${i}`)),
        [
          unprintable,
          unprintable,
          unprintable,
          { code: 'c'.repeat(1024), message: 'long' },
          unprintable,
          { code: 'failed', message: 'undefined' },
        ],
      )
  })

  it('runs actions one after the other, and requests concurrently when the earlier actions are done', async t => {
    const { client, line, responses } = await pair(t)
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
    assert.deepEqual([...(await responses(2)).keys()], ['one', 'quick'])
    await until(() => gates.has('two'))
    assert.deepEqual(done, ['one begins', 'one ends', 'one again', 'quick', 'two begins'])
    gates.get('slow')!()
    await responses(3)
  })

  it('runs a resent message once, and sends the same response again', async t => {
    const { client, line, responses, station, opened } = await pair(t)
    const deliveries: unknown[] = []
    let count = 0
    client.action('land', (_args, _kwargs, delivery) => void deliveries.push(delivery))
    client.request('count', (_args, _kwargs, delivery) => {
      deliveries.push(delivery)
      return ++count
    })
    line.send(action('land', [], { id: 'k.1' }))
    line.send(request('count', 'k.2'))
    await responses(2)
    line.cut()
    await opened(2)
    const again = await station.line(2)
    again.received.length = 0
    again.send(action('land', [], { id: 'k.1', resend: true }))
    again.send({ ...request('count', 'k.2'), resend: true } as Messaging)
    again.send({ ...request('count', 'k.3'), resend: true } as Messaging)
    // clever-show uses ids again, as they have four digits.
    again.send(request('count', 'k.2'))
    await until(() => again.received.length === 4)
    assert.deepEqual(
      plainly(again.received).map(message => [(message as { id: unknown }).id, (message as { value: unknown }).value]),
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

  it('responds once, on the next connection, if the connection broke meanwhile', async t => {
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
      again.received.map(message => (message as { value: unknown }).value),
      ['copter1', 1],
    )
  })

  it('accepts NaN, null for args and kwargs, and any key, as real peers send them', async t => {
    const { client, line, responses, events } = await pair(t)
    const received: unknown[][] = []
    client.action('telemetry', (args, kwargs) => received.push([args, kwargs]))
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
    assert.equal((await responses(1)).get('0001'), 0)
    const [args, kwargs] = received[0] as [unknown[], Record<string, { a: unknown }>]
    assert.deepEqual(args, [null, null, 'NaN " Infinity'])
    assert.equal(Object.getPrototypeOf(kwargs), null)
    assert.deepEqual(Object.keys(kwargs), ['__proto__', 'constructor'])
    assert.equal(({} as { a?: unknown }).a, undefined)
    assert.ok(!events.some(([type]) => type === 'unreadable'))
  })

  it('reports unreadable messages, ignores unknown types, and continues', async t => {
    const { line, responses, events } = await pair(t)
    const bytes = (content: string, more: object) => framed(headerOf(content, more), content)
    line.write(bytes('{"args": [', { action: 'a' }))
    line.write(bytes('null', { action: 'a' }))
    line.write(bytes('{"args": []}', {}))
    line.write(bytes('{}', { 'message-type': 'future' }))
    line.write(bytes(`{"args": ${'['.repeat(100_000)}${']'.repeat(100_000)}}`, { action: 'deep' }))
    line.write(bytes('{}', { action: 'a', 'content-encoding': 'klingon' }))
    line.send(request('id', '0001'))
    assert.equal((await responses(1)).get('0001'), 'copter1')
    const reasons = events.flatMap(([type, event]) =>
      type === 'unreadable' ? [(event as { reason: string }).reason] : [],
    )
    assert.equal(reasons.length, 5, reasons.join('\n'))
    assert.equal(reasons[2], 'action is a string of 1 to 1024 characters, received undefined')
  })

  it('emits `message` for an action of that name', async t => {
    const { client, line, events } = await pair(t)
    line.send(action('message', ['hello']))
    await until(() => events.some(([type]) => type === 'message'))
    assert.deepEqual(
      events.filter(([type]) => type === 'message'),
      [['message', 'hello']],
    )
    assert.equal(client.send('hello too'), true)
    assert.equal(client.send(new Uint8Array([1])), false)
    await until(() => line.received.length === 1)
    assert.deepEqual(plainly(line.received), [{ type: 'message', name: 'message', args: ['hello too'], kwargs: {} }])
  })

  it('refuses handlers for reserved names', async t => {
    const { client } = await pair(t)
    assert.throws(() => client.action('fws.resume', () => {}), { message: 'the name "fws.resume" is reserved' })
    assert.throws(() => client.request('filetransfer', () => {}), {
      name: 'TypeError',
      message: 'the name "filetransfer" is reserved',
    })
  })

  it('processes at most 1,000 messages at a time, and responds `busy` to others', async t => {
    const { client, line, events, responses } = await pair(t)
    const finish: (() => void)[] = []
    client.request('slow', () => new Promise<void>(resolve => finish.push(resolve)))
    for (let i = 0; i < 1001; i++) line.send(request('slow', i))
    await until(() => events.some(([type]) => type === 'failed'))
    assert.equal(finish.length, 1000)
    const [[, failed]] = events.filter(([type]) => type === 'failed') as [[string, { name: string; error: Error }]]
    assert.deepEqual([failed.name, failed.error.message], ['slow', 'too many messages'])
    assert.deepEqual((await responses(1)).get(1000), { code: 'busy', message: 'too many messages' })
    // It did not run, so its resend is no repetition.
    for (const end of finish) end()
    await responses(1001)
    line.send({ ...request('slow', 1000), resend: true } as Messaging)
    await until(() => finish.length === 1001)
    finish[1000]!()
    await responses(1002)
  })

  it('processes at most 16 MiB at a time, and responds `busy` to more', async t => {
    const { client, line, responses } = await pair(t)
    const finish: (() => void)[] = []
    client.request('slow', () => new Promise<void>(resolve => finish.push(resolve)))
    const text = 'x'.repeat(5 * 1024 * 1024)
    for (let i = 0; i < 4; i++) line.send(request('slow', i, [text]))
    assert.deepEqual((await responses(1)).get(3), { code: 'busy', message: 'too many messages' })
    assert.equal(finish.length, 3)
    for (const end of finish) end()
    await responses(4)
    line.send(request('slow', 'free', [text]))
    await until(() => finish.length === 4)
  })

  it('accepts another id from the server if the application allows it', async t => {
    const names: string[] = []
    const { client, line, station, opened, events } = await pair(t, {
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
      events.flatMap(([type, event]) => (type === 'failed' ? [(event as { error: Error }).error.message] : [])),
      ['not that one', 'new_id is a string of 1 to 128 characters'],
    )
    assert.deepEqual(
      events.filter(([type]) => type === 'close'),
      [['close', { code: 1000, reason: 'reload', retryIn: 0 }]],
    )
  })
})

describe('a messaging client among untrusted clients', () => {
  for (const over of ['tcp', 'ws'] as const)
    it(`keeps its id over ${over}, which only the server can set`, async t => {
      const names: string[] = []
      const { client, line, events } = await pair(t, { over, reconfigure: id => names.push(id) })
      line.send(action('id', [], { kwargs: { new_id: 'slave' } }))
      await until(() => events.some(([type]) => type === 'failed'))
      const [, failed] = events.find(([type]) => type === 'failed')! as [string, { name: string; error: Error }]
      assert.deepEqual([failed.name, failed.error.message], ['id', 'only the server can set the id'])
      assert.deepEqual([names, client.id], [[], 'copter1'])
    })

  it('keeps its id with a plain server, whatever its clients send', async t => {
    const { url } = await serve(t, { filters: ['broadcast'] })
    const names: string[] = []
    const { events, opened } = follow(t, url, { reconfigure: id => names.push(id) })
    await opened()
    const other = await Peer.open(url)
    for (const id of ['id', 'request_id'])
      other.send(JSON.stringify({ action: 'id', [id]: '1', kwargs: { new_id: 'slave' } }))
    await until(() => events.filter(([type]) => type === 'failed').length === 2)
    assert.deepEqual(names, [])
  })

  it('accepts another id from clever-show, whose actions have no id', async t => {
    const { client, line, opened } = await pair(t, { resume: undefined, reconfigure: () => {} })
    line.send(action('id', [], { kwargs: { new_id: 'copter2' } }))
    await opened(2)
    assert.equal(client.id, 'copter2')
  })

  it('continues while actions are scheduled for a time in a thousand years', async t => {
    const onMessage: GroundOptions['onMessage'] = (message, line) => {
      const now = Date.now() / 1000
      if (message.name === 'fws.clock') line.send(responseTo(message, [now, now]))
    }
    const { client, line, events } = await pair(t, { onMessage })
    const done: unknown[] = []
    client.action('land', () => done.push('land'))
    client.action('soon', () => done.push('soon'))
    for (let i = 0; i < 1000; i++) line.send(action('land', [], { at: 33_000_000_000 }))
    // An earlier job replaces the latest one.
    line.send(action('soon', [], { at: Date.now() / 1000 + 0.1 }))
    line.send(action('land'))
    line.send(request('id', '1'))
    await until(() => line.received.some(({ type }) => type === 'response'), 'the response')
    await until(() => done.length === 2)
    assert.deepEqual(done.toSorted(), ['land', 'soon'])
    assert.equal(
      line.received.filter(({ name }) => name === 'fws.clock').length,
      8,
      'one measurement of the clock for all of them',
    )
    assert.deepEqual(
      events.flatMap(([type, event]) => (type === 'failed' ? [String((event as { error: unknown }).error)] : [])),
      ['MessagingError: too many messages'],
    )
  })

  it('reports a request whose id does not fit into a header', async t => {
    const { line, events, responses } = await pair(t)
    const content = JSON.stringify({ requested_value: 'id', request_id: 'x'.repeat(70_000), args: [], kwargs: {} })
    line.write(framed(headerOf(content, { 'message-type': 'request' }), content))
    line.send(request('id', '1'))
    assert.equal((await responses(1)).get('1'), 'copter1')
    const [, event] = events.find(([type]) => type === 'unreadable')!
    assert.equal(
      (event as { reason: string }).reason,
      `an id is a number or a string of at most 1024 characters, received "${'x'.repeat(60)}..."`,
    )
  })
})
