import assert from 'node:assert/strict'
import { request } from 'node:http'
import { createServer as createTcp } from 'node:net'
import { networkInterfaces } from 'node:os'
import { describe, it, type TestContext } from 'node:test'
import { type Sample, Sampler } from '../../filters/health/sample.ts'
import { Timings } from '../../filters/health/timings.ts'
import {
  type Client,
  createServer,
  DROP,
  type FilterModule,
  type RunningServer,
  type ServerOptions,
} from '../../src/index.ts'
import { testServer } from '../../src/testing/index.ts'
import { ask } from '../support/frames.ts'
import { collectedLog } from '../support/log.ts'
import { Peer, raw, until } from '../support/peer.ts'

interface Answer {
  readonly status: number
  readonly body: string
  readonly type: string | undefined
}

async function withHealth(t: TestContext, options: ServerOptions = {}) {
  const { log, logged: lines } = collectedLog()
  const server = await createServer({
    port: 0,
    drain: 2,
    healthPort: 0,
    filters: ['health', 'broadcast'],
    log,
    ...options,
  })
  t.after(() => server.close())
  const url = String(lines.find(({ msg }) => msg === 'health answers')!.url)
  return { server, url, lines, get: (path: string, how = {}) => httpGet(url + path, how) }
}

function httpGet(url: string, how: { method?: string; host?: string } = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = how.host === undefined ? {} : { host: how.host }
    const req = request(url, { method: how.method ?? 'GET', headers, agent: false }, res => {
      let body = ''
      res.setEncoding('utf8').on('data', text => {
        body += text
      })
      res.on('end', () => resolve({ status: res.statusCode!, body, type: res.headers['content-type'] }))
    })
    req.on('error', reject).end()
  })
}

/** Samples by name and labels, as Prometheus reads them. */
function samplesOf(text: string): Map<string, number> {
  const lines = text.split('\n').filter(line => line !== '' && !line.startsWith('#'))
  return new Map(
    lines.map(line => {
      const [, name, value] = /^(\S+|\S+\{.*\}) (\S+)$/.exec(line)!
      return [name!, Number(value)]
    }),
  )
}

/** Checks of storage memory. */
const STORAGE = { storage: true, sending: true, receiving: true, writing: true }

describe('health', () => {
  it('/healthz answers 200 while the process is alive', async t => {
    const { get } = await withHealth(t)
    assert.deepEqual(await get('/healthz'), { status: 200, body: 'ok\n', type: 'text/plain; charset=utf-8' })
    assert.equal((await get('/healthz', { method: 'HEAD' })).status, 200)
  })
  it('/readyz answers 200 with all checks', async t => {
    const { get } = await withHealth(t)
    const { status, body, type } = await get('/readyz')
    assert.equal(status, 200)
    assert.equal(type, 'application/json')
    assert.deepEqual(JSON.parse(body), { ready: true, checks: { listening: true, accepting: true, ...STORAGE } })
  })
  it('/readyz answers 503 while the server drains, /healthz still 200', async t => {
    let release = () => {}
    const released = new Promise<void>(resolve => {
      release = resolve
    })
    const slow: FilterModule = { message: () => released }
    const { server, get } = await withHealth(t, { filters: ['health', slow], drain: 30 })
    const peer = await Peer.open(server.url)
    peer.send('work')
    await until(() => server.counters.messages === 1)
    const closed = server.close()
    const { status, body } = await get('/readyz')
    assert.equal(status, 503)
    assert.deepEqual(JSON.parse(body), { ready: false, checks: { listening: false, accepting: false, ...STORAGE } })
    assert.equal((await get('/healthz')).status, 200)
    release()
    await closed
    await assert.rejects(get('/healthz'), { code: 'ECONNREFUSED' })
  })
  it('/metrics has counters of connections, messages and handlers', async t => {
    const filters: ServerOptions['filters'] = [
      'health',
      { message: p => (p === 'bad' ? Promise.reject(new Error('bad')) : undefined) },
      { message: (p, client) => (p === 'drop' ? client.drop('unwanted') : p === 'rewrite' ? 'rewritten' : undefined) },
      'broadcast',
    ]
    const { server, get } = await withHealth(t, { filters })
    const [ann, bob] = [await Peer.open(server.url), await Peer.open(server.url)]
    for (const text of ['hello', 'rewrite', 'drop', 'bad', 'bye']) ann.send(text)
    await bob.get(3)
    const { status, type, body } = await get('/metrics')
    assert.deepEqual([status, type], [200, 'text/plain; version=0.0.4; charset=utf-8'])
    const samples = samplesOf(body)
    const value = (name: string) => samples.get(name)
    assert.deepEqual(
      {
        ready: value('fws_ready'),
        clients: value('fws_clients'),
        opened: value('fws_opened_total'),
        received: value('fws_messages_received_total'),
        deliveries: value('fws_deliveries_total'),
        errors: value('fws_errors_total'),
        unwanted: value('fws_drops_total{reason="unwanted"}'),
        outbox: value('fws_outbox_bytes'),
      },
      { ready: 1, clients: 2, opened: 2, received: 5, deliveries: 3, errors: 1, unwanted: 1, outbox: 0 },
    )
    const outcomes = (place: number) =>
      ['passed', 'rewritten', 'dropped', 'failed'].map(outcome =>
        [...samples]
          .filter(([name]) => name.startsWith('fws_handler_calls_total{chain="message"'))
          .filter(([name]) => name.includes(`place="${place}"`) && name.includes(`outcome="${outcome}"`))
          .map(([, n]) => n),
      )
    assert.deepEqual(outcomes(2), [[4], [0], [0], [1]])
    assert.deepEqual(outcomes(3), [[2], [1], [1], [0]])
    assert.deepEqual(outcomes(4), [[3], [0], [0], [0]])
    const lag = value('fws_event_loop_lag_seconds')!
    assert.ok(lag >= 0 && lag < 60, String(lag))
    assert.ok(value('fws_resident_memory_bytes')! > 1e7)
    assert.ok(body.includes('# HELP fws_clients open clients\n# TYPE fws_clients gauge\n'))
    await bob.ws.close()
    await until(() => server.clients.size === 1)
    const after = samplesOf((await get('/metrics')).body)
    assert.equal(after.get('fws_clients'), 1)
    assert.equal(after.get('fws_closed_total{code="1005"}'), 1)
  })
  it('/metrics has counters and gauges of kept topics', async t => {
    const { server, get } = await withHealth(t, {
      filters: ['health', 'streams'],
      streamsRules: ['few size=1 ttl=1m full=refuse', '* size=2 ttl=1m'],
    })
    const numbers = async () => {
      const samples = [...samplesOf((await get('/metrics')).body)]
      return Object.fromEntries(
        samples.flatMap(([name, value]) => (name.startsWith('fws_streams_') ? [[name.slice(12), value]] : [])),
      )
    }
    const before = await numbers()
    const totals = ['appended', 'refused', 'unsent', 'recovered', 'healed', 'reads'].map(name => `${name}_total`)
    const names = [...totals, 'waiting_bytes', 'tail_bytes', 'followed']
    assert.deepEqual(before, Object.fromEntries(names.map(name => [name, 0])))
    for (const payload of ['1', '2', '3']) await server.append('chat', payload)
    for (const payload of ['1', '2']) await server.append('few', payload)
    const { top } = await server.read('chat', { from: 'newest', entries: 1, bytes: 1 })
    await Promise.all([Peer.open(server.url), Peer.open(server.url)])
    await until(() => server.clients.size === 2)
    const [ann, bob] = [...server.clients.values()]
    await ann!.join('chat', { after: { ...top, offset: 2 } })
    await bob!.join('chat', { after: { ...top, offset: 0 } })
    const { reads_total: reads, tail_bytes: tail, ...others } = await numbers()
    assert.deepEqual(others, {
      appended_total: 4,
      refused_total: 1,
      unsent_total: 0,
      recovered_total: 1,
      healed_total: 0,
      'lost_total{reason="trimmed"}': 1,
      waiting_bytes: 0,
      followed: 1,
    })
    assert.ok(reads! >= 2 && tail! >= 0, `${reads} reads, ${tail} bytes`)
  })
  it('/metrics has gauges of presence', async t => {
    const { server, get } = await withHealth(t, { filters: ['health', 'presence'], presenceTopics: ['room/*'] })
    await Peer.open(server.url)
    await until(() => server.clients.size === 1)
    const [ann] = [...server.clients.values()]
    for (const topic of ['room/1', 'room/2', 'other']) ann!.join(topic)
    const samples = samplesOf((await get('/metrics')).body)
    assert.equal(samples.get('fws_presence_topics'), 2)
    assert.equal(samples.get('fws_presence_members'), 2)
    assert.ok(samples.get('fws_presence_waiting')! <= 2)
  })
  it('without kept topics /metrics has no gauges of them', async t => {
    const { get } = await withHealth(t)
    const { body } = await get('/metrics')
    assert.ok(body.includes('fws_streams_appended_total 0') && !body.includes('fws_streams_waiting_bytes'))
  })
  it('reports the delay of a blocked event loop', async t => {
    const { get } = await withHealth(t)
    await get('/metrics')
    await new Promise(resolve => setTimeout(resolve, 50))
    const until = Date.now() + 200
    while (Date.now() < until);
    await new Promise(resolve => setTimeout(resolve, 50))
    const lag = samplesOf((await get('/metrics')).body).get('fws_event_loop_lag_seconds')!
    assert.ok(lag > 0.15 && lag < 5, String(lag))
  })
  it('two servers in a process report separate metrics', async t => {
    const [one, two] = [await withHealth(t), await withHealth(t)]
    await Peer.open(one.server.url)
    const clients = async ({ get }: typeof one) => samplesOf((await get('/metrics')).body).get('fws_clients')
    assert.deepEqual([await clients(one), await clients(two)], [1, 0])
  })
  it('/top has totals, times of the handlers since the first look, and the slowest clients', async t => {
    const quick: FilterModule = { message: [() => undefined, p => (p === 'drop' ? DROP : undefined)] }
    const { server, get } = await withHealth(t, { filters: ['health', quick, 'broadcast'], maxBuffered: 2 ** 30 })
    const [ann, bob] = [await Peer.open(server.url), await Peer.open(server.url)]
    ann.send('unseen')
    await bob.get(1)
    const sample = async () => JSON.parse((await get('/top')).body) as Sample
    const before = await sample()
    for (const text of ['a', 'drop', 'b']) ann.send(text)
    await bob.get(3)
    const [, slow] = [...server.clients.values()] as [Client, Client]
    slow.identity = 'bob'
    bob.ws.pause()
    // More than the system takes for a peer that does not read.
    slow.send(Buffer.alloc(2 ** 25))
    const after = await sample()
    assert.deepEqual([before.version, after.version, after.since], [1, 1, before.since])
    assert.ok(after.uptime > before.uptime && after.cpu > before.cpu && after.memory > 1e7)
    assert.deepEqual([before.counters.messages, after.counters.messages, after.clients], [1, 4, 2])
    assert.deepEqual(after.checks, { listening: true, accepting: true, ...STORAGE })
    const message = ({ handlers }: Sample) =>
      handlers
        .filter(({ chain }) => chain === 'message')
        .map(({ order, calls, dropped, timed }) => [order, calls, dropped, timed])
    assert.deepEqual(message(before), [
      [1, 2, 0, 0],
      [2, 1, 0, 0],
    ])
    assert.deepEqual(message(after), [
      [1, 8, 1, 6],
      [2, 3, 0, 2],
    ])
    assert.ok(after.handlers.every(({ timed, nanoseconds }) => timed === 0 || nanoseconds > 0))
    assert.deepEqual(before.slowest, [])
    assert.deepEqual(
      after.slowest.map(({ unsent, ...client }) => client),
      [{ id: slow.id, remote: '127.0.0.1', identity: 'bob' }],
    )
  })
  it('/top measures calls for 10 seconds, longer while it is asked for', t => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    let observers = 0
    const observe = () => {
      observers++
      return () => observers--
    }
    const timings = new Timings({ observe } as unknown as RunningServer)
    timings.watch()
    t.mock.timers.tick(9999)
    assert.equal(observers, 1)
    timings.watch()
    t.mock.timers.tick(9999)
    assert.equal(observers, 1)
    t.mock.timers.tick(1)
    assert.equal(observers, 0)
    timings.watch()
    timings.stop()
    timings.stop()
    assert.equal(observers, 0)
  })
  it('/top has the 10 slowest clients, the slowest first', async () => {
    const unsent = [5, 0, 40, 7, 1, 40, 3, 12, 9, 8, 2, 6, 4]
    const clients = new Map(unsent.map((buffered, i) => [i, { id: `c${i}`, remote: 'r', buffered }]))
    const { server } = await testServer([])
    const sampler = new Sampler(
      new Proxy(server, { get: (its, name) => (name === 'clients' ? clients : Reflect.get(its, name, its)) }),
    )
    const { slowest } = await sampler.sample()
    sampler.stop()
    assert.deepEqual(
      slowest.map(({ unsent }) => unsent),
      [40, 40, 12, 9, 8, 7, 6, 5, 4, 3],
    )
  })
  it('/top and /trace answer programs of this machine only', async t => {
    const { url, server } = await withHealth(t, { healthHost: '0.0.0.0' })
    const { port } = new URL(url)
    const local = async (path: string, fields: string) => {
      const head = `GET ${path} HTTP/1.1\r\nConnection: close\r\n${fields}\r\n\r\n`
      return (await ask(url.replace('0.0.0.0', '127.0.0.1'), head)).status
    }
    const [address] = Object.values(networkInterfaces())
      .flat()
      .filter(its => its!.family === 'IPv4' && !its!.internal)
    for (const path of ['/top', '/trace?seconds=1']) {
      assert.equal(await local(path, `Host: localhost:${port}`), 200)
      assert.equal(await local(path, 'Host: evil.example'), 403)
      assert.equal(await local(path, 'Host: localhost\r\nSec-Fetch-Site: cross-site'), 403)
      assert.equal(await local(path, 'Host: localhost\r\nSec-Fetch-Site: same-site'), 403)
      if (address === undefined) continue
      const { status, body } = await httpGet(`http://${address.address}:${port}${path}`)
      assert.deepEqual([status, body], [403, 'only for this machine; use a tunnel, such as ssh -L\n'])
    }
    assert.equal(server.counters.refusals[403], address === undefined ? 6 : 8)
  })
  it('refuses other paths and methods', async t => {
    const { get } = await withHealth(t)
    assert.equal((await get('/')).status, 404)
    assert.equal((await get('/readyz', { method: 'POST' })).status, 405)
    assert.equal((await get('/readyz?full')).status, 200)
  })
  it('on loopback serves only loopback Hosts, on other addresses any Host', async t => {
    const { get } = await withHealth(t)
    for (const host of ['evil.example', 'evil.example:9001', 'localhost.evil.example']) {
      assert.equal((await get('/metrics', { host })).status, 403, host)
    }
    for (const host of ['localhost', 'LOCALHOST', 'localhost.', 'localhost:1', '127.0.0.1:9001', '[::1]:9001']) {
      assert.equal((await get('/healthz', { host })).status, 200, host)
    }
    const open = await withHealth(t, { healthHost: '0.0.0.0' })
    const { port } = new URL(open.url)
    assert.match(open.url, /^http:\/\/0\.0\.0\.0:/)
    const answer = await new Promise(resolve =>
      request({ port, host: '127.0.0.1', path: '/healthz', headers: { host: 'pod.cluster.local' } }, res =>
        resolve(res.statusCode),
      ).end(),
    )
    assert.equal(answer, 200)
  })
  it('refuses an invalid Host with 400, and counts it', async t => {
    const { get, server } = await withHealth(t)
    const hosts = [
      'localhost/evil',
      'localhost?x',
      'localhost#x',
      'user@localhost',
      'localhost%2fevil',
      '127.1',
      '0x7f.1',
      'localhost:99999',
      '[::1',
    ]
    for (const host of hosts) {
      const { status, body } = await get('/metrics', { host })
      assert.deepEqual([status, body], [400, 'bad Host header\n'], host)
    }
    assert.equal((await get('/metrics', { host: 'evil.example' })).status, 403)
    assert.deepEqual({ ...server.counters.refusals }, { 400: hosts.length, 403: 1 })
    for (const host of ['[0:0:0:0:0:0:0:1]:9001', '[::ffff:127.0.0.1]', 'app.localhost', '127.8.9.1'])
      assert.equal((await get('/healthz', { host })).status, 200, host)
  })
  it('answers a target in absolute form that names its Host', async t => {
    const { url } = await withHealth(t)
    for (const [target, status] of [
      ['http://localhost/healthz?x', 200],
      ['http://LOCALHOST:80/healthz', 200],
      ['http://localhost', 404],
      ['http://evil.example/healthz', 400],
    ] as const)
      assert.equal(
        (await ask(url, `GET ${target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`)).status,
        status,
        target,
      )
  })
  it('closes the connection after the response to a request with a body', async t => {
    const { url } = await withHealth(t)
    for (const fields of ['Content-Length: 9', 'Transfer-Encoding: chunked', 'Expect: 100-continue']) {
      const { answer } = await raw(url, `GET /healthz HTTP/1.1\r\nHost: localhost\r\n${fields}\r\n\r\n`)
      assert.match(await answer(), /HTTP\/1\.1 200 .*^connection: close\r$/ims)
    }
  })
  it('a port in use fails the start and leaves no server running', async t => {
    const taken = createTcp().listen(0, '127.0.0.1')
    await new Promise(resolve => taken.once('listening', resolve))
    t.after(() => void taken.close())
    const { port } = taken.address() as { port: number }
    let server: RunningServer | undefined
    await assert.rejects(
      async () => {
        server = await createServer({ port: 0, logLevel: 'silent', filters: ['health'], healthPort: port })
      },
      {
        code: 'ERR_START',
        message: new RegExp(
          `^start of filter health .* failed: cannot listen on 127\\.0\\.0\\.1:${port}: the port is taken; choose another with --health-port$`,
        ),
      },
    )
    assert.equal(server, undefined)
  })
})
