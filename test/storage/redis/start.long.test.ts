import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { generate } from 'selfsigned'
import { explained, folder, Launched, launch, run } from '../../support/cli.ts'
import { startFaultProxy } from '../../support/fault-proxy.ts'
import { Peer, until } from '../../support/peer.ts'
import { freePort } from '../../support/port.ts'
import { type RedisServer, skipWithoutOwn, startRedis } from '../../support/redis.ts'

const env = { STORAGE_OBJECT_MODULE: 'redis' }
const argv = (...more: string[]) => ['-p', '0', '-f', 'broadcast', ...more]

describe('options of storage redis', () => {
  it('are in the help only when it is chosen', async () => {
    assert.doesNotMatch((await run(['--help'])).stdout, /redis-host/)
    const { stdout } = await run(['--help'], { env })
    assert.match(stdout, /storage redis/i)
    for (const option of [
      'redis-url',
      'redis-channels',
      'redis-cluster',
      'redis-sentinels',
      'redis-lease',
      'redis-wait',
    ])
      assert.match(stdout, new RegExp(`--${option} `))
    const flagged = await run(['--help', '--storage', 'redis'])
    assert.equal(flagged.stdout, stdout)
  })
  it('a flag of it without --storage redis is refused, with what to do', async () => {
    const { code, stderr } = await run(argv('--redis-host', 'x'))
    assert.equal(code, 2)
    assert.match(stderr, /--redis-host/)
  })
  for (const [what, more, sentence] of [
    ['an URL of another kind', ['--redis-url', 'http://user:topsecret@x'], /--redis-url takes redis:\/\//],
    ['text for an URL', ['--redis-url', 'topsecret'], /--redis-url takes redis:\/\//],
    ['a cluster node without port', ['--redis-cluster', 'a:b'], /--redis-cluster takes host:port, received "a:b"/],
    [
      'two places at once',
      ['--redis-cluster', 'a:1', '--redis-sentinels', 'b:2'],
      /--redis-cluster and --redis-sentinels/,
    ],
    ['a key with braces', ['--redis-key', 'a{b}'], /--redis-key takes a word of .*, received "a\{b\}"/],
    ['a key with a colon', ['--redis-key', 'a:b'], /--redis-key takes a word of .*, received "a:b"/],
    ['a database', ['--redis-url', 'redis://x/2'], /--redis-url takes no database/],
    [
      'a bad % in a password',
      ['--redis-url', 'redis://:topsecret%zz@x'],
      /--redis-url: a % in user or password is written %25/,
    ],
    ...[
      'redis://:pa/topsecret@x',
      'redis://ann:1/topsecret@x:1',
      'redis://ann?topsecret@x',
      'redis://ann:#topsecret@x',
      'rediss://:topsecret/@x',
      'redis://:topsecret@/x@y',
    ].map(
      url =>
        [
          `a password with a character that ends it, ${url.replace('topsecret', 'p')}`,
          ['--redis-url', url],
          /--redis-url: in user and password "\/" is written %2F, "\?" %3F and "#" %23$/m,
        ] as const,
    ),
    ...[
      'redis://x?db=2',
      'redis://x:1/?family=6',
      'redis://x/0?password=topsecret',
      'rediss://x?tls=false',
      'redis://x#topsecret',
    ].map(
      url =>
        [
          `parameters, ${url.replace('topsecret', 'p')}`,
          ['--redis-url', url],
          /--redis-url takes no parameters after "\?" or "#"; use the other --redis options$/m,
        ] as const,
    ),
    [
      'a password in a list',
      ['--redis-cluster', 'u:topsecret@a:1'],
      /--redis-cluster takes host:port, received a user or password/,
    ],
    ['a channel of the nodes', ['--redis-channels', 'fws:all'], /--redis-channels: "fws:all" is reserved/],
    ['an authority that is not there', ['--redis-tls-ca', '/none.pem'], /--redis-tls-ca \/none\.pem cannot be read/],
  ] as const) {
    it(`${what} is refused in one sentence`, async () => {
      const { code, stderr } = await run(argv(...more), { env })
      assert.equal(code, 2)
      assert.match(stderr, sentence)
      assert.doesNotMatch(stderr, /topsecret|\n {4}at /)
    })
  }
})

describe('start with storage redis', { skip: skipWithoutOwn }, () => {
  let redis: RedisServer
  before(async () => {
    redis = await startRedis()
    await redis.command('ACL', 'SETUSER', 'ann', 'on', '>topsecret', '~*', '&*', '+@all')
  })
  after(() => redis.stop())
  const port = () => String(redis.port)

  it('accepts the spellings of filtered_websocket (Python)', async t => {
    const server = await launch(
      t,
      [
        '-p',
        '0',
        '-f',
        'broadcast-pubsub',
        '--redis_host',
        '127.0.0.1',
        `--redis_port=${port()}`,
        '--redis_channels',
        'one',
        'two',
      ],
      { env: { STORAGE_OBJECT_MODULE: 'filtered_websocket.storage_objects.redis' } },
    )
    const peer = await Peer.open(server.url)
    for (const channel of ['global', 'one', 'two']) await redis.command('PUBLISH', channel, channel)
    assert.deepEqual(await peer.get(2), ['one', 'two'])
  })
  it('user and password from flags and from a file; neither is ever printed', async t => {
    const cwd = folder(t, { password: 'topsecret\n' })
    const files = { ...env, FWS_REDIS_PASSWORD_FILE: join(cwd, 'password') }
    const server = await launch(t, argv('--redis-port', port(), '--redis-user', 'ann', '--log-level', 'debug'), {
      env: files,
      cwd,
    })
    assert.doesNotMatch(server.stderr, /topsecret/)
    const { stdout } = await run(argv('--redis-url', `redis://ann:topsecret@127.0.0.1:${port()}`, '--explain'), { env })
    assert.equal(explained(stdout).get('redis-url')?.[0], '********')
    assert.doesNotMatch(stdout, /topsecret/)
  })
  it('a wrong password fails immediately, also with --redis-wait, and is not printed', async () => {
    const { code, stderr } = await run(
      argv('--redis-port', port(), '--redis-user', 'ann', '--redis-password', 'topsecretwrong', '--redis-wait'),
      { env },
    )
    assert.equal(code, 1)
    assert.match(stderr, /redis at 127\.0\.0\.1:\d+: WRONGPASS/)
    assert.doesNotMatch(stderr, /topsecret/)
  })
  it('a channel that Redis refuses to this user fails the start in one sentence', async () => {
    await redis.command('ACL', 'SETUSER', 'narrow', 'on', '>p', '~*', '+@all', 'resetchannels', '&fws:*')
    const { code, stderr } = await run(
      ['-p', '0', '-f', 'broadcast-pubsub', '--redis-port', port(), '--redis-user', 'narrow', '--redis-password', 'p'],
      { env },
    )
    assert.equal(code, 1)
    assert.match(stderr, /cannot subscribe to channel "global": redis refuses channel "global": NOPERM/)
    assert.doesNotMatch(stderr, /\n {4}at /)
  })
  it('a refused connection is one clear sentence, exit 1', async () => {
    const free = String(await freePort())
    const { code, stdout, stderr } = await run(argv('--redis-port', free), { env })
    assert.deepEqual({ code, stdout }, { code: 1, stdout: '' })
    assert.match(
      stderr,
      new RegExp(`storage redis does not open: redis at 127\\.0\\.0\\.1:${free}: connect ECONNREFUSED`),
    )
    assert.doesNotMatch(stderr, /\n {4}at /)
  })
  it('a port that accepts and never answers fails after --redis-timeout', async t => {
    const silent = createServer().listen(0, '127.0.0.1')
    await new Promise(resolve => silent.once('listening', resolve))
    t.after(() => void silent.close())
    const { port } = silent.address() as { port: number }
    const { code, stderr } = await run(argv('--redis-port', String(port), '--redis-timeout', '0.5'), { env })
    assert.equal(code, 1)
    assert.match(stderr, /redis at 127\.0\.0\.1:\d+: no answer/)
  })
  it('with --redis-wait a half-open connection does not block the start', async t => {
    const proxy = await startFaultProxy({ host: '127.0.0.1', port: redis.port })
    t.after(() => proxy.stop())
    proxy.halfOpen()
    const server = new Launched(
      argv('--redis-port', String(proxy.port), '--redis-wait', '--redis-timeout', '2', '--log-format', 'json'),
      { env },
    )
    t.after(() => server.kill())
    await until(() => server.logged().some(({ msg }) => /^waiting for redis at .*: no answer$/.test(String(msg))))
    proxy.resume()
    await until(() => server.listening())
  })
  it('with --redis-wait it logs once that it waits, and starts when Redis is up', async t => {
    const free = await freePort()
    const server = new Launched(argv('--redis-port', String(free), '--redis-wait', '--log-format', 'json'), { env })
    t.after(() => server.kill())
    const waiting = () => server.logged().filter(({ msg }) => /^waiting for redis at /.test(String(msg)))
    await until(() => waiting().length > 0)
    assert.match(String(waiting()[0]!.msg), /: connect ECONNREFUSED/)
    const late = await startRedis({ port: free })
    t.after(() => late.stop())
    await until(() => server.listening())
    assert.equal(waiting().length, 1)
    const [ann, bob] = [await Peer.open(server.url), await Peer.open(server.url)]
    ann.send('hello')
    await bob.get(1)
  })
  it('uses TLS with a server of the given authority, and refuses others', async t => {
    const { private: key, cert } = await generate([{ name: 'commonName', value: 'localhost' }], {
      extensions: [{ name: 'subjectAltName', altNames: [{ type: 7, ip: '127.0.0.1' }] }],
    })
    const secure = await startRedis({ tls: { key, cert } })
    t.after(() => secure.stop())
    const cwd = folder(t, { 'ca.pem': cert })
    const at = ['--redis-port', String(secure.port)]
    await launch(t, argv(...at, '--redis-tls-ca', 'ca.pem'), { env, cwd })
    const { code, stderr } = await run(argv(...at, '--redis-tls'), { env, cwd })
    assert.equal(code, 1)
    assert.match(stderr, /redis at 127\.0\.0\.1:\d+: (self-signed certificate|unable to verify)/)
  })
})
