import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import type { FilterModule } from '../../src/contract/filter.ts'
import type { Sets } from '../../src/contract/storage.ts'
import { type TestServer, testServer } from '../../src/testing/index.ts'
import type { Test } from '../support/cli.ts'
import { cheap } from '../support/cpu.ts'
import { startTestServer } from '../support/test-server.ts'
import { SECRET, sign } from '../support/tokens.ts'

const WARN = 40
const registered = (token: string) => `Successfully registered with broadcast group: ${token}`

/** A server with the filter, and its storage. */
async function serve(
  t: Test,
  options: Readonly<Record<string, unknown>> = {},
): Promise<{ server: TestServer; group(token: string): Promise<string[]> }> {
  let sets: Sets | undefined
  const looking: FilterModule = {
    setup(host) {
      sets = host.storage.sets
    },
  }
  const server = await startTestServer(t, ['broadcast-by-token', looking], options)
  return { server, group: async token => [...(await sets!.get(`broadcast-by-token:${token}`))] }
}

describe('broadcast-by-token', () => {
  it('registers a client that sends token:TOKEN, and confirms it', async t => {
    const { server, group } = await serve(t)
    const { client, received, say } = await server.connect()
    await say('token:blue')
    assert.deepEqual(received, ['Successfully registered with broadcast group: blue'])
    assert.equal(client.state.token, 'blue')
    assert.deepEqual(await group('blue'), [client.id])
  })

  it('sends an error to a client without a token, and logs it', async t => {
    const { server } = await serve(t)
    const { client, received, say } = await server.connect()
    await say('hello?')
    assert.deepEqual(received, ['Error: No token has been set'])
    const [line] = server.logged.filter(({ level }) => level === WARN)
    assert.deepEqual([line?.client, line?.msg], [client.id, 'message without a token'])
  })

  it('sends a message only to the other members of the group', async t => {
    const { server } = await serve(t)
    const [ann, bob, eve, mallory] = await Promise.all([1, 2, 3, 4].map(() => server.connect()))
    await ann!.say('token:blue')
    await bob!.say('token:blue')
    await eve!.say('token:red')
    await ann!.say('hello blue')
    await bob!.say(Buffer.from([0, 255]))
    assert.deepEqual(ann!.received, [registered('blue'), Buffer.from([0, 255])])
    assert.deepEqual(bob!.received, [registered('blue'), 'hello blue'])
    assert.deepEqual(eve!.received, [registered('red')])
    assert.deepEqual(mallory!.received, [])
  })

  const large = 1_048_576
  for (const loose of [false, true])
    it(`matches a long message without a token in constant time${loose ? ', with --broadcast-by-token-loose too' : ''}`, async t => {
      const { server } = await serve(t, { 'broadcast-by-token-loose': loose })
      const { received, say } = await server.connect()
      for (const text of [
        ' '.repeat(large),
        `token:${'x'.repeat(large)}`,
        `${'token'.repeat(large / 5)}`,
        `${' '.repeat(2000)}token`,
        Buffer.alloc(large, 'token'),
      ]) {
        const said = cheap(() => say(text), String(text).slice(0, 20))
        await said
      }
      assert.deepEqual(new Set(received), new Set(['Error: No token has been set']))
    })

  it('leaves the previous group when a client registers again', async t => {
    const { server, group } = await serve(t)
    const [ann, bob, eve] = [await server.connect(), await server.connect(), await server.connect()]
    for (const peer of [ann, bob]) await peer.say('token:blue')
    await eve.say('token:red')
    await ann.say('token:red')
    await bob.say('to blue')
    await ann.say('to red')
    assert.deepEqual(ann.received, [registered('blue'), registered('red')])
    assert.deepEqual(bob.received, [registered('blue')])
    assert.deepEqual(eve.received, [registered('red'), 'to red'])
    assert.deepEqual(await group('blue'), [bob.client.id])
    assert.deepEqual(new Set(await group('red')), new Set([ann.client.id, eve.client.id]))
  })

  it('registering with the same token again changes nothing', async t => {
    const { server, group } = await serve(t)
    const [ann, bob] = [await server.connect(), await server.connect()]
    for (const peer of [ann, bob, ann]) await peer.say('token:blue')
    await bob.say('still there?')
    assert.deepEqual(ann.received, [registered('blue'), registered('blue'), 'still there?'])
    assert.deepEqual(new Set(await group('blue')), new Set([ann.client.id, bob.client.id]))
  })

  it('leaves the group when the connection closes', async t => {
    const { server, group } = await serve(t)
    const [ann, bob] = [await server.connect(), await server.connect()]
    for (const peer of [ann, bob]) await peer.say('token:blue')
    await ann.leave()
    assert.deepEqual(await group('blue'), [bob.client.id])
    await bob.leave()
    assert.deepEqual(await group('blue'), [])
  })

  it('removes nothing from the storage for a client that never registered', async t => {
    const { server } = await serve(t)
    await (await server.connect()).leave()
    assert.equal(server.server.counters.errors, 0)
  })

  it('registers only by a whole message: token:TOKEN inside a chat line has no effect', async t => {
    const { server } = await serve(t)
    const [ann, bob] = [await server.connect(), await server.connect()]
    for (const peer of [ann, bob]) await peer.say('token:blue')
    for (const line of ['say token:red to join', 'token:red please', 'mytoken:red', 'token: red', 'token:']) {
      await ann.say(line)
      assert.equal(bob.received.at(-1), line)
    }
    assert.equal(ann.client.state.token, 'blue')
  })

  it('ignores spaces around the message', async t => {
    const { server } = await serve(t)
    const { received, say } = await server.connect()
    await say('  token:blue\r\n')
    assert.deepEqual(received, [registered('blue')])
  })

  it('registers by a binary message too', async t => {
    const { server } = await serve(t)
    const { received, say } = await server.connect()
    await say(Buffer.from('token:blue'))
    assert.deepEqual(received, [registered('blue')])
  })

  it('keeps the order of messages around a registration', async t => {
    const { server } = await serve(t)
    const [ann, bob] = [await server.connect(), await server.connect()]
    await bob.say('token:blue')
    await Promise.all(['early', 'token:blue', 'one', 'two'].map(payload => ann.say(payload)))
    assert.deepEqual(ann.received, ['Error: No token has been set', registered('blue')])
    assert.deepEqual(bob.received, [registered('blue'), 'one', 'two'])
  })
})

describe('broadcast-by-token --broadcast-by-token-loose', () => {
  const loose = { 'broadcast-by-token-loose': true }

  it('finds the token anywhere in a message, as filtered_websocket (Python) does', async t => {
    const { server } = await serve(t, loose)
    const { client, received, say } = await server.connect()
    await say('{"token:blue": 1}')
    await say('please take my token:red thanks')
    assert.deepEqual(received, [registered('blue":'), registered('red')])
    assert.equal(client.state.token, 'red')
  })

  it('keeps long tokens with a common prefix in different groups', async t => {
    const { server } = await serve(t, loose)
    const [ann, bob] = [await server.connect(), await server.connect()]
    const long = 'x'.repeat(300)
    await ann.say(`token:${long}a`)
    await bob.say(`token:${long}b`)
    await ann.say('for group a alone')
    assert.ok(!bob.received.includes('for group a alone'))
  })
})

describe('broadcast-by-token --broadcast-by-token-claim', () => {
  async function rooms(t: TestContext, options: object = {}) {
    const chosen = { 'jwt-secret': SECRET, 'broadcast-by-token-claim': 'room', ...options }
    const server = await testServer(['jwt', 'broadcast-by-token'], chosen)
    t.after(() => server.stop())
    const enter = (claims: object) => server.connect({ headers: { authorization: `Bearer ${sign(claims)}` } })
    return { ...server, enter }
  }

  it('groups clients by the claim and ignores token:TOKEN', async t => {
    const { enter } = await rooms(t)
    const [ann, bob, eve] = [await enter({ room: 'blue' }), await enter({ room: 'blue' }), await enter({ room: 'red' })]
    await eve.say('token:blue')
    await ann.say('hello blue')
    await bob.say('token:red')
    assert.deepEqual(ann.received, ['token:red'])
    assert.deepEqual(bob.received, ['hello blue'])
    assert.deepEqual(eve.received, [])
  })

  it('leaves clients without the claim, or with one that is not a string, without a group', async t => {
    const { enter } = await rooms(t)
    for (const claims of [{}, { room: 7 }, { room: ['blue'] }]) {
      const { received, say } = await enter(claims)
      await say('hello')
      assert.deepEqual(received, ['Error: No token has been set'])
    }
  })

  it('a renewed token moves the client to another group, or out of its group', async t => {
    const { enter } = await rooms(t)
    const [ann, bob] = [await enter({ room: 'blue' }), await enter({ room: 'red' })]
    await ann.say(JSON.stringify({ auth: sign({ room: 'red' }) }))
    await bob.say('hello red')
    await ann.say(JSON.stringify({ auth: sign({}) }))
    await bob.say('anybody there?')
    assert.deepEqual(
      ann.received.filter(text => !String(text).startsWith('{')),
      ['hello red'],
    )
    assert.deepEqual([...ann.client.topics], [])
  })

  it('a renewed token that names a forbidden group removes the client from its group, and is confirmed', async t => {
    const onlyBlue: FilterModule = {
      permit: ({ action, topic }, { state: { user } }) =>
        action === 'publish' || (topic === 'broadcast-by-token:blue' && user?.role !== 'none'),
    }
    const chosen = { 'jwt-secret': SECRET, 'broadcast-by-token-claim': 'room' }
    const server = await testServer(['jwt', onlyBlue, 'broadcast-by-token'], chosen)
    t.after(() => server.stop())
    const claims = { room: 'blue', exp: 9_999_999_999 }
    const enter = () => server.connect({ headers: { authorization: `Bearer ${sign(claims)}` } })
    const [ann, bob] = [await enter(), await enter()]
    for (const change of [{ room: 'red' }, {}, { role: 'none' }, {}]) {
      await ann.say(JSON.stringify({ auth: sign({ ...claims, ...change }) }))
      await ann.say('from ann')
      await bob.say('from bob')
    }
    const out = ['{"auth":"ok","expires":9999999999}', 'Error: No token has been set']
    const back = ['{"auth":"ok","expires":9999999999}', 'from bob']
    assert.deepEqual(ann.received, [...out, ...back, ...out, ...back])
    assert.deepEqual(bob.received, ['from ann', 'from ann'])
  })

  it('joins the group after the first message authenticates the client', async t => {
    const { connect } = await rooms(t, { 'jwt-first-message': true })
    const [ann, bob] = [await connect(), await connect()]
    for (const peer of [ann, bob]) await peer.say(JSON.stringify({ auth: sign({ room: 'blue' }) }))
    await bob.say('hello blue')
    assert.deepEqual(ann.received.slice(1), ['hello blue'])
    await ann.leave()
    assert.deepEqual([...ann.client.topics], [])
  })

  it('is refused without jwt', async () => {
    await assert.rejects(testServer(['broadcast-by-token'], { 'broadcast-by-token-claim': 'room' }), {
      code: 'ERR_OPTION',
      message:
        'filter broadcast-by-token: --broadcast-by-token-claim room needs filter jwt, which checks claims: -f jwt broadcast-by-token',
    })
  })
})
