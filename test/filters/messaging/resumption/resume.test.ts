import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import type { Delivery, MessagingApi } from '../../../../filters/messaging.ts'
import type { FilterModule } from '../../../../src/contract/filter.ts'
import { authority, pemFiles, signed } from '../../../support/certificates.ts'
import { action, building, door, plainly, request } from '../../../support/messaging.ts'
import { Browser, gate } from '../../../support/messaging-browser.ts'
import { Peer, serve, until } from '../../../support/peer.ts'
import { SECRET, sign } from '../../../support/tokens.ts'

/** A server with --messaging-resume and the handlers that `on` adds. */
async function keeping(
  t: TestContext,
  on: (api: MessagingApi) => void,
  filters: (string | FilterModule)[] = [],
  options: object = {},
  guards: (string | FilterModule)[] = [],
) {
  let api!: MessagingApi
  const builds = building(given => {
    api = given
    on(given)
  })
  const server = await serve(t, {
    filters: [...guards, 'messaging', builds, ...filters],
    messagingResume: true,
    ...options,
  })
  return { server, api, open: () => Browser.open(server.url) }
}

describe('an action with an id', () => {
  it('is answered when all its handlers are done, with the error of one that fails', async t => {
    const { opened, open } = gate()
    const { open: come } = await keeping(t, api => {
      api.action('two', () => 'ignored')
      api.action('two', () => opened)
      api.action('bad', () => {
        throw Object.assign(new Error('no battery'), { code: 'empty' })
      })
      api.request('now', () => 1)
    })
    const ann = await come()
    ann.say({ action: 'two', id: 'a' })
    ann.say({ action: 'bad', id: 7 })
    ann.say({ action: 'two' })
    await ann.read()
    assert.equal(ann.heard.length, 1)
    open()
    ann.say({ request: 'now', id: 'n' })
    await ann.peer.get(4)
    assert.deepEqual(ann.heard.slice(1), [
      { response: 'two', id: 'a', value: null },
      { response: 'bad', id: 7, error: { code: 'empty', message: 'no battery' } },
      { response: 'now', id: 'n', value: 1 },
    ])
  })

  it('that has no handler is answered, and passes on without id, resend and topic', async t => {
    const { open } = await keeping(t, () => {}, ['broadcast'])
    const [ann, bob] = [await open(), await open()]
    ann.say({ action: 'led', id: 'a', args: [1], resend: true, topic: 'fleet', at: 5 })
    ann.say({ action: 'message', id: 'b', args: ['hi'] })
    await Promise.all([ann.peer.get(2), bob.peer.get(2)])
    assert.deepEqual(bob.heard, [
      { action: 'led', args: [1], kwargs: {}, at: 5 },
      { action: 'message', args: ['hi'], kwargs: {} },
    ])
    assert.deepEqual(ann.answers, { a: null, b: null })
  })

  it('passes its delivery to its handlers', async t => {
    const came: Delivery[] = []
    const { open } = await keeping(t, api => {
      api.action('led', (_client, _args, _kwargs, delivery) => came.push(delivery))
      api.request('state', (_client, _args, _kwargs, delivery) => delivery)
    })
    const ann = await open()
    ann.say({ action: 'led', id: 'a', resend: true, topic: 'fleet', at: 1.5 })
    ann.say({ action: 'led' })
    ann.say({ request: 'state', id: 3 })
    await ann.peer.get(2)
    assert.deepEqual(came, [
      { id: 'a', repeated: true, at: 1.5, topic: 'fleet' },
      { id: undefined, repeated: false, at: undefined, topic: undefined },
    ])
    assert.deepEqual(ann.heard[1]!.value, { id: 3, repeated: false })
  })
})

describe('a peer that reconnects', () => {
  it('is registered by its id, also over TCP and as a WebSocket client of frames', async t => {
    const known: unknown[] = []
    const builds = building(api => api.onId((client, id) => void known.push([client.transport, id])))
    const { peer, server } = await door(t, [builds], { messagingResume: true })
    const tcp = await peer()
    tcp.send(request('fws.resume', '1', [], { id: 'copter1', epoch: 'e' }))
    const [answer] = await tcp.get(1)
    assert.deepEqual(plainly(answer), { type: 'response', name: 'fws.resume', id: '1', value: { window: 1000 } })
    const web = await Peer.open(server.url, {}, ['messaging', 'messaging-frames'])
    assert.equal(web.ws.protocol, 'messaging-frames')
    web.send(request('fws.resume', '1', [], { id: 'copter2', epoch: 'e' }))
    await web.get(1)
    assert.deepEqual(known, [
      ['messaging', 'copter1'],
      ['websocket', 'copter2'],
    ])
    server.broadcast('hello')
    assert.deepEqual((await web.get(2))[1], action('message', ['hello']))
  })

  it('gets the first answer again when it sends a request again', async t => {
    let asked = 0
    const { open } = await keeping(t, api => {
      api.request('count', () => ++asked)
      api.request('bad', () => {
        throw new Error(`failed ${++asked}`)
      })
      api.action('count', () => void asked++)
    })
    const ann = await open()
    await ann.resume()
    ann.say({ request: 'count', id: 'e.1' })
    ann.say({ request: 'bad', id: 'e.2' })
    ann.say({ action: 'count', id: 'e.3' })
    await ann.peer.get(4)
    await ann.drop()
    const again = await open()
    await again.resume()
    again.say({ request: 'count', id: 'e.1', resend: true })
    again.say({ request: 'bad', id: 'e.2', resend: true })
    again.say({ action: 'count', id: 'e.3', resend: true })
    again.say({ request: 'count', id: 'e.4' })
    await again.peer.get(5)
    assert.deepEqual(again.answers, {
      resume: { window: 1000 },
      'e.1': 1,
      'e.2': { code: 'failed', message: 'failed 2' },
      'e.3': null,
      'e.4': 4,
    })
  })

  it('gets the same error again for a value that JSON cannot represent', async t => {
    const loop: unknown[] = []
    loop.push(loop)
    const values = [() => 1, Symbol('s'), { toJSON: () => undefined }, loop, 1n, [1n]]
    const { open } = await keeping(t, api => api.request('odd', (_client, [i]) => values[Number(i)]))
    const ask = async (resend?: true) => {
      const ann = await open()
      await ann.resume()
      for (const i of values.keys()) ann.say({ request: 'odd', id: `e.${i + 1}`, args: [i], ...(resend && { resend }) })
      await ann.peer.get(1 + values.length)
      await ann.drop()
      return Object.entries(ann.answers).slice(1)
    }
    const error = { code: 'unserializable', message: 'the answer to "odd" is not JSON' }
    const expected = values.map((_, i) => [`e.${i + 1}`, error])
    assert.deepEqual(await ask(), expected)
    assert.deepEqual(await ask(true), expected)
  })

  it('gets the answer of a request that still runs, which runs once, in order', async t => {
    const done: unknown[] = []
    const { opened, open: go } = gate()
    const { open } = await keeping(t, api => {
      api.action('step', async (_client, [n]) => {
        if (n === 1) await opened
        done.push(n)
      })
      api.request('slow', async () => {
        await opened
        done.push('slow')
        return 'slow'
      })
    })
    const ann = await open()
    await ann.resume()
    ann.say({ request: 'slow', id: 'e.1' })
    for (const n of [1, 2, 3]) ann.say({ action: 'step', id: `e.${n + 1}`, args: [n] })
    await ann.read()
    await ann.drop()
    const again = await open()
    await again.resume()
    again.say({ request: 'slow', id: 'e.1', resend: true })
    for (const n of [1, 2, 3]) again.say({ action: 'step', id: `e.${n + 1}`, args: [n], resend: true })
    again.say({ action: 'step', id: 'e.5', args: [4] })
    await again.read()
    assert.deepEqual(done, [])
    go()
    await again.peer.get(7)
    assert.deepEqual(done, ['slow', 1, 2, 3, 4])
  })

  it('has an action without a handler passed on once', async t => {
    const { open } = await keeping(t, () => {}, ['broadcast'])
    const [ann, bob] = [await open(), await open()]
    await ann.resume()
    for (const resend of [undefined, true]) ann.say({ action: 'led', id: 'e.1', resend })
    ann.say({ action: 'end', id: 'e.2' })
    await Promise.all([ann.peer.get(4), bob.peer.get(2)])
    assert.deepEqual(
      bob.heard.map(({ action }) => action),
      ['led', 'end'],
    )
  })

  it('has a resend run with repeated where no record is left', async t => {
    const { open } = await keeping(t, api => api.request('state', (_client, _args, _kwargs, { repeated }) => repeated))
    const ann = await open()
    await ann.resume()
    ann.say({ request: 'state', id: 'e.7', resend: true })
    ann.say({ request: 'state', id: 'e.8' })
    await ann.peer.get(3)
    await ann.drop()
    const again = await open()
    await again.resume()
    again.say({ request: 'state', id: 'e.6', resend: true })
    again.say({ request: 'state', id: 'e.9', resend: true })
    await again.peer.get(3)
    assert.deepEqual(
      { ...ann.answers, ...again.answers },
      { resume: { window: 1000 }, 'e.6': true, 'e.7': true, 'e.8': false, 'e.9': false },
    )
  })

  it('may use ids of other kinds, which are not recorded', async t => {
    let asked = 0
    const { open } = await keeping(t, api => api.request('count', () => ++asked))
    const ann = await open()
    await ann.resume()
    for (const id of ['x.1', 'x.1', 'e.0', 'e.0', 'e.01', 'e.01', 1, 1]) ann.say({ request: 'count', id })
    await ann.peer.get(9)
    assert.equal(asked, 8)
  })

  it('is refused under an id that is not its own, twice on a connection, and beyond the limit', async t => {
    const named: FilterModule = {
      open: client => {
        client.identity = 'ann'
      },
    }
    const { open, server } = await keeping(t, () => {}, [named], { messagingMaxPeers: 1 })
    const ann = await open()
    const resume = async (id: unknown, epoch: unknown = 'e', on = ann) => {
      on.say({ request: 'fws.resume', id: 'r', kwargs: { id, epoch } })
      const count = on.peer.received.length + 1
      await on.peer.get(count)
      const { value, error } = on.heard.at(-1)!
      return error ?? value
    }
    const forbidden = { code: 'forbidden', message: '"ann" may be itself, or a name that begins with it and a /' }
    assert.deepEqual(await resume('bob'), forbidden)
    assert.deepEqual(await resume('anna'), forbidden)
    assert.deepEqual(await resume(''), {
      code: 'id',
      message: 'an id is a string of 1 to 128 characters, received ""',
    })
    assert.deepEqual(await resume('ann', 'a b'), {
      code: 'epoch',
      message: 'an epoch is 1 to 64 letters, digits, - and _, received "a b"',
    })
    assert.deepEqual(await resume('ann/1'), { window: 1000 })
    assert.deepEqual(await resume('ann/1'), { code: 'refused', message: 'this connection is "ann/1" already' })
    const waiting = await open()
    assert.deepEqual(await resume('ann/2', 'e', waiting), {
      code: 'busy',
      message: '1 senders are connected, at most 1',
    })
    const again = await open()
    assert.deepEqual(await resume('ann/1', 'e', again), { window: 1000 })
    await again.drop()
    await ann.drop()
    // Disconnected senders are evicted for others.
    await until(() => server.clients.size === 1, 'the others to be gone')
    assert.deepEqual(await resume('ann/2', 'e', waiting), { window: 1000 })
  })

  describe('without an identity', () => {
    const guard: FilterModule = { stage: 'guard', connect() {} }
    const forbidden = {
      code: 'forbidden',
      message: 'a client without an identity may not have an id; send a token with "sub", or the like',
    }
    const cases: [string, (string | FilterModule)[], object, unknown][] = [
      ['has no id where jwt authenticates', ['jwt'], { jwtSecret: SECRET }, forbidden],
      ['has no id where another guard may authenticate', [guard], {}, forbidden],
      [
        'may have any id where no guard authenticates',
        ['rate-limit', 'allow'],
        { allowRules: ['anyone join x'] },
        { window: 1000 },
      ],
    ]
    for (const [name, guards, options, answer] of cases)
      it(name, async t => {
        const { api, server } = await keeping(t, () => {}, [], options, guards)
        await api.peer('ann').emit('land')
        const headers = { authorization: `Bearer ${sign({ scope: 'read' })}` }
        const eve = new Browser(await Peer.open(server.url, { headers }, ['messaging']))
        await eve.resume('ann')
        assert.deepEqual(eve.answers, { resume: answer })
        await eve.read()
        assert.equal(api.peer('ann').client !== undefined, answer !== forbidden)
      })

    it('has no id if its certificate has no name', async t => {
      const [write, authorityOf] = [await pemFiles(t), await authority('authority')]
      const [server, client] = await Promise.all([
        signed(authorityOf, { commonName: 'localhost' }),
        signed(authorityOf, { organizationName: 'Example' }),
      ])
      const { server: running } = await keeping(t, () => {}, [], {
        key: await write('key.pem', server.key),
        cert: await write('cert.pem', server.cert),
        ca: await write('ca.pem', authorityOf.cert),
      })
      const tls = { key: client.key, cert: client.cert, rejectUnauthorized: false }
      const eve = new Browser(await Peer.open(running.url, tls, ['messaging']))
      await eve.resume('ann')
      assert.deepEqual(eve.answers, { resume: forbidden })
    })

    it('may have any id over TCP, which passes no guard', async t => {
      const { peer } = await door(t, [], { filters: [guard, 'messaging'], messagingResume: true, messagingOpen: true })
      const tcp = await peer()
      tcp.send(request('fws.resume', '1', [], { id: 'ann', epoch: 'e' }))
      const [answer] = await tcp.get(1)
      assert.deepEqual(plainly(answer), { type: 'response', name: 'fws.resume', id: '1', value: { window: 1000 } })
    })
  })

  it('gets the error off without --messaging-resume', async t => {
    const { open } = await keeping(t, () => {}, [], { messagingResume: false })
    const ann = await open()
    await ann.resume()
    assert.deepEqual(ann.answers, {
      resume: { code: 'off', message: 'this server runs without --messaging-resume' },
    })
  })
})
