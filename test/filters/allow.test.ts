import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { readRule } from '../../filters/allow/rule.ts'
import { setup } from '../../filters/allow.ts'
import type { Access, Client } from '../../src/contract/client.ts'
import type { FilterModule, Host } from '../../src/contract/filter.ts'
import { fakeClient, testServer } from '../../src/testing/index.ts'
import { folder, launch, root, run } from '../support/cli.ts'
import { Peer, until } from '../support/peer.ts'
import { SECRET, sign } from '../support/tokens.ts'

/** A client with these claims, as set by an authenticating filter. */
function clientOf({ sub, ...claims }: Record<string, unknown> = {}): Client {
  const client = fakeClient()
  client.identity = sub as string | undefined
  return Object.assign(client, { state: { user: claims } })
}

const allows = (rules: string[], claims: Record<string, unknown>, action: Access['action'], topic?: string) =>
  setup({ options: { 'allow-rules': rules } } as unknown as Host<never>).permit({ action, topic }, clientOf(claims))

describe('allow', () => {
  it('refuses actions that no rule allows', () => {
    assert.equal(allows(['user join lobby'], {}, 'join', 'lobby'), false)
    assert.equal(allows(['user join lobby'], { sub: 'ann' }, 'join', 'lobby'), true)
    assert.equal(allows(['user join lobby'], { sub: 'ann' }, 'publish', 'lobby'), false)
    assert.equal(allows(['user join lobby', 'anyone publish lobby'], {}, 'publish', 'lobby'), true)
  })

  it('permits to read the past only by a rule with read', () => {
    for (const [rule, expected] of [
      ['anyone join,publish lobby', false],
      ['anyone read lobby', true],
      ['anyone join,read lobby', true],
      ['anyone read other', false],
      ['user read lobby', false],
    ] as const)
      assert.equal(allows([rule], {}, 'read', 'lobby'), expected, rule)
    assert.equal(allows(['anyone read lobby'], {}, 'join', 'lobby'), false)
    assert.equal(allows(['anyone read **'], {}, 'read'), false)
    assert.equal(allows(['anyone read @everyone'], {}, 'read'), true)
  })

  it('without read a client of a kept topic joins from now on, not at a position', async t => {
    const keeps = { retain: () => ({ size: 10, ttlMs: 60_000, full: 'trim' }) } satisfies FilterModule
    const rules = ['anyone join,publish *', 'anyone read open']
    const server = await testServer(['allow', keeps], { 'allow-rules': rules })
    t.after(() => server.stop())
    const { client, received } = await server.connect()
    for (const topic of ['open', 'closed']) await server.server.append(topic, `past of ${topic}`)
    const message = 'not allowed to read "closed"'
    for (const after of ['earliest', { epoch: 'x', offset: 0 }] as const)
      await assert.rejects(client.join('closed', { after }), { code: 'ERR_FORBIDDEN', message })
    await assert.rejects(client.server.read('closed', { from: 'oldest', entries: 1, bytes: 1 }), { message })
    assert.equal(client.topics.size, 0)
    await client.join('closed', { after: 'now' })
    assert.equal((await client.join('open', { after: 'earliest' })).recovered, true)
    server.flush()
    assert.deepEqual(received, ['past of open'])
  })

  it('matches clients by a claim, or by one of its values', () => {
    const rules = ['role=admin join,publish **']
    for (const [role, expected] of [
      ['admin', true],
      [['user', 'admin'], true],
      ['administrator', false],
      [['user'], false],
      [{ admin: true }, false],
      [undefined, false],
    ] as const)
      assert.equal(allows(rules, { role }, 'publish', 'a/b'), expected, JSON.stringify(role))
    assert.equal(allows(['level=3 join x'], { level: 3 }, 'join', 'x'), true)
    assert.equal(allows(['constructor=Object join x'], {}, 'join', 'x'), false)
  })

  for (const [clients, expected] of [
    ['realm_access.roles=admin', true],
    ['realm_access.roles=adm', false],
    ['resource_access.my.app.roles=editor', true],
    ['https://ex.com/roles=x', true],
    ['scope=chat:read', true],
    ['scope=chat', false],
    ['azure.scp=Chat.Read', true],
    ['note=two', false],
    ['realm_access.roles.0=admin', false],
    ['realm_access.constructor.name=Object', false],
    ['tenant=9007199254740993', false],
    ['tenant=9007199254740992', false],
    ['verified=true', true],
  ] as const)
    it(`${expected ? 'applies' : 'does not apply'} a rule for ${clients}`, () => {
      const claims = {
        realm_access: { roles: ['admin'] },
        resource_access: { 'my.app': { roles: ['editor'] } },
        'https://ex.com/roles': ['x'],
        scope: 'openid chat:read',
        azure: { scp: 'Chat.Read Chat.Write' },
        note: 'two words',
        tenant: 2 ** 53,
        verified: true,
      }
      assert.equal(allows([`${clients} join x`], claims, 'join', 'x'), expected)
    })

  it('recognizes a user only by its identity', () => {
    assert.equal(allows(['user join x', 'anyone join of/{sub}'], { sub: undefined }, 'join', 'x'), false)
    const impostor = Object.assign(clientOf(), { state: { user: { sub: 'root' } } })
    const { permit } = setup({
      options: { 'allow-rules': ['user join x', 'sub=root join y', 'anyone join {sub}'] },
    } as unknown as Host<never>)
    for (const topic of ['x', 'y', 'root', 'undefined'])
      assert.equal(permit({ action: 'join', topic }, impostor), false)
  })

  it('reads sub from the identity, not from the token', () => {
    const client = Object.assign(clientOf({ sub: 'ann' }), { state: { user: { sub: 'bob' } } })
    const { permit } = setup({ options: { 'allow-rules': ['user join {sub}'] } } as unknown as Host<never>)
    assert.equal(permit({ action: 'join', topic: 'ann' }, client), true)
    assert.equal(permit({ action: 'join', topic: 'bob' }, client), false)
  })

  it('needs an @everyone rule for broadcasts to all clients', () => {
    assert.equal(allows(['anyone publish **'], {}, 'publish'), false)
    assert.equal(allows(['anyone publish @everyone'], {}, 'publish'), true)
    assert.equal(allows(['anyone publish @everyone'], {}, 'publish', 'a'), false)
  })

  it('matches topics that begin with @ only by a pattern that begins with it', () => {
    for (const pattern of ['*', '**', '*/*', '{team}', '{team}/**', '*presence/**'])
      for (const topic of ['@everyone', '@presence/chat'])
        for (const action of ['join', 'read', 'publish'] as const)
          assert.equal(allows([`anyone ${action} ${pattern}`], { team: '@presence' }, action, topic), false, pattern)
    assert.equal(allows(['anyone join @presence/**'], {}, 'join', '@presence/chat'), true)
  })

  for (const [rule, why] of [
    ['everybody join x', '"everybody" is not anyone, user or CLAIM=VALUE'],
    ['user jion x', '"jion" is not an action (join, read, publish)'],
    ['user join, x', '"" is not an action (join, read, publish)'],
    ['user join', 'a topic is missing'],
    ['', '"" is not anyone, user or CLAIM=VALUE'],
    ['user join a/**/b', '"**" is only valid as the last part, received "a/**/b"'],
    ['user join @everyone', '@everyone cannot be joined'],
  ] as const)
    it(`refuses the rule "${rule}"`, () => {
      assert.throws(() => readRule(rule), {
        message: `--allow-rules: rule "${rule}": ${why}; write a rule like "user join,publish chat/*"`,
      })
    })

  it('refuses topics over 1,024 characters', () => {
    assert.equal(allows(['anyone join **'], {}, 'join', 'x'.repeat(1024)), true)
    assert.equal(allows(['anyone join **'], {}, 'join', 'x'.repeat(1025)), false)
  })

  it('reads rules from the environment too', async t => {
    const env = { FWS_ALLOW_RULES: 'anyone publish lobby; user join,publish chat/*' }
    const { code, stdout } = await run(['-f', 'allow', 'broadcast', '--explain'], { cwd: folder(t), env })
    assert.equal(code, 0)
    assert.match(stdout, /allow-rules +anyone publish lobby user join,publish chat\/\* +env FWS_ALLOW_RULES/)
  })

  it('applies the rules of the config file to clients of the command', async t => {
    const cwd = folder(t, {
      'fws.json': JSON.stringify({ filters: ['allow', 'broadcast'], allow_rules: ['anyone publish lobby'] }),
    })
    const server = await launch(t, ['-p', '0', '-c', 'fws.json', '--log-level', 'debug'], { cwd })
    const ann = await Peer.open(server.url)
    ann.send('hello')
    assert.deepEqual(await ann.get(1), ['Error: not allowed to publish to everyone'])
    await until(() => server.logged().some(({ msg }) => msg === 'not allowed to publish to everyone'))
  })

  it('removes a client from topics that its renewed token no longer allows', async t => {
    const rules = ['user join lobby', 'role=admin join,publish staff']
    const server = await testServer(['jwt', 'allow', 'echo'], { 'jwt-secret': SECRET, 'allow-rules': rules })
    t.after(() => server.stop())
    const bearer = { headers: { authorization: `Bearer ${sign({ sub: 'ann', role: 'admin' })}` } }
    const { client, say } = await server.connect(bearer)
    client.join('staff')
    client.join('lobby')
    await say(JSON.stringify({ auth: sign({ sub: 'ann', role: 'guest', exp: Math.floor(Date.now() / 1000) + 90 }) }))
    assert.deepEqual([...client.topics], ['lobby'])
    assert.equal(client.may('publish', 'staff'), false)
  })

  it('keeps a client in its group when it may not join the requested one', async t => {
    const rules = ['anyone join,publish broadcast-by-token:red']
    const server = await testServer(['allow', 'broadcast-by-token'], { 'allow-rules': rules })
    t.after(() => server.stop())
    const [ann, bob] = [await server.connect(), await server.connect()]
    for (const { say } of [ann, bob]) await say('token:red')
    await ann.say('token:blue')
    await ann.say('hello')
    assert.equal(ann.received.at(-1), 'Error: not allowed to join "broadcast-by-token:blue"')
    assert.equal(bob.received.at(-1), 'hello')
  })

  it('is listed by --explain', async t => {
    const args = ['-f', 'allow', 'broadcast', '--allow-rules', 'user join x', '--explain']
    const { stdout } = await run(args, { cwd: folder(t, {}) })
    assert.match(stdout, /\n {2}permit\n {4}1\. allow .*\(guard\)\n/)
  })

  it('starts with the config file that docs/guide/authentication.md shows', async t => {
    const docs = readFileSync(join(root, 'docs/guide/authentication.md'), 'utf8')
    const [, config] = /```jsonc\n(\/\/ allow\.jsonc\n.*?)```/s.exec(docs)!
    const where = { cwd: folder(t, { 'allow.jsonc': config! }), env: { FWS_JWT_SECRET: SECRET } }
    const { code, stdout } = await run(['-c', 'allow.jsonc', '--explain'], where)
    assert.deepEqual([code, /permit\n +1\. allow/.test(stdout)], [0, true])
  })

  it('refuses to start without a rule, or with an invalid one', async t => {
    const bare = await run(['-f', 'allow', 'broadcast'], { cwd: folder(t, {}) })
    assert.equal(bare.code, 2)
    assert.match(bare.stderr, /filter allow needs --allow-rules: /)
    const wrong = await run(['-f', 'allow', 'broadcast', '--allow-rules', 'user sing x'], { cwd: folder(t, {}) })
    assert.equal(wrong.code, 2)
    assert.match(
      wrong.stderr,
      /filter allow: --allow-rules: rule "user sing x": "sing" is not an action \(join, read, publish\)/,
    )
  })
})
