import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { describe, it, type TestContext } from 'node:test'
import { createServer, DROP, type FilterModule, type ServerOptions } from '../../../src/index.ts'
import { collectedLog } from '../../support/log.ts'
import { Peer, until } from '../../support/peer.ts'
import { SECRET, sign } from '../../support/tokens.ts'

async function withHealth(t: TestContext, options: ServerOptions = {}) {
  const { log, logged } = collectedLog()
  const server = await createServer({ port: 0, healthPort: 0, filters: ['health', 'echo'], log, ...options })
  t.after(() => server.close())
  return { server, health: String(logged.find(({ msg }) => msg === 'health answers')!.url) }
}

interface Line {
  readonly at: number
  readonly us: number
  readonly [field: string]: unknown
}

/** Begins a trace; `lines` reads it to its end, without the times. */
async function trace(t: TestContext, health: string, query = '', method = 'GET') {
  const req = request(`${health}/trace${query}`, { method, agent: false }).on('error', () => {})
  t.after(() => void req.destroy())
  req.end()
  const [res] = (await once(req, 'response')) as [IncomingMessage]
  const lines = async () => {
    const parsed = (await text(res))
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line) as Line)
    for (const { at, us } of parsed.slice(0, -1)) assert.ok(Math.abs(at - Date.now()) < 60_000 && us >= 0 && us < 1e7)
    return parsed.map(({ at, us, ...line }) => line)
  }
  return { res, status: res.statusCode, type: res.headers['content-type'], lines, end: () => req.destroy() }
}

/** The connected client of a server with one. */
async function onlyClient(server: { readonly clients: ReadonlyMap<string, unknown> }): Promise<string> {
  await until(() => server.clients.size === 1)
  return [...server.clients.keys()][0]!
}

const shout: FilterModule = { message: async p => String(p).toUpperCase() }
const picky: FilterModule = { message: p => (p === 'NO' ? DROP : undefined) }
const broken: FilterModule = {
  message: p => {
    if (p === 'BAD') throw new Error('bad')
  },
}

describe('/trace', () => {
  it('has the calls of one client, in order, with verdict and payloads', async t => {
    const filters: ServerOptions['filters'] = ['health', shout, picky, broken, 'echo']
    const { server, health } = await withHealth(t, { filters, healthPayloads: true })
    const ann = await Peer.open(server.url)
    const client = await onlyClient(server)
    const bob = await Peer.open(server.url)
    const { status, type, lines } = await trace(t, health, `?client=${client}&lines=9`)
    assert.deepEqual([status, type], [200, 'application/x-ndjson'])
    bob.send('unseen')
    for (const payload of ['hi', 'no', 'bad']) ann.send(payload)
    const call = (place: number, verdict: string, data: string, after?: string) => ({
      client,
      chain: 'message',
      filter: server.handlers.find(({ order }) => order === place - 1)!.filter,
      place,
      verdict,
      before: { bytes: data.length, data },
      ...(after !== undefined && { after: { bytes: after.length, data: after } }),
    })
    assert.deepEqual(await lines(), [
      call(2, 'rewrite', 'hi', 'HI'),
      call(3, 'pass', 'HI'),
      call(4, 'pass', 'HI'),
      call(5, 'pass', 'HI'),
      call(2, 'rewrite', 'no', 'NO'),
      call(3, 'drop', 'NO'),
      call(2, 'rewrite', 'bad', 'BAD'),
      call(3, 'pass', 'BAD'),
      call(4, 'fail', 'BAD'),
      { end: 'lines', lines: 9 },
    ])
  })

  it('shows sizes only, unless --health-payloads', async t => {
    const { server, health } = await withHealth(t)
    const ann = await Peer.open(server.url)
    const client = await onlyClient(server)
    const { lines } = await trace(t, health, `?client=${client}&lines=3`)
    for (const payload of ['häh', '', Buffer.from('abcd')]) ann.send(payload)
    assert.deepEqual(
      (await lines()).map(({ before }) => before),
      [{ bytes: 4 }, { bytes: 0 }, { bytes: 4 }, undefined],
    )
  })

  const shown: readonly (readonly [name: string, payload: string | Buffer, data: string | undefined])[] = [
    ['a token', '{"auth":"abc","n":1}', '{"auth":"[redacted]","n":1}'],
    ['a field of --health-redact', '{"IBAN":"DE1"}', '{"IBAN":"[redacted]"}'],
    ['a token at the cut', `${'x'.repeat(995)} token=secret`, `${'x'.repeat(995)} toke`],
    ['the start of a long text', 'x'.repeat(3000), 'x'.repeat(1000)],
    ['nothing of a very long text', 'x'.repeat(16_385), undefined],
    ['nothing of bytes', Buffer.from('secret'), undefined],
    ['a control character as a code', 'a\x1b[2J\x9b', 'a\x1b[2J\x9b'],
  ]
  it('with --health-payloads shows text, cut and without secrets', async t => {
    const { server, health } = await withHealth(t, { healthPayloads: true, healthRedact: ['iban'] })
    const ann = await Peer.open(server.url)
    const { res } = await trace(t, health, `?lines=${shown.length}`)
    for (const [, payload] of shown) ann.send(payload)
    const output = await text(res)
    assert.match(output, /^[\x20-\x7e\n]*$/)
    const lines = output
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line))
    for (const [i, [name, payload, data]] of shown.entries())
      assert.deepEqual(
        lines[i].before,
        { bytes: Buffer.byteLength(payload), ...(data !== undefined && { data }) },
        `shows ${name}`,
      )
  })

  it('never shows a token of filter jwt, in the first message, in a renewal, or as a whole message', async t => {
    const { server, health } = await withHealth(t, {
      filters: ['jwt', 'health', 'echo'],
      jwtSecret: SECRET,
      jwtFirstMessage: true,
      healthPayloads: true,
    })
    const { res } = await trace(t, health)
    let output = ''
    res.setEncoding('utf8').on('data', chunk => {
      output += chunk
    })
    const now = Math.floor(Date.now() / 1000)
    const tokens = [1, 2, 3].map(n => sign({ sub: 'ann', exp: now + 100 + n }))
    const ann = await Peer.open(server.url)
    ann.send(JSON.stringify({ auth: tokens[0] }))
    ann.send(JSON.stringify({ auth: tokens[1] }))
    ann.send(tokens[2]!)
    ann.send('end')
    await until(() => output.split('"data":"end"').length === 3)
    assert.deepEqual(
      [output.split('"data":"{\\"auth\\":\\"[redacted]\\"}"').length, output.split('"data":"[redacted]"').length],
      [3, 3],
      output,
    )
    for (const part of tokens.flatMap(token => token.split('.').slice(1))) assert.ok(!output.includes(part))
  })

  it('without a client has the calls of all chains, also of a client that connects', async t => {
    const seen = () => {}
    const all: FilterModule = {
      accept: seen,
      connect: seen,
      open: seen,
      message: seen,
      disconnect: seen,
      request: seen,
    }
    const { server, health } = await withHealth(t, { filters: ['health', all] })
    const { lines } = await trace(t, health, '?lines=7')
    const ann = await Peer.open(server.url)
    const client = await onlyClient(server)
    ann.send('hi')
    await until(() => server.counters.messages === 1)
    ann.ws.close()
    await until(() => server.counters.closed === 1)
    await once(request(server.url.replace('ws', 'http')).end(), 'response')
    assert.deepEqual(
      (await lines()).map(({ chain, client, before }) => [chain, client, before]),
      [
        ['accept', undefined, undefined],
        ['connect', client, undefined],
        ['open', client, undefined],
        ['message', client, { bytes: 2 }],
        ['disconnect', client, undefined],
        ['accept', undefined, undefined],
        ['request', undefined, undefined],
        [undefined, undefined, undefined],
      ],
    )
  })

  it('ends after its time, also without a call', async t => {
    const { health } = await withHealth(t)
    const { lines } = await trace(t, health, '?seconds=1')
    assert.deepEqual(await lines(), [{ end: 'seconds', lines: 0 }])
  })

  it('ends when the client has gone', async t => {
    const bye: FilterModule = { disconnect: () => {} }
    const { server, health } = await withHealth(t, { filters: ['health', bye] })
    const ann = await Peer.open(server.url)
    const { lines } = await trace(t, health, `?client=${await onlyClient(server)}`)
    ann.ws.close()
    assert.deepEqual(
      (await lines()).map(({ chain, end }) => chain ?? end),
      ['disconnect', 'client gone'],
    )
  })

  it('ends for a reader that is too slow, and closes its connection', async t => {
    const { server, health } = await withHealth(t, { filters: ['health', { message: p => p }], healthPayloads: true })
    const { port } = new URL(health)
    const reader = connect(Number(port), '127.0.0.1').on('error', () => {})
    t.after(() => void reader.destroy())
    reader.write('GET /trace?lines=10000 HTTP/1.1\r\nHost: localhost\r\n\r\n')
    await once(reader, 'readable')
    reader.pause()
    const ann = await Peer.open(server.url)
    for (let i = 0; i < 10_000; i++) ann.send('"'.repeat(1000))
    await until(() => server.counters.messages === 10_000, 'all messages')
    let output = ''
    reader.setEncoding('utf8').on('data', chunk => {
      output += chunk
    })
    await once(reader.resume(), 'close')
    assert.match(output, /\{"end":"slow reader","lines":\d+\}/)
  })

  it('ends when its reader breaks the connection while messages come', async t => {
    const { server, health } = await withHealth(t)
    const ann = await Peer.open(server.url)
    const { res, end } = await trace(t, health, '?lines=10000')
    res.once('data', () => end())
    for (let i = 0; i < 5000; i++) ann.send('hello')
    await ann.get(5000)
    assert.deepEqual(
      [server.counters.errors, server.handlers.find(({ chain }) => chain === 'message')!.calls],
      [0, 5000],
    )
  })

  it('costs nothing after its reader has gone', async t => {
    const { server, health } = await withHealth(t)
    for (let i = 0; i < 10; i++) {
      const { end, status } = await trace(t, health)
      assert.equal(status, 200)
      const rest = await Promise.all([1, 2, 3].map(() => trace(t, health)))
      assert.deepEqual(
        rest.map(({ status }) => status),
        [200, 200, 200],
      )
      const fifth = await trace(t, health)
      assert.deepEqual([fifth.status, await text(fifth.res)], [503, '4 traces run already\n'])
      end()
      for (const { end } of rest) end()
      await until(async () => (await trace(t, health, '?seconds=x')).status === 400)
      await until(async () => {
        const { end, status } = await trace(t, health)
        end()
        return status === 200
      })
    }
    assert.equal(server.clients.size, 0)
  })

  const refused: readonly (readonly [query: string, method: string, status: number, reason: string])[] = [
    ['?client=missing', 'GET', 404, 'no client has this id'],
    ['?clinet=x', 'GET', 400, 'unknown parameter; /trace takes client, seconds, lines'],
    ['?seconds=0', 'GET', 400, 'seconds is a whole number from 1 to 600'],
    ['?seconds=601', 'GET', 400, 'seconds is a whole number from 1 to 600'],
    ['?seconds=1e2', 'GET', 400, 'seconds is a whole number from 1 to 600'],
    ['?lines=', 'GET', 400, 'lines is a whole number from 1 to 10000'],
    ['?lines=10001', 'GET', 400, 'lines is a whole number from 1 to 10000'],
    ['', 'HEAD', 405, ''],
    ['', 'POST', 405, 'GET only'],
  ]
  it('refuses wrong parameters and other methods', async t => {
    const { health } = await withHealth(t)
    for (const [query, method, status, reason] of refused) {
      const answer = await trace(t, health, query, method)
      assert.deepEqual([answer.status, (await text(answer.res)).trimEnd()], [status, reason], `${method} ${query}`)
    }
  })
})
