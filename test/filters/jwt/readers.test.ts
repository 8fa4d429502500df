import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import type { JwtApi, Reason, TokenReader } from '../../../filters/jwt.ts'
import type { Client } from '../../../src/contract/client.ts'
import type { FilterModule, Host } from '../../../src/contract/filter.ts'
import type { Payload } from '../../../src/contract/payload.ts'
import { testServer } from '../../../src/testing/index.ts'
import { folder, launch } from '../../support/cli.ts'
import { Peer } from '../../support/peer.ts'
import { ec, forge, SECRET, sign } from '../../support/tokens.ts'
import { upgradeStatus } from '../../support/upgrade.ts'

const PATH = '/protocol'

/** `hello TOKEN`. */
const helloReader: TokenReader = {
  isFor: client => client.handshake?.url.pathname === PATH,
  read: payload => /^hello (.+)$/.exec(String(payload))?.[1],
}

/** jwt, a protocol at `PATH` that registers a reader, and a filter that collects messages. */
async function serve(t: TestContext, { options = {}, reader = {} }: { options?: object; reader?: object } = {}) {
  let api: JwtApi | undefined
  const received: Payload[] = []
  const protocol: FilterModule = {
    uses: ['jwt'],
    setup: (host: Host) => {
      api = host.use('jwt')
      api.tokenIn({ ...helloReader, ...reader })
      return { paths: [PATH], message: payload => void received.push(payload) }
    },
  }
  const plain: FilterModule = { message: payload => void received.push(`plain ${payload}`) }
  const made = await testServer(['jwt', protocol, plain], { 'jwt-secret': SECRET, ...options })
  t.after(() => made.stop())
  return { ...made, received, api: api! }
}

const seconds = () => Math.floor(Date.now() / 1000)
const expired = () => sign({ sub: 'ann', exp: seconds() - 60 })

describe('jwt: a reader of a protocol', () => {
  it('finds the token of the first message, which admits the client and goes on to the protocol', async t => {
    const { connect, server, flush, received } = await serve(t)
    const ann = await connect({ url: PATH })
    server.broadcast('before')
    flush()
    const hello = `hello ${sign({ sub: 'ann', info: { name: 'Ann' } })}`
    await ann.say(hello)
    assert.deepEqual([ann.client.identity, ann.client.state.user?.info], ['ann', { name: 'Ann' }])
    server.broadcast('after')
    await ann.say('more')
    assert.deepEqual(ann.received, ['after'])
    assert.deepEqual(received, [hello, 'more'])
  })

  it('is not asked for a client with a token in its handshake', async t => {
    const { connect, received } = await serve(t)
    const ann = await connect({ url: PATH, headers: { authorization: `Bearer ${sign({ sub: 'ann' })}` } })
    await ann.say('no hello')
    assert.deepEqual([ann.client.identity, received], ['ann', ['no hello']])
  })

  it('does not apply to other clients, nor to plain requests', async t => {
    const { connect, request } = await serve(t)
    for (const url of ['/', '/protocolx']) await assert.rejects(connect({ url }), /401: no token/, url)
    await assert.rejects(request({ url: PATH }), /401: no token/)
    await assert.rejects(connect({ url: PATH, kind: 'stream' }), /401: no token/)
  })

  for (const [what, payload, options, reason] of [
    ['no token', 'hello', {}, 'no token'],
    ['another token', JSON.stringify({ auth: sign({ sub: 'ann' }) }), { 'jwt-first-message': true }, 'no token'],
    ['an expired token', `hello ${expired()}`, {}, 'expired'],
    [
      'a token of a public key',
      `hello ${sign({}, { key: ec().privateKey, algorithm: 'ES256' })}`,
      {},
      'wrong algorithm',
    ],
    ['an unsigned token', `hello ${forge({ alg: 'none' }, { sub: 'ann', exp: 9e9 })}`, {}, 'wrong algorithm'],
    ['a token of another secret', `hello ${sign({}, { key: 'x'.repeat(32) })}`, {}, 'bad signature'],
    ['no JWT', 'hello world', {}, 'malformed'],
    ['a longer token than --jwt-max-token', `hello ${sign({ sub: 'a'.repeat(9000) })}`, {}, 'too long'],
    ['another issuer', `hello ${sign({ iss: 'b' })}`, { 'jwt-issuer': ['a'] }, 'wrong issuer'],
    ['another audience', `hello ${sign({ aud: 'b' })}`, { 'jwt-audience': ['a'] }, 'wrong audience'],
  ] as const) {
    it(`closes a client with ${what}, unless it answers itself`, async t => {
      const one = await serve(t, { options })
      const ann = await one.connect({ url: PATH })
      await ann.say(payload)
      assert.deepEqual(ann.closed, { code: 4401, reason })

      const refusals: unknown[] = []
      const refused = (why: Reason, client: Client, said: Payload) => {
        refusals.push([why, said])
        return client.answer(`error ${why}`)
      }
      const two = await serve(t, { options, reader: { refused } })
      const bob = await two.connect({ url: PATH })
      await bob.say(payload)
      assert.deepEqual([bob.received, refusals], [[`error ${reason}`], [[reason, payload]]])
      const hello = `hello ${sign({ sub: 'bob', iss: 'a', aud: 'a' })}`
      await bob.say(hello)
      assert.deepEqual([bob.client.identity, two.received, bob.closed], ['bob', [hello], undefined])
    })
  }

  it('that fails, or returns something else than a string, does not admit the client', async t => {
    const fails = () => {
      throw new Error('broken')
    }
    const broken = await serve(t, { reader: { read: fails } })
    const ann = await broken.connect({ url: PATH })
    await ann.say('hello')
    assert.deepEqual([ann.closed, broken.server.counters.errors], [{ code: 1011, reason: 'a filter failed' }, 1])

    const wrong = await serve(t, { reader: { read: () => 7 } })
    const bob = await wrong.connect({ url: PATH })
    await bob.say('hello')
    assert.deepEqual(bob.closed, { code: 4401, reason: 'malformed' })
  })

  it('that answers a revoked token leaves no identity behind', async t => {
    const refused = (reason: Reason, client: Client) => client.answer(`error ${reason}`)
    const { connect, api } = await serve(t, { reader: { refused } })
    await api.revoke({ sub: 'eve' })
    const eve = await connect({ url: PATH })
    await eve.say(`hello ${sign({ sub: 'eve' })}`)
    assert.deepEqual([eve.received, eve.client.identity], [['error revoked'], undefined])
    await eve.say(`hello ${sign({ role: 'guest' })}`)
    assert.deepEqual([eve.client.identity, eve.client.state.user?.role], [undefined, 'guest'])
  })

  it('has until --hold-timeout', async t => {
    const { connect } = await serve(t, { options: { 'hold-timeout': 0.01 } })
    const ann = await connect({ url: PATH })
    while (ann.closed === undefined) await new Promise(setImmediate)
    assert.deepEqual(ann.closed, { code: 1008, reason: 'not admitted in time' })
  })

  it('works over a real socket', async t => {
    const cwd = folder(t, {
      'protocol.js': `export const uses = ['jwt'], paths = ['${PATH}']
export const setup = host => {
  host.use('jwt').tokenIn({ isFor: c => c.handshake?.url.pathname === '${PATH}', read: text => text.split(' ')[1] })
  return { message: (payload, client) => client.send(client.identity + ' says ' + payload.split(' ')[0]) }
}`,
    })
    const env = { FWS_JWT_SECRET: SECRET }
    const { url } = await launch(t, ['-p', '0', '-f', 'jwt', './protocol.js'], { cwd, env })
    const ann = await Peer.open(url.replace(/\/?$/, PATH))
    ann.send(`hello ${sign({ sub: 'ann' })}`)
    ann.send('more')
    assert.deepEqual(await ann.get(2), ['ann says hello', 'ann says more'])
    const bob = await Peer.open(url.replace(/\/?$/, PATH))
    bob.send('hello')
    bob.send('more')
    assert.deepEqual(await bob.end(), { code: 4401, reason: 'no token' })
    assert.equal(await upgradeStatus(url), 401)
  })
})

describe('jwt: verify', () => {
  it('returns the claims of a valid token, also of one for a channel of another subject', async t => {
    const { api } = await serve(t)
    const { sub, channel } = await api.verify(sign({ sub: 7, channel: 'chat/1' }))
    assert.deepEqual([sub, channel], ['7', 'chat/1'])
  })

  for (const [reason, token] of [
    ['expired', expired()],
    ['not yet valid', sign({ nbf: seconds() + 600 })],
    ['bad signature', sign({}, { key: 'x'.repeat(32) })],
    ['wrong issuer', sign({ iss: 'b' })],
    ['malformed', ''],
    ['malformed', 7 as unknown as string],
    ['too long', 'a'.repeat(9000)],
    ['revoked', sign({ sub: 'eve', iss: 'a' })],
  ] as const) {
    it(`rejects ${JSON.stringify(token).slice(0, 12)} with the reason ${reason}`, async t => {
      const { api } = await serve(t, { options: { 'jwt-issuer': ['a'] } })
      await api.revoke({ sub: 'eve' })
      await assert.rejects(api.verify(token), { reason, message: `token refused: ${reason}` })
    })
  }
})
