import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { pino } from 'pino'
import { readGiven } from '../../src/config/config-file.ts'
import { createServer, type FilterModule, type ServerOptions } from '../../src/index.ts'
import { assemble } from '../../src/lifecycle/assembly.ts'
import { explain } from '../../src/lifecycle/explain.ts'
import { makePlan } from '../../src/lifecycle/plan.ts'
import { createLoader } from '../../src/lifecycle/server.ts'
import { ask, handshake } from '../support/frames.ts'
import { Peer, serve, until } from '../support/peer.ts'
import { startTestServer } from '../support/test-server.ts'

type Filters = NonNullable<ServerOptions['filters']>

/** Appends an entry for each of its calls. */
function recording(name: string, calls: string[], more: FilterModule = {}): FilterModule {
  const record = (event: string) => () => void calls.push(`${name} ${event}`)
  return {
    connect: record('connect'),
    open: record('open'),
    message: record('message'),
    disconnect: record('disconnect'),
    request: record('request'),
    ...more,
  }
}

const get = (target: string, { host }: { host: string }) =>
  `GET ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`
const start = (filters: Filters, options: ServerOptions = {}) =>
  createServer({ port: 0, logLevel: 'silent', filters, ...options })

describe('paths of a filter', () => {
  const events = ['connect', 'open', 'message', 'disconnect']

  it('are handled by guards, the filters that it uses and itself, in -f order', async t => {
    const calls: string[] = []
    const server = await serve(t, {
      filters: [
        recording('guard', calls, { stage: 'guard' }),
        recording('catch-all', calls),
        recording('claimant', calls, {
          uses: ['json'],
          paths: ['/app'],
          message: (_, client, { json }) => {
            calls.push(`claimant message ${JSON.stringify(json)}`)
            return client.answer('own')
          },
        }),
      ],
    })
    const peer = await Peer.open(`${server.url}/app/key?x=1`)
    peer.send('{"a":1}')
    assert.deepEqual(await peer.get(1), ['own'])
    peer.ws.close()
    await until(() => server.counters.closed === 1)
    assert.deepEqual(calls, [
      'guard connect',
      'claimant connect',
      'guard open',
      'claimant open',
      'guard message',
      'claimant message {"a":1}',
      'guard disconnect',
      'claimant disconnect',
    ])
    assert.deepEqual(
      server.handlers
        .filter(({ chain, filter }) => chain === 'message' && filter === 'inline')
        .map(({ calls }) => calls),
      [1, 0, 1],
    )
  })

  it('are not those of other clients and requests, which the filter does not handle', async t => {
    const calls: string[] = []
    const server = await serve(t, {
      filters: [recording('catch-all', calls), recording('claimant', calls, { paths: ['/app', '/apps'] })],
    })
    const peer = await Peer.open(`${server.url}/application`)
    peer.send('hi')
    peer.ws.close()
    await until(() => calls.length === 4)
    assert.equal((await ask(server.url, get('/', new URL(server.url)))).status, 426)
    assert.deepEqual(
      calls,
      [...events, 'request'].map(event => `catch-all ${event}`),
    )
  })

  for (const [sent, isClaimed] of [
    ['/app', true],
    ['/app/', true],
    ['/app?x=/other', true],
    ['/app/a/b', true],
    ['/app/%2e%2e/x', false],
    ['/app/../x', false],
    ['/app/..', false],
    ['/x/../app', true],
    ['/x/%2E%2e/app/./y?z', true],
    ['/x/..%2fapp', false],
    ['/%61pp', false],
    ['//app', false],
    ['/App', false],
    ['/appx', false],
    ['/', false],
    ['http://HOST/app/x', true],
    ['http://HOST?/app', false],
  ] as const) {
    it(`${isClaimed ? 'contain' : 'do not contain'} ${sent}`, async t => {
      const seen: string[] = []
      const filter = (name: string, more: FilterModule = {}): FilterModule => ({
        request: (_, res) => void res.end(name),
        connect: ({ handshake }) => void seen.push(name, handshake!.url.pathname),
        ...more,
      })
      const server = await serve(t, { filters: [filter('catch-all'), filter('claimant', { paths: ['/app'] })] })
      const target = sent.replace('HOST', new URL(server.url).host)
      const owner = isClaimed ? 'claimant' : 'catch-all'
      const { body } = await ask(server.url, get(target, new URL(server.url)))
      assert.equal(body, owner)
      assert.equal((await ask(server.url, handshake(server.url, {}, `GET ${target} HTTP/1.1`))).status, 101)
      assert.equal(seen[0], owner)
      assert.equal(/^\/app(?:\/|$)/.test(seen[1]!), isClaimed, seen[1])
    })
  }

  it('that no handler answers get 426, and no catch-all runs', async t => {
    const server = await serve(t, {
      filters: [{ request: (_, res) => void res.end('page') }, { paths: ['/app'], message: () => {} }],
    })
    const { status, body } = await ask(server.url, get('/app', new URL(server.url)))
    assert.deepEqual([status, body], [426, 'this is a WebSocket server\n'])
    assert.equal((await ask(server.url, get('/', new URL(server.url)))).body, 'page')
  })

  it('may depend on options: setup returns them', async t => {
    const filter: FilterModule = {
      options: { 'inline-path': { type: 'string', default: '/app' } },
      setup: ({ options }) => ({
        paths: [String(options['inline-path'])],
        message: (_, client) => client.answer('own'),
      }),
    }
    const server = await startTestServer(t, ['echo', filter], { 'inline-path': '/mine' })
    for (const [url, answer] of [
      ['/mine/x', 'own'],
      ['/app', 'hi'],
    ] as const) {
      const peer = await server.connect({ url })
      await peer.say('hi')
      assert.deepEqual(peer.received, [answer], url)
    }
  })

  it('leave topics and broadcasts to all clients', async t => {
    const server = await startTestServer(t, ['broadcast', { paths: ['/app'], message: () => {} }])
    const [ann, bob] = [await server.connect({ url: '/app' }), await server.connect()]
    await bob.say('hello')
    await ann.say('raw')
    assert.deepEqual([ann.received, bob.received], [['hello'], []])
  })

  it('are shown by --explain', async () => {
    const filters: Filters = [{ paths: ['/sse', '/streams'], message: () => {} }]
    const plan = await makePlan({ given: readGiven({ filters }, '.'), base: '.' }, createLoader())
    const assembly = await assemble(plan, { log: pino({ level: 'silent' }) })
    const lines = explain(plan, assembly, '.').split('\n')
    await assembly.close()
    const at = lines.indexOf('paths')
    assert.deepEqual(
      lines.slice(at - 1, at + 5).map(line => line.replace(/ {3,}/, '  ')),
      ['', 'paths', '  /sse  inline', '  /streams  inline', '', 'storage'],
    )
  })
})

describe('a claim is refused at start', () => {
  const claiming = (...paths: string[]): FilterModule => ({ paths, message: () => {} })

  for (const [what, filters, message, options] of [
    [
      'of a path of another filter',
      [claiming('/app'), claiming('/sse', '/app')],
      '-f inline claims /app, and -f inline claims /app; leave one out or change its path',
    ],
    [
      'of a path below that of another filter',
      [claiming('/app'), claiming('/app/x')],
      '-f inline claims /app, and -f inline claims /app/x; leave one out or change its path',
    ],
    [
      'of a path above that of another filter',
      [claiming('/a/b/c'), claiming('/a')],
      '-f inline claims /a/b/c, and -f inline claims /a; leave one out or change its path',
    ],
    [
      'of the health path',
      [claiming('/up')],
      '-f inline claims /up, and --health-path is /up/now; choose another path',
      { healthPath: '/up/now' },
    ],
    [
      'by a guard',
      [{ ...claiming('/app'), stage: 'guard' }],
      '-f inline is a guard, which protects all paths; it must not claim /app',
    ],
    ['that is not an array', [{ message: () => {}, paths: '/app' as never }], wrong('"/app"')],
    ...['', '/', 'app', '/app/', '/a?b', '/a b', '//a', '/../a', '/a/.', '/a%20b', '/a#b', '/ä', 'https://a/b'].map(
      path => [`of ${JSON.stringify(path)}`, [claiming('/ok', path)], wrong(JSON.stringify(path))] as const,
    ),
    ['of a path that is not a string', [claiming(5 as never)], wrong('5')],
    [
      'of a wrong path by setup',
      [{ setup: () => ({ paths: ['app'] }) }],
      'filter inline: its setup returned "paths", which must be an array of URL paths such as /sse, received "app"',
    ],
  ] as readonly (readonly [string, Filters, string, ServerOptions?])[]) {
    it(what, () => assert.rejects(start(filters, options), { code: 'ERR_FILTER', message }))
  }

  it('but not of nested paths of one filter, of paths with a common beginning, and of names with dots', async t => {
    await serve(t, {
      filters: [claiming('/app', '/app/x'), claiming('/apps', '/.well-known/mercure', '/a.b/..c')],
      healthPath: '/appx',
    })
  })

  function wrong(received: string): string {
    return `filter inline: its export "paths" must be an array of URL paths such as /sse, received ${received}`
  }
})
