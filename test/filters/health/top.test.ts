import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer as createHttp, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { PassThrough } from 'node:stream'
import { describe, it, type TestContext } from 'node:test'
import { stripVTControlCharacters } from 'node:util'
import type { Sample } from '../../../filters/health/sample.ts'
import { linesOf } from '../../../filters/health/top/lines.ts'
import { topUrl } from '../../../filters/health/top/port.ts'
import { type Rates, ratesOf } from '../../../filters/health/top/rates.ts'
import { run } from '../../../filters/health/top.ts'
import { createServer, DROP, type FilterModule, type ServerOptions } from '../../../src/index.ts'
import { inside, refusalInside } from '../../support/cli.ts'
import { gate } from '../../support/gate.ts'
import { collectedLog } from '../../support/log.ts'
import { Peer, until } from '../../support/peer.ts'
import { freePort } from '../../support/port.ts'

const PORT = { 'health-port': 9001, 'health-host': '127.0.0.1', 'health-payloads': false, 'health-redact': [] }
const PLAIN = { heading: (text: string) => text, alarm: (text: string) => `!${text}!` }

async function withHealth(t: TestContext, options: ServerOptions = {}) {
  const { log, logged } = collectedLog()
  const server = await createServer({ port: 0, healthPort: 0, filters: ['health', 'broadcast'], log, ...options })
  t.after(() => server.close())
  return { server, health: String(logged.find(({ msg }) => msg === 'health answers')!.url) }
}

/** An HTTP server that is no health port. */
async function web(t: TestContext, handle: RequestListener): Promise<string> {
  const server = createHttp(handle).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.close()
    server.closeAllConnections()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** A terminal or pipe for the command, in this process. */
function streamsOf(t: TestContext, isTTY: boolean) {
  const raw: boolean[] = []
  const ending = new AbortController()
  t.after(() => ending.abort())
  const stdin = Object.assign(new PassThrough(), { isTTY, setRawMode: (on: boolean) => void raw.push(on) })
  const stdout = Object.assign(new PassThrough(), { isTTY, rows: 24 })
  const stderr = new PassThrough()
  const seen = { stdout: '', stderr: '' }
  stdout.on('data', chunk => {
    seen.stdout += chunk
  })
  stderr.on('data', chunk => {
    seen.stderr += chunk
  })
  return { streams: { stdin, stdout, stderr, signal: ending.signal }, seen, raw, ending }
}

function start(word: string, streams: ReturnType<typeof streamsOf>['streams'], interval = 0.1, env = {}) {
  return run({ options: { interval, once: false, ...PORT }, words: [word], env, streams })
}

/** A sample with some totals. */
function sample(uptime: number, totals: object = {}, more: object = {}): Sample {
  const counters = { opened: 0, closed: 0, messages: 0, deliveries: 0, bytesIn: 0, bytesOut: 0, errors: 0, paused: 0 }
  return {
    version: 1,
    since: 1,
    uptime,
    checks: { listening: true, accepting: true },
    clients: 0,
    counters: { ...counters, drops: {}, refusals: {}, closes: {}, ...totals },
    handlers: [],
    slowest: [],
    storage: {},
    streams: {},
    memory: 0,
    cpu: 0,
    ...more,
  } as unknown as Sample
}

const handler = { chain: 'message', filter: 'f', order: 0, calls: 0, rewritten: 0, dropped: 0, failed: 0 }

describe('fws-server top', () => {
  it('--once prints the rates of one interval as JSON', async t => {
    const slow: FilterModule = { message: p => (p === 'drop' ? DROP : undefined) }
    const { server, health } = await withHealth(t, { filters: ['health', slow, 'broadcast'] })
    const [ann, bob] = [await Peer.open(server.url), await Peer.open(server.url)]
    let samples = 0
    const { opened, open } = gate()
    const url = await web(t, async ({ url }, res) => {
      // The second sample follows the messages.
      if (samples > 0) await opened
      const answer = await fetch(health + url)
      res.writeHead(answer.status, { 'content-type': answer.headers.get('content-type')! }).end(await answer.text())
      samples++
    })
    const result = inside(['top', url, '--once', '--interval', '0.5'], '/')
    await until(() => samples === 1)
    for (const text of ['a', 'drop', 'b']) ann.send(text)
    await bob.get(2)
    open()
    const { code, stdout, stderr } = await result
    assert.deepEqual([code, stderr], [0, ''])
    const { seconds, clients, totals, filters, failing } = JSON.parse(stdout) as Rates
    assert.ok(seconds >= 0.5 && seconds < 60)
    assert.deepEqual([clients, failing], [2, []])
    assert.deepEqual(totals.messages, { total: 3, perSecond: 3 / seconds })
    const [its, broadcast] = filters.filter(({ chain }) => chain === 'message')
    assert.deepEqual(
      [its!.place, its!.calls, its!.dropped, broadcast!.calls.total],
      [2, { total: 3, perSecond: 3 / seconds }, { total: 1, perSecond: 1 / seconds }, 2],
    )
    assert.ok(its!.microseconds! > 0 && broadcast!.microseconds! > 0)
  })

  it('in a terminal redraws the whole screen until q, and restores it', async t => {
    const { health } = await withHealth(t)
    const { streams, seen, raw } = streamsOf(t, true)
    const result = start(health, streams)
    await until(() => seen.stdout.includes('received'))
    assert.deepEqual(raw, [true])
    streams.stdin.write('x')
    streams.stdin.write('q')
    assert.equal(await result, 0)
    assert.deepEqual(raw, [true, false])
    assert.ok(seen.stdout.startsWith('\x1b[?1049h\x1b[?25l\x1b[?7l'))
    await until(() => seen.stdout.endsWith('\x1b[?7h\x1b[?25h\x1b[?1049l'))
    assert.equal(seen.stderr, '')
  })

  for (const [how, end] of [
    ['Ctrl-C', ({ streams }) => streams.stdin.write('\x03')],
    ['a signal', ({ ending }) => ending.abort()],
    ['the end of its input', ({ streams }) => streams.stdin.end()],
  ] as readonly (readonly [string, (terminal: ReturnType<typeof streamsOf>) => void])[]) {
    it(`${how} ends it with 0, also while a server does not answer`, async t => {
      const url = await web(t, () => {})
      const terminal = streamsOf(t, true)
      const result = start(url, terminal.streams)
      await until(() => terminal.seen.stdout.includes('waiting'))
      end(terminal)
      assert.equal(await result, 0)
      assert.deepEqual(terminal.raw, [true, false])
    })
  }

  it('in a terminal waits for a server that is not there, and goes on after its restart', async t => {
    const healthPort = await freePort()
    const { server, health } = await withHealth(t, { healthPort })
    const { streams, seen, ending } = streamsOf(t, true)
    const result = start(health, streams)
    await until(() => seen.stdout.includes('received'))
    await server.close()
    const line = `no health port at ${health}: connection refused; start the server with -f health`
    await until(() => seen.stdout.includes(line))
    seen.stdout = ''
    await withHealth(t, { healthPort })
    await until(() => seen.stdout.includes('received'))
    ending.abort()
    assert.equal(await result, 0)
  })

  it('in a pipe prints plain views, and one line on standard error while the server is away', async t => {
    const healthPort = await freePort()
    const { server, health } = await withHealth(t, { healthPort })
    const { streams, seen, ending } = streamsOf(t, false)
    const result = start(health, streams)
    await until(() => seen.stdout.split('\n\n').length > 4)
    assert.equal(seen.stdout, stripVTControlCharacters(seen.stdout))
    assert.match(seen.stdout, /^fws-server http:\S+ {3}ready {3}up \d+ s {3}cpu \d+ % {3}memory \d+ MiB\nclients {3}0 /)
    await server.close()
    await until(() => seen.stderr.includes('connection refused'))
    await withHealth(t, { healthPort })
    seen.stdout = ''
    await until(() => seen.stdout !== '')
    // A request that runs when the server stops may be the first to fail.
    const lines = seen.stderr.split('\n').filter(line => !/: connection (closed|reset);/.test(line))
    const line = `fws-server: no health port at ${health}: connection refused; start the server with -f health`
    assert.deepEqual(lines, [line, ''])
    ending.abort()
    assert.equal(await result, 0)
  })

  it('in a pipe ends when its reader is gone', async t => {
    const { health } = await withHealth(t)
    const { streams, seen } = streamsOf(t, false)
    const result = start(health, streams)
    await until(() => seen.stdout !== '')
    streams.stdout.destroy()
    assert.equal(await result, 0)
  })

  it('skips views that a terminal does not read', async t => {
    const { health } = await withHealth(t)
    const { streams, ending } = streamsOf(t, true)
    streams.stdout.pause()
    const result = start(health, streams, 0.1)
    await until(() => streams.stdout.readableLength > 0)
    const { readableHighWaterMark: limit } = streams.stdout
    await new Promise(resolve => setTimeout(resolve, 500))
    assert.ok(streams.stdout.readableLength + streams.stdout.writableLength < 2 * limit)
    ending.abort()
    assert.equal(await result, 0)
  })

  it('has colors in a terminal only, and not with NO_COLOR', async t => {
    const { health } = await withHealth(t)
    for (const [env, expected] of [
      [{}, true],
      [{ NO_COLOR: '1' }, false],
    ] as const) {
      const { streams, seen, ending } = streamsOf(t, true)
      const result = start(health, streams, 0.1, env)
      await until(() => seen.stdout.includes('received'))
      assert.equal(seen.stdout.includes('\x1b[1m'), expected)
      ending.abort()
      await result
    }
  })

  it('a terminal without capabilities is a pipe', async t => {
    const { health } = await withHealth(t)
    const { streams, seen, ending } = streamsOf(t, true)
    const result = start(health, streams, 0.1, { TERM: 'dumb' })
    await until(() => seen.stdout.includes('received'))
    assert.ok(!seen.stdout.includes('\x1b'))
    ending.abort()
    await result
  })

  const answers: readonly (readonly [name: string, handle: RequestListener, line: RegExp])[] = [
    [
      'a page of a proxy',
      (_, res) => res.writeHead(200, { 'content-type': 'text/html' }).end('<html>'),
      /^(\S+) is not a health port: it answers with status 200, text\/html$/,
    ],
    [
      'a bad gateway',
      (_, res) => res.writeHead(502).end('x'),
      /^(\S+) is not a health port: it answers with status 502, no type$/,
    ],
    [
      'a redirect',
      (_, res) => res.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(),
      /^(\S+) is not a health port: it answers with status 302, no type$/,
    ],
    [
      'other JSON',
      (_, res) => res.writeHead(200, { 'content-type': 'application/json' }).end('[1]'),
      /^(\S+) is not a health port: it answers with status 200, application\/json$/,
    ],
    [
      'half of a JSON',
      (_, res) => res.writeHead(200, { 'content-type': 'application/json' }).end('{"version":1'),
      /^(\S+) is not a health port: it answers with status 200, application\/json$/,
    ],
    [
      'an older server',
      (_, res) => res.writeHead(404, { 'content-type': 'text/plain' }).end('/healthz, /readyz or /metrics\n'),
      /^(\S+) is a health port of an older version, without \/top; update the server$/,
    ],
    [
      'a newer server',
      (_, res) => res.writeHead(200, { 'content-type': 'application/json' }).end('{"version":2}'),
      /^(\S+) sends version 2 of \/top, this fws-server reads version 1$/,
    ],
    [
      'a refusal that moves the cursor',
      (_, res) => res.writeHead(403, { 'content-type': 'text/plain' }).end('no\x1b[2J'),
      /^(\S+) refuses: no\\x1b\[2J$/,
    ],
    [
      'an answer without end',
      (_, res) => {
        res.writeHead(200, { 'content-type': 'application/json' })
        const write = () => {
          while (!res.destroyed && res.write('x'.repeat(65_536)));
        }
        res.on('drain', write)
        write()
      },
      /^no health port at (\S+): its answer is longer than 4194304 characters; start the server with -f health$/,
    ],
    [
      'a sample without totals',
      (_, res) => res.writeHead(200, { 'content-type': 'application/json' }).end('{"version":1,"handlers":[]}'),
      /^(\S+) sends a sample that this fws-server cannot read$/,
    ],
    [
      'a connection that breaks',
      (_, res) => res.destroy(),
      /^no health port at (\S+): connection closed; start the server with -f health$/,
    ],
  ]
  for (const [name, handle, line] of answers) {
    it(`one line and exit 1 for ${name}`, async t => {
      const url = await web(t, handle)
      for (const flags of [['--once'], []]) {
        const { code, stdout, stderr } = await inside(['top', url, ...flags], '/')
        assert.deepEqual([code, stdout], [1, ''])
        const [, shown] = line.exec(stderr.replace(/^fws-server: /, '').trimEnd()) ?? []
        assert.equal(shown, url, stderr)
      }
    })
  }

  const urls: readonly (readonly [word: string | undefined, options: object, url: string])[] = [
    [undefined, {}, 'http://127.0.0.1:9001/top'],
    [undefined, { 'health-host': '0.0.0.0', 'health-port': 8 }, 'http://127.0.0.1:8/top'],
    [undefined, { 'health-host': '::' }, 'http://[::1]:9001/top'],
    [undefined, { 'health-host': '[fd00::1]' }, 'http://[fd00::1]:9001/top'],
    ['7', {}, 'http://127.0.0.1:7/top'],
    ['example.com:7', {}, 'http://example.com:7/top'],
    ['https://example.com/fws/', {}, 'https://example.com/fws/top'],
  ]
  for (const [word, options, url] of urls) {
    it(`asks ${url} for ${word ?? JSON.stringify(options)}`, () =>
      assert.equal(topUrl(word, { ...PORT, ...options }).href, url))
  }

  const refused: readonly (readonly [argv: readonly string[], message: string])[] = [
    [
      ['ws://127.0.0.1:9000'],
      'top takes the URL of a health port, such as http://127.0.0.1:9001, without user and password',
    ],
    [
      ['http://ann:secret@127.0.0.1:9001'],
      'top takes the URL of a health port, such as http://127.0.0.1:9001, without user and password',
    ],
    [['not a url'], 'top takes the URL of a health port, such as http://127.0.0.1:9001, without user and password'],
    [['a', 'b'], 'top takes one URL, received 2 words'],
    [
      ['--health-port', '0'],
      '--health-port is 0, any free port; name the URL that the server logs: fws-server top URL',
    ],
    [['--interval', '0'], '--interval takes a number from 0.1 to 3600, received "0"'],
  ]
  for (const [argv, message] of refused) {
    it(`refuses ${argv.join(' ')}`, async () => assert.equal(await refusalInside(['top', ...argv], '/'), message))
  }
})

describe('rates of two samples', () => {
  it('are differences by seconds', () => {
    const before = sample(1000, { messages: 10, drops: { slow: 1 } }, { cpu: 500_000, storage: { x_total: 1, y: 2 } })
    const after = sample(
      3000,
      { messages: 30, drops: { slow: 2, 'on hold': 4 } },
      { cpu: 1_500_000, storage: { x_total: 5, y: 3 }, streams: { followed: 1 }, checks: { listening: false } },
    )
    const rates = ratesOf(before, after)!
    assert.deepEqual([rates.seconds, rates.uptime, rates.cpu, rates.failing], [2, 3, 0.5, ['listening']])
    assert.deepEqual(rates.totals.messages, { total: 30, perSecond: 10 })
    assert.deepEqual(rates.drops, { slow: { total: 2, perSecond: 0.5 }, 'on hold': { total: 4, perSecond: 2 } })
    assert.deepEqual(rates.storage, { x_total: { total: 5, perSecond: 2 }, y: 3, followed: 1 })
  })
  it('have the mean time of the measured calls, and none without one', () => {
    const before = sample(0, {}, { handlers: [{ ...handler, calls: 5, timed: 1, nanoseconds: 1000 }] })
    const after = sample(1000, {}, { handlers: [{ ...handler, calls: 9, timed: 3, nanoseconds: 5000 }] })
    assert.equal(ratesOf(before, after)!.filters[0]!.microseconds, 2)
    assert.equal(ratesOf(before, { ...before, uptime: 1 })!.filters[0]!.microseconds, null)
  })
  it('do not exist across a restart', () => {
    assert.equal(ratesOf(sample(2000), { ...sample(3000), since: 2 }), undefined)
    assert.equal(ratesOf(sample(2000), sample(2000)), undefined)
  })
})

describe('lines of a view', () => {
  it('have totals, filters, trouble, slow clients and storage', () => {
    const calls = { ...handler, filter: './my-filter.ts', calls: 10, timed: 0, nanoseconds: 0 }
    const never = { ...handler, order: 1, filter: 'unused', timed: 0, nanoseconds: 0 }
    const before = sample(90_061_000, {}, { handlers: [calls, never] })
    const after = sample(
      90_062_000,
      {
        opened: 7,
        messages: 12_345,
        bytesIn: 2_000_000,
        deliveries: 3,
        drops: { 'slow client': 5 },
        refusals: { 401: 1500 },
      },
      {
        clients: 1204,
        checks: { listening: true, receiving: false, writing: false },
        handlers: [{ ...calls, calls: 1010, dropped: 10, timed: 1000, nanoseconds: 2_500_000 }, never],
        slowest: [{ id: 'a\x1b[2J\tb', remote: '10.0.0.7', identity: '漢字\u009b', unsent: 3_500_000 }],
        storage: { reconnects_total: 2, refused_publishes_total: 0, canary_age_seconds: 0.25, pending_bytes: 0 },
        memory: 99 * 1024 * 1024,
        cpu: 340_000,
      },
    )
    assert.deepEqual(linesOf('http://x', ratesOf(before, after)!, PLAIN), [
      'fws-server http://x   !not ready: receiving, writing!   up 1 d 1 h   cpu 34 %   memory 99 MiB',
      'clients   1,204   opened 7/s   closed 0/s',
      'received  12,345/s   1.9 MiB/s',
      'delivered 3/s   0 B/s',
      '',
      'TROUBLE',
      'dropped  slow client      5/s      5 in total',
      'refused  401          1,500/s  1,500 in total',
      '',
      '#  FILTER          CHAIN    CALLS/S    TIME  TIME/S  REWRITTEN/S  DROPPED/S  FAILED/S',
      '1  ./my-filter.ts  message    1,000  2.5 µs  2.5 ms            0         10         0',
      '',
      'SLOWEST CLIENTS',
      '3.3 MiB unsent  a\\x1b[2J b  10.0.0.7  漢字\\x9b',
      '',
      'STORAGE',
      'reconnects_total      2  2/s',
      'canary_age_seconds  0.3',
      'pending_bytes         0',
    ])
  })

  it('have no control characters of names that another server sends', () => {
    const handlers = [{ ...handler, chain: 'a\x1b[2J', timed: 0, nanoseconds: 0, calls: 1 }]
    const after = sample(1000, {}, { handlers, checks: { 'b\x1b[2J': false } })
    const text = linesOf('http://x', ratesOf(sample(0), after)!, PLAIN).join('')
    assert.match(text, /not ready: b\\x1b\[2J.*a\\x1b\[2J/)
    assert.doesNotMatch(text, /\p{Cc}/u)
  })

  it('cut long names', () => {
    const slowest = [{ id: 'x'.repeat(300), remote: 'r', unsent: 1 }]
    const line = linesOf('http://x', ratesOf(sample(0), sample(1000, {}, { slowest }))!, PLAIN).find(text =>
      text.includes('unsent'),
    )
    assert.equal(line, `1 B unsent  ${'x'.repeat(39)}…  r`)
  })
})
