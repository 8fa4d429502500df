import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it, type TestContext } from 'node:test'
import { limitsOf } from '../../filters/messaging/wire/limits.ts'
import { frameOf } from '../../filters/messaging/wire/message.ts'
import type { Messaging, MessagingApi } from '../../filters/messaging.ts'
import { readText } from '../../protocols/clever-show/text.ts'
import type { Client, Message } from '../../src/contract/client.ts'
import type { FilterModule } from '../../src/contract/filter.ts'
import type { Payload } from '../../src/contract/payload.ts'
import { cheap, filled } from '../support/cpu.ts'
import { action, building, framed, headerOf, plainly, request, vector } from '../support/messaging.ts'
import { Peer, serve, until } from '../support/peer.ts'

/** A server and its clients: `plain` ones do not offer a subprotocol of messaging. */
async function messaging(t: TestContext, filters: (string | FilterModule)[] = ['broadcast'], options: object = {}) {
  const server = await serve(t, { filters: ['messaging', ...filters], ...options })
  const clientOf = async (count: number): Promise<Client> => {
    await until(() => server.clients.size === count, `${count} clients`)
    return [...server.clients.values()].at(-1)!
  }
  return {
    server,
    clientOf,
    plain: () => Peer.open(server.url),
    browser: () => Peer.open(server.url, {}, ['messaging']),
    framed: () => Peer.open(server.url, {}, ['messaging-frames']),
  }
}

const MIB = 1_048_576
const large = (length: number) => `a message: JSON has at most ${MIB} characters, received ${length}`
const MANY = 'a message: JSON has at most 100000 elements, received more'
const DEEP = 'a message: JSON has at most 100 levels, received more'

/** Strings that begin like messages, and would be expensive to parse. */
const hostile: readonly (readonly [what: string, text: string, why: string])[] = [
  ['14 MiB of NaN', filled(14 * MIB, '{"args":[', 'NaN,', 'NaN]}'), large(14 * MIB)],
  ['seven million [', filled(7_000_000, '{"args":', '[', ''), large(7_000_000)],
  ['1 MiB of NaN', filled(MIB, '{"args":[', 'NaN,', 'NaN]}'), MANY],
  ['1 MiB of [', filled(MIB, '{"args":', '[', ''), DEEP],
  ['1 MiB of objects', filled(MIB, '{"action":"a","args":[', '{},', '{}]}'), MANY],
  ['1 MiB of nested objects', filled(MIB, '{"action":', '{"a":', ''), DEEP],
  ['1 MiB of numbers', filled(MIB, '{"request":"a","args":[', '1,', '1]}'), MANY],
  ['1 MiB of strings', filled(MIB, '{"response":"a","value":[', '"",', '""]}'), MANY],
  ['an id of 2 MiB', filled(2 * MIB, '{"request":"a","id":"', 'x', '"}'), large(2 * MIB)],
]

describe('a hostile JSON text', () => {
  for (const [what, text, why] of hostile)
    it(`costs little, and closes 1009: ${what}`, async t => {
      const error = cheap(() => {
        try {
          return readText(text, limitsOf())
        } catch (error) {
          return error
        }
      }, what)
      assert.equal((error as Error).message, why)
      const { server, browser } = await messaging(t, [])
      const [ann, eve] = [await browser(), await browser()]
      eve.send(text)
      await until(() => eve.closed !== undefined)
      assert.deepEqual(eve.closed, { code: 1009, reason: why })
      server.broadcast('hello')
      await ann.get(1)
    })

  it('costs little if it is not a message', () => {
    for (const [what, text] of [
      ['spaces', ' '.repeat(MIB)],
      ['spaces behind the brace', `{${' '.repeat(MIB)}`],
      ['lines', '\n'.repeat(MIB)],
      ['spaces before a message', `${' '.repeat(MIB)}{"action":"a"}`],
      ['braces', '{'.repeat(MIB)],
      ['quotes', '{"'.repeat(MIB / 2)],
    ] as const)
      assert.equal(
        cheap(() => readText(text, limitsOf()), what),
        undefined,
      )
  })

  it('closes 1009 as the content of a frame too', async t => {
    const { browser, server } = await messaging(t, [])
    for (const [content, why] of [
      [
        `{"args":[${'NaN,'.repeat(200_000)}1]}`,
        'the content of a message: JSON has at most 100000 elements, received more',
      ],
      ['['.repeat(MIB), 'the content of a message: JSON has at most 100 levels, received more'],
      ['x'.repeat(MIB + 1), `a content has at most ${MIB} bytes, ${MIB + 1} are announced`],
    ] as const) {
      const eve = await Peer.open(server.url, {}, ['messaging-frames'])
      eve.send(framed(headerOf(content, { action: 'x' }), content))
      await until(() => eve.closed !== undefined)
      assert.deepEqual(eve.closed, { code: 1009, reason: why })
    }
    const ann = await browser()
    server.broadcast('hello')
    await ann.get(1)
  })

  it('passes as an ordinary string of a client without the protocol', async t => {
    const { plain, browser } = await messaging(t)
    const [ann, bob, eve] = [await browser(), await plain(), await plain()]
    const text = `{"action":"a","args":[${'NaN,'.repeat(110_000)}1]}`
    eve.send(text)
    await Promise.all([ann.get(1), bob.get(1)])
    assert.deepEqual(bob.received, [text])
    assert.deepEqual(json(ann), [{ action: 'message', args: [text], kwargs: {} }])
  })

  it('is not refused in broadcasts of filters', async t => {
    const broadcasting = building(api =>
      api.action('all', ({ server }) => api.broadcast(server, 'n', [Array(150_000).fill(1)])),
    )
    const { browser } = await messaging(t, [broadcasting])
    const ann = await browser()
    ann.send('{"action":"all"}')
    await ann.get(1)
    assert.equal((json(ann)[0] as { args: unknown[][] }).args[0]!.length, 150_000)
  })
})

const json = (peer: Peer) => peer.received.map(text => JSON.parse(String(text)))

describe('messaging over WebSocket', () => {
  it('sends JSON text to a client that offers the subprotocol messaging', async t => {
    const { server, plain, browser } = await messaging(t)
    const [ann, bob] = [await browser(), await plain()]
    assert.deepEqual([ann.ws.protocol, bob.ws.protocol], ['messaging', ''])
    server.broadcast('hello')
    await Promise.all([ann.get(1), bob.get(1)])
    assert.deepEqual(ann.received, ['{"action":"message","args":["hello"],"kwargs":{}}'])
    assert.deepEqual(bob.received, ['hello'])
  })

  it('decodes messages only of clients that offer one of its subprotocols', async t => {
    const done: string[] = []
    const { server, plain, browser, framed, clientOf } = await messaging(t, [
      building(api => {
        api.action('land', ({ codec }) => void done.push(codec.name))
        api.request('sum', () => 3)
      }),
      'broadcast',
    ])
    const other = await plain()
    // Subprotocols of other filters.
    const clients = [await plain(), await Peer.open(server.url, {}, ['messaging-framesx', 'Messaging', 'chat'])]
    await clientOf(3)
    const sent = [
      '{"action": "land"}',
      '{"action":"land","args":[],"kwargs":{}}',
      ' {"action": "land", "at": 1}',
      '{"request": "sum", "id": "1"}',
      '{"request": "id", "id": 1, "args": [NaN]}',
      '{"response": "sum", "id": "1", "value": 2}',
      '{"action": "a", "args": 1}',
      'land',
      vector('py3/action/simple'),
      vector('py3/request/args'),
      action('land'),
      request('sum', '0001', [1, 2]),
      vector('odd/unknown-message-type'),
    ]
    for (const [i, client] of clients.entries()) {
      for (const payload of sent) client.send(payload)
      await other.get(sent.length * (i + 1))
    }
    assert.deepEqual(other.received, [...sent, ...sent])
    assert.deepEqual(done, [])
    server.broadcast('end')
    // Each gets the messages of the other client, and no answer.
    for (const client of clients) assert.deepEqual(await client.get(sent.length + 1), [...sent, 'end'])
    assert.deepEqual(
      [...server.clients.values()].map(({ codec }) => codec.name),
      ['plain', 'plain', 'plain'],
    )
    const [ann, bob] = [await browser(), await framed()]
    ann.send('{"action": "land"}')
    bob.send(action('land'))
    await until(() => done.length === 2)
    assert.deepEqual(done.sort(), ['messaging', 'messaging-text'])
  })

  it('sends its clients the strings of other clients as actions, which later filters can check', async t => {
    const seen: unknown[] = []
    const { plain, browser, framed, clientOf } = await messaging(t, [
      {
        message: (payload: Payload, _: Client, { messaging }: Message & { messaging?: Messaging }) =>
          void seen.push([String(payload), messaging?.name]),
      },
      'broadcast',
    ])
    const [ann, bob, other] = [await browser(), await framed(), await plain()]
    await clientOf(3)
    const texts = [
      '{"action": "land"}',
      '{"request": "land", "id": "1"}',
      '{"response": "land", "id": "1"}',
      '{"action": 1}',
      'land',
    ]
    for (const text of texts) other.send(text)
    await Promise.all([ann.get(texts.length), bob.get(texts.length)])
    assert.deepEqual(
      seen,
      texts.map((text, i) => [text, i === 0 ? 'land' : undefined]),
    )
    assert.deepEqual(json(ann), [
      { action: 'land', args: [], kwargs: {} },
      ...texts.slice(1).map(text => ({ action: 'message', args: [text], kwargs: {} })),
    ])
    assert.deepEqual(bob.received, [action('land'), ...texts.slice(1).map(text => action('message', [text]))])
  })

  it('answers each client in the form of its last message', async t => {
    const { browser } = await messaging(t, [
      building(api => api.request('sum', (_, args) => Number(args[0]) + Number(args[1]))),
    ])
    const peer = await browser()
    peer.send(request('sum', '0001', [1, 2]))
    peer.send('{"request": "sum", "id": "0002", "args": [3, 4]}')
    peer.send(vector('py3/request/args'))
    const [first, second, third] = await peer.get(3)
    assert.match(String(first), /"requested_value": "sum", "request_id": "0001"\}\{"value": 3\}$/)
    assert.equal(second, '{"response":"sum","id":"0002","value":7}')
    assert.match(String(third), /"request_id": "9999"\}\{"value": 3\}$/)
  })

  it('sends frames to a client that offers the subprotocol messaging-frames', async t => {
    const { server } = await messaging(t)
    const ann = await Peer.open(server.url, {}, ['messaging', 'messaging-frames', 'bearer'])
    assert.equal(ann.ws.protocol, 'messaging-frames')
    await until(() => server.clients.size === 1)
    server.broadcast('hello')
    assert.deepEqual(await ann.get(1), [action('message', ['hello'])])
  })

  it('sends strings to a client of messaging-json whatever it sent last, and frames only for files', async t => {
    const { server } = await messaging(t, [
      building(api => api.request('sum', (_, args) => Number(args[0]) + Number(args[1]))),
      { message: payload => (payload === 'raw' ? Buffer.from('bytes of a filter') : undefined) },
      'broadcast',
    ])
    const open = (...protocols: string[]) => Peer.open(server.url, {}, protocols)
    const [ann, bob] = [await open('messaging', 'messaging-frames', 'messaging-json'), await open('messaging-json')]
    assert.equal(ann.ws.protocol, 'messaging-json')
    const file = frameOf({
      type: 'message',
      name: 'filetransfer',
      args: [],
      kwargs: { filepath: 'a' },
      content: Buffer.from('b'),
    })
    ann.send(request('sum', '0001', [1, 2]))
    ann.send('{"request": "sum", "id": "0002", "args": [3, 4]}')
    await ann.get(2)
    bob.send('raw')
    bob.send(action('land'))
    await ann.get(3)
    server.broadcast(file, { format: 'messaging' })
    server.broadcast(action('start'), { format: 'messaging' })
    assert.deepEqual(await ann.get(5), [
      '{"response":"sum","id":"0001","value":3}',
      '{"response":"sum","id":"0002","value":7}',
      '{"action":"land","args":[],"kwargs":{}}',
      file,
      '{"action":"start","args":[],"kwargs":{}}',
    ])
    ann.send(Buffer.from('no frame'))
    assert.deepEqual(await ann.end(), { code: 1007, reason: 'a frame ends in its header' })
  })

  it('sets the view of a message for later filters', async t => {
    const seen: unknown[] = []
    const { browser } = await messaging(t, [
      {
        message: (payload: Payload, _: Client, message: Message) =>
          void seen.push([payload, plainly((message as { messaging?: Messaging }).messaging ?? null)]),
      },
    ])
    const ann = await browser()
    ann.send('{"action": "message", "args": ["hi"]}')
    ann.send(vector('py3/action/args'))
    ann.send('just text')
    await until(() => seen.length === 3)
    assert.deepEqual(seen, [
      ['hi', { type: 'message', name: 'message', args: ['hi'], kwargs: {} }],
      [
        '{"action":"led_fill","args":[255,0,16],"kwargs":{"time":1.5}}',
        { type: 'message', name: 'led_fill', args: [255, 0, 16], kwargs: { time: 1.5 } },
      ],
      ['just text', null],
    ])
  })

  it('lets filters check every action that its clients get', async t => {
    const heard: unknown[] = []
    const { plain, browser } = await messaging(t, [
      {
        message: (_: Payload, client: Client, { messaging }: Message & { messaging?: Messaging }) => {
          heard.push(messaging?.name)
          return messaging?.name === 'disarm' ? client.drop('not allowed') : undefined
        },
      },
      'broadcast',
    ])
    const [ann, bob, eve] = [await browser(), await plain(), await plain()]
    eve.send('nothing')
    eve.send(' {"action": "disarm"}')
    bob.send('{"action": "message", "args": ["{\\"action\\": \\"disarm\\"}"]}')
    bob.send('end')
    await until(() => heard.length === 4)
    await ann.get(3)
    assert.deepEqual(heard.sort(), ['disarm', 'message', undefined, undefined].sort())
    assert.deepEqual(
      json(ann)
        .map(({ action, args }) => [action, ...args])
        .sort(),
      [
        ['message', 'end'],
        ['message', 'nothing'],
        ['message', '{"action": "disarm"}'],
      ].sort(),
    )
  })

  it('closes its clients for invalid messages, with the reason; of other clients they are strings', async t => {
    const { browser, plain, framed } = await messaging(t, ['echo'])
    const [ann, bob, eve] = [await browser(), await plain(), await framed()]
    ann.send('{"action": "a", "args": 1}')
    assert.deepEqual(await ann.end(), { code: 1007, reason: 'args is an array, received 1' })
    bob.send('{"action": "a", "args": 1}')
    assert.deepEqual(await bob.get(1), ['{"action": "a", "args": 1}'])
    eve.send(vector('py3/action/simple'))
    eve.send(Buffer.from('no frame'))
    assert.deepEqual(await eve.end(), { code: 1007, reason: 'a frame ends in its header' })
  })

  it('accepts contents of up to the configured size', async t => {
    const { framed } = await messaging(t, ['echo'], { messagingMaxJson: 2000 })
    const peer = await framed()
    peer.send(action('a', ['x'.repeat(1900)]))
    await peer.get(1)
    peer.send(action('a', ['x'.repeat(2000)]))
    assert.deepEqual(await peer.end(), { code: 1009, reason: 'a content has at most 2000 bytes, 2028 are announced' })
  })

  it('ignores unknown types of messages', async t => {
    const { server, framed } = await messaging(t, ['echo'])
    const peer = await framed()
    peer.send(vector('py3/action/simple'))
    peer.send(vector('odd/unknown-message-type'))
    peer.send(action('message', ['hi']))
    assert.deepEqual((await peer.get(2))[1], action('message', ['hi']))
    assert.equal(server.counters.drops['unknown type of message'], 1)
  })

  it('uses the configured action for plain strings', async t => {
    const { browser, plain } = await messaging(t, ['broadcast'], { messagingAction: 'say' })
    const [ann, bob] = [await browser(), await plain()]
    bob.send('hi')
    assert.deepEqual(await ann.get(1), ['{"action":"say","args":["hi"],"kwargs":{}}'])
    ann.send('{"action": "say", "args": ["hello"]}')
    assert.deepEqual(await bob.get(1), ['hello'])
  })

  it('does not handle clients of other protocols', async t => {
    const { server, plain, browser } = await messaging(t, ['media', 'broadcast'])
    const [ann, bob] = [await browser(), await plain()]
    await until(() => server.clients.size === 2)
    assert.deepEqual([...server.clients.values()].map(({ codec }) => codec.name).sort(), ['media', 'messaging-text'])
    bob.send('{"action": "a"}')
    assert.deepEqual(await ann.get(1), ['{"action":"a","args":[],"kwargs":{}}'])
  })

  it('refuses files without a root', async t => {
    const { server, framed } = await messaging(t, ['echo'])
    const peer = await framed()
    peer.send(vector('py3/file/push'))
    peer.send(vector('py3/request/filetransfer'))
    const [answer] = await peer.get(1)
    assert.match(String(answer), /"error": \{"code":"off","message":"file transfers are off"\}\}\{"value": null\}$/)
    assert.equal(server.counters.drops['file: off'], 1)
  })
})

describe('the API of messaging', () => {
  /** A server with an application, and a browser. */
  async function application(t: TestContext, on: (api: MessagingApi) => void, options: object = {}) {
    let api!: MessagingApi
    const room = await messaging(
      t,
      [
        building(given => {
          api = given
          on(given)
        }),
        'broadcast',
      ],
      options,
    )
    return { ...room, api }
  }

  it('actions run their handlers, and do not reach later filters', async t => {
    const done: unknown[] = []
    const { plain, browser } = await application(t, api => {
      api.action('led', (client, args, kwargs) => done.push(['one', client.transport, args, { ...kwargs }]))
      api.action('led', (_, args) => done.push(['two', args]))
    })
    const [ann, bob] = [await browser(), await plain()]
    ann.send('{"action": "led", "args": [1], "kwargs": {"a": 2}}')
    ann.send('{"action": "other"}')
    assert.deepEqual(await bob.get(1), ['{"action":"other","args":[],"kwargs":{}}'])
    assert.deepEqual(done, [
      ['one', 'websocket', [1], { a: 2 }],
      ['two', [1]],
    ])
  })

  it('actions run one after the other, and requests after the actions before them', async t => {
    const log: string[] = []
    let go = () => {}
    const going = new Promise<void>(resolve => {
      go = resolve
    })
    const { browser } = await application(t, api => {
      api.action('slow', async () => {
        log.push('slow begins')
        await going
        log.push('slow ends')
      })
      api.action('quick', () => log.push('quick'))
      api.request('log', () => log.join())
      api.request('never', () => new Promise(() => {}))
    })
    const ann = await browser()
    ann.send('{"request": "never", "id": "0"}')
    ann.send('{"request": "log", "id": "1"}')
    for (const text of ['{"action": "slow"}', '{"action": "quick"}', '{"request": "log", "id": "2"}']) ann.send(text)
    await until(() => log.length === 1)
    go()
    await ann.get(2)
    assert.deepEqual(ann.received, [
      '{"response":"log","id":"1","value":""}',
      '{"response":"log","id":"2","value":"slow begins,slow ends,quick"}',
    ])
  })

  it('a request is answered with the result or the error of its handler', async t => {
    const { browser } = await application(t, api => {
      api.request('now', () => 42)
      api.request('later', async () => ({ a: [1] }))
      api.request('nothing', () => {})
      api.request('broken', () => {
        throw new Error('no battery')
      })
      api.request('rejected', async () => {
        throw Object.assign(new Error('not today'), { code: 'busy' })
      })
      api.request('file', () => readFileSync('/no/such/file'))
      api.request('talkative', () => {
        throw new Error('x'.repeat(100_000))
      })
      api.request('object', (_client, _args, kwargs) => {
        throw kwargs
      })
      api.request('late object', async (_client, _args, kwargs) => {
        throw kwargs
      })
      api.request('function', () => () => {})
      api.request('loop', () => {
        const loop: unknown[] = []
        loop.push(loop)
        return loop
      })
    })
    const ann = await browser()
    const asked = [
      'now',
      'later',
      'nothing',
      'broken',
      'rejected',
      'file',
      'talkative',
      'object',
      'late object',
      'function',
      'loop',
      'unknown',
      '__proto__',
    ]
    for (const [i, name] of asked.entries()) {
      ann.send(JSON.stringify({ request: name, id: `${i}` }))
      await ann.get(i + 1)
    }
    assert.deepEqual(
      json(ann).map(({ response, value, error }) => [response, value ?? error]),
      [
        ['now', 42],
        ['later', { a: [1] }],
        ['nothing', undefined],
        ['broken', { code: 'failed', message: 'no battery' }],
        ['rejected', { code: 'busy', message: 'not today' }],
        ['file', { code: 'failed', message: 'request "file" failed' }],
        ['talkative', { code: 'failed', message: 'x'.repeat(1024) }],
        ['object', { code: 'failed', message: 'an object' }],
        ['late object', { code: 'failed', message: 'an object' }],
        ['function', { code: 'unserializable', message: 'the answer to "function" is not JSON' }],
        ['loop', { code: 'unserializable', message: 'the answer to "loop" is not JSON' }],
        ['unknown', { code: 'unknown', message: 'there is no request "unknown"' }],
        ['__proto__', { code: 'unknown', message: 'there is no request "__proto__"' }],
      ],
    )
  })

  it('an action that fails is logged, and the next one runs', async t => {
    const { server, browser } = await application(t, api => {
      api.action('broken', () => {
        throw new Error('no battery')
      })
      api.action('rejected', () => Promise.reject(new Error('no battery')))
      api.request('ok', () => true)
    })
    const ann = await browser()
    for (const text of ['{"action": "broken"}', '{"action": "rejected"}', '{"request": "ok", "id": "1"}'])
      ann.send(text)
    assert.deepEqual(await ann.get(1), ['{"response":"ok","id":"1","value":true}'])
    assert.equal(server.counters.errors, 1)
  })

  it('clients are called, also while their messages are handled', async t => {
    const { browser, api } = await application(t, given =>
      given.action('ready', async (client, args) => {
        const battery = await given.call(client, 'battery', args)
        given.emit(client, 'go', [battery], { at: 1 })
      }),
    )
    assert.ok(api)
    const ann = await browser()
    ann.send('{"action": "ready", "args": [7]}')
    await ann.get(1)
    const [{ request, id, args }] = json(ann)
    assert.deepEqual([request, args], ['battery', [7]])
    assert.match(id, /^\d{4}$/)
    ann.send(JSON.stringify({ response: 'battery', id, value: 12.5 }))
    assert.equal((await ann.get(2))[1], '{"action":"go","args":[12.5],"kwargs":{"at":1}}')
  })

  it('a call ends with an error, its timeout, an abort, or its client', async t => {
    const { api, browser, clientOf, server } = await application(t, () => {})
    const ann = await browser()
    const client = await clientOf(1)
    const failed = api.call(client, 'one')
    await ann.get(1)
    ann.send(`{"response": "one", "id": "${json(ann)[0].id}", "error": {"code": "busy", "message": "not now"}}`)
    await assert.rejects(failed, { code: 'busy', message: 'not now' })
    await assert.rejects(api.call(client, 'two', [], {}, { timeout: 5 }), {
      code: 'timeout',
      message: `client ${client.id} has not answered "two" within 5 ms`,
    })
    const controller = new AbortController()
    const aborted = api.call(client, 'three', [], {}, { signal: controller.signal })
    controller.abort(new Error('enough'))
    await assert.rejects(aborted, { message: 'enough' })
    await assert.rejects(api.call(client, 'four', [], {}, { signal: controller.signal }), { message: 'enough' })
    await assert.rejects(api.call(client, 'five', [() => {}, 1n]), TypeError)
    await assert.rejects(api.call(client, 'six', [], {}, { timeout: Number.POSITIVE_INFINITY }), {
      name: 'RangeError',
      message: 'the timeout of a call is 1 to 2147483647 milliseconds, received Infinity',
    })
    const lost = api.call(client, 'seven')
    ann.ws.terminate()
    await assert.rejects(lost, { code: 'gone', message: `client ${client.id} has gone without an answer to "seven"` })
    await until(() => server.clients.size === 0)
    await assert.rejects(api.call(client, 'eight'), {
      code: 'gone',
      message: `client ${client.id} has gone without an answer to "eight"`,
    })
  })

  it('an answer with another name or id does not settle a call', async t => {
    const { api, browser, clientOf, server } = await application(t, () => {})
    const ann = await browser()
    const called = api.call(await clientOf(1), 'one')
    await ann.get(1)
    const [{ id }] = json(ann)
    ann.send(JSON.stringify({ response: 'two', id, value: 'wrong' }))
    ann.send(JSON.stringify({ response: 'one', id: 'x', value: 'wrong' }))
    ann.send(JSON.stringify({ response: 'one', id, value: 'right' }))
    assert.equal(await called, 'right')
    assert.equal(server.counters.drops['unexpected response'], 2)
  })

  it('calls to one client are limited, and have different ids', async t => {
    const { api, browser, clientOf } = await application(t, () => {}, { messagingMaxCalls: 6000 })
    const ann = await browser()
    const client = await clientOf(1)
    const calls = Array.from({ length: 6000 }, () => api.call(client, 'x'))
    await assert.rejects(api.call(client, 'x'), {
      code: 'busy',
      message: '6000 calls wait for answers, --messaging-max-calls allows no more',
    })
    await ann.get(6000)
    const ids = json(ann).map(({ id }) => id as string)
    assert.equal(new Set(ids).size, 6000)
    assert.deepEqual([...new Set(ids.map(id => id.length))], [4, 8])
    for (const id of ids) ann.send(JSON.stringify({ response: 'x', id, value: id }))
    assert.deepEqual(await Promise.all(calls), ids)
  })

  it('running tasks of a client are limited in number, the others wait', async t => {
    let running = 0
    let most = 0
    const ends: (() => void)[] = []
    const { browser } = await application(
      t,
      api =>
        api.request('work', async () => {
          most = Math.max(most, ++running)
          await new Promise<void>(resolve => ends.push(resolve))
          running--
        }),
      { messagingMaxWork: 3 },
    )
    const ann = await browser()
    for (let i = 0; i < 10; i++) ann.send(JSON.stringify({ request: 'work', id: `${i}` }))
    while (ann.received.length < 10) {
      await until(() => ends.length > 0 || ann.received.length === 10)
      ends.shift()?.()
    }
    assert.equal(most, 3)
    assert.deepEqual(
      json(ann).map(({ id }) => id),
      Array.from({ length: 10 }, (_, i) => `${i}`),
    )
  })

  it('running tasks of a client are limited in bytes, but for one message', async t => {
    let running = 0
    let most = 0
    const ends: (() => void)[] = []
    const { browser } = await application(
      t,
      api =>
        api.request('work', async () => {
          most = Math.max(most, ++running)
          await new Promise<void>(resolve => ends.push(resolve))
          running--
        }),
      { messagingMaxJson: 1024 },
    )
    const ann = await browser()
    for (let i = 0; i < 6; i++) ann.send(JSON.stringify({ request: 'work', id: `${i}`, args: ['x'.repeat(600)] }))
    while (ann.received.length < 6) {
      await until(() => ends.length > 0 || ann.received.length === 6)
      ends.shift()?.()
    }
    assert.equal(most, 2)
  })

  it('many clients are called at once, each with its own result', async t => {
    const { api, browser, plain, clientOf } = await application(t, () => {})
    const peers = [await browser(), await browser(), await browser()]
    const last = await clientOf(3)
    await plain()
    await clientOf(4)
    for (const [i, client] of [...last.server.clients.values()].slice(0, 3).entries())
      client.state.messaging = { id: i < 2 ? `copter${i}` : 'other' }
    const answers = api.callAll('copter*', 'id', [], {}, { timeout: 3000 })
    await until(() => peers.filter(({ received }) => received.length > 0).length === 2)
    const [first] = peers.filter(({ received }) => received.length > 0)
    first!.send(JSON.stringify({ response: 'id', id: json(first!)[0].id, value: 'here' }))
    assert.deepEqual(
      (await answers).map(({ id, value, error }) => [id, value ?? (error as { code: string }).code]).sort(),
      [
        ['copter0', 'here'],
        ['copter1', 'timeout'],
      ].sort(),
    )
    assert.deepEqual(await api.callAll('nobody', 'id'), [])
  })

  it('an action is broadcast to the messaging clients of a topic, except one', async t => {
    const { api, server, browser } = await application(t, given => given.action('join', client => client.join('fleet')))
    const [ann, bob, eve] = [await browser(), await browser(), await browser()]
    for (const peer of [ann, bob, eve]) peer.send('{"action": "join"}')
    bob.send(action('join'))
    await until(() => [...server.clients.values()].filter(({ topics }) => topics.has('fleet')).length === 3)
    await until(() => [...server.clients.values()].some(({ codec }) => codec.name === 'messaging'))
    api.broadcast(server, 'start', [], { time: '1.5' }, { topic: 'fleet' })
    api.broadcast(server, 'nobody', [], {}, { topic: 'none' })
    await Promise.all([ann.get(1), bob.get(1), eve.get(1)])
    assert.deepEqual(ann.received, ['{"action":"start","args":[],"kwargs":{"time":"1.5"},"topic":"fleet"}'])
    const said = { type: 'message', name: 'start', args: [], kwargs: { time: '1.5' }, topic: 'fleet' } as const
    assert.deepEqual(bob.received, [frameOf(said)])
  })

  it('reserved, used and invalid names are refused', async t => {
    await application(t, api => {
      api.request('a', () => 1)
      assert.throws(() => api.request('a', () => 1), { message: 'there are two handlers of request "a"' })
      assert.throws(() => api.request('', () => 1), {
        message: 'the name of requests is a string that is not empty, received ""',
      })
      assert.throws(() => api.action('filetransfer', () => {}), {
        message: 'action "filetransfer" is for files, it cannot have a handler',
      })
      assert.throws(() => api.request('fws.clock', () => 1), {
        message: 'request "fws.clock": names that begin with fws. are reserved, use another',
      })
      assert.throws(() => api.action('a', 1 as never), { message: 'the handler of action "a" is not a function' })
    })
  })
})
