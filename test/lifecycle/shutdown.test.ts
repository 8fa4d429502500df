import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { Agent, request as httpRequest } from 'node:http'
import { createServer as createTcp } from 'node:net'
import { join } from 'node:path'
import { Duplex } from 'node:stream'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { type Logger, pino } from 'pino'
import { type Closed, createServer, type FilterModule, type Payload } from '../../src/index.ts'
import { folder, launch } from '../support/cli.ts'
import { ask, CLOSE, closeFrame, frame, handshake, RawPeer, TEXT } from '../support/frames.ts'
import { gate as openGate } from '../support/gate.ts'
import { Peer, raw, serve, until } from '../support/peer.ts'
import { freePort } from '../support/port.ts'
import { root } from '../support/root.ts'

/** Seconds, half of a drain time that must not be used up; a shorter limit would fail on a loaded machine. */
const SOON = 15
/** Seconds, less than those after which Node closes an idle connection. */
const KEEP_ALIVE = 4.5
const GOING_AWAY = { code: 1001, reason: 'server is shutting down' }

/** A gate that opens at the end of the test at the latest, so that no filter waits for a deadline. */
function gate(t: TestContext) {
  const it = openGate()
  t.after(it.open)
  return it
}

async function seconds(work: Promise<unknown>): Promise<number> {
  const start = performance.now()
  await work
  return (performance.now() - start) / 1000
}

/** A storage that logs its open and close, and the log. */
function loggedStorage(t: TestContext): { storage: string; log: Logger; lines: string[] } {
  const files = {
    'storage.ts': `export const open = ({ log }) => {
      log.info('storage opened')
      return { close: () => log.info('storage closed') }
    }`,
  }
  const storage = join(folder(t, files), 'storage.ts')
  const lines: string[] = []
  const log = pino({ base: null }, { write: line => void lines.push(JSON.parse(line).msg) })
  return { storage, log, lines }
}

/** A filter that logs its start and stop. */
const lived = (name: string, lines: string[]): FilterModule => ({
  start: () => void lines.push(`${name} started`),
  stop: async () => void lines.push(`${name} stopped`),
})

describe('close()', () => {
  it('closes every client with 1001, and settles when all have left', async t => {
    const server = await serve(t, { filters: [], drain: 30 })
    const peers = [await Peer.open(server.url), await Peer.open(server.url)]
    await server.close()
    for (const peer of peers) assert.deepEqual(await peer.end(), GOING_AWAY)
    assert.equal(server.clients.size, 0)
    assert.deepEqual({ ...server.counters.closes }, { 1001: 2 })
  })

  it('finishes all work and delivers its messages before the 1001', async t => {
    const { opened, open } = gate(t)
    const server = await serve(t, {
      filters: [
        {
          message: async (payload, client) => {
            await opened
            client.send(`answer to ${payload}`)
          },
        },
      ],
      drain: 30,
    })
    const peer = await Peer.open(server.url)
    for (const text of ['one', 'two', 'three']) peer.send(text)
    await until(() => server.counters.messages === 3)
    const closing = server.close()
    assert.equal(peer.closed, undefined)
    open()
    assert.ok((await seconds(closing)) < SOON)
    assert.deepEqual(peer.received, ['answer to one', 'answer to two', 'answer to three'])
    assert.deepEqual(await peer.end(), GOING_AWAY)
  })

  it('waits for tasks besides the chains that clients must finish, but not for one that fails', async t => {
    const { opened, open } = gate(t)
    const server = await serve(t, {
      filters: [
        {
          open: client => {
            client.finish(() => opened.then(() => client.send('finished')))
            client.finish(() => {
              throw new Error('cannot finish')
            })
          },
        },
      ],
      drain: 30,
    })
    const peer = await Peer.open(server.url)
    await until(() => server.clients.size === 1)
    const closing = server.close()
    await new Promise(setImmediate)
    assert.equal(peer.closed, undefined)
    open()
    assert.ok((await seconds(closing)) < SOON)
    assert.deepEqual([await peer.end(), peer.received], [GOING_AWAY, ['finished']])
  })

  it('flushes the sends of the same turn, direct and broadcast, before the 1001', async t => {
    const server = await serve(t, { filters: [], drain: 30 })
    const peer = await Peer.open(server.url)
    const [client] = server.clients.values()
    client!.send('direct')
    server.broadcast('to all')
    client!.send(Buffer.alloc(1_000_000))
    await server.close()
    await peer.end()
    assert.deepEqual(peer.received, ['direct', 'to all', Buffer.alloc(1_000_000)])
    assert.deepEqual(peer.closed, GOING_AWAY)
  })

  it('handles the messages of a paused client too', async t => {
    const { opened, open } = gate(t)
    const seen: Payload[] = []
    const server = await serve(t, {
      filters: [
        {
          message: async payload => {
            await opened
            seen.push(payload)
          },
        },
      ],
      maxQueued: 4,
      drain: 30,
    })
    const peer = await Peer.open(server.url)
    for (let i = 0; i < 8; i++) peer.send(`${i}`)
    await until(() => server.counters.paused === 1)
    const received = server.counters.messages
    const closing = server.close()
    open()
    assert.ok((await seconds(closing)) < SOON)
    assert.deepEqual(await peer.end(), GOING_AWAY)
    assert.deepEqual(
      seen,
      Array.from({ length: received }, (_, i) => `${i}`),
    )
  })

  it('makes the server unready immediately', async t => {
    const server = await serve(t, { filters: [] })
    assert.equal(server.ready, true)
    const closing = server.close()
    assert.equal(server.ready, false)
    await closing
    assert.equal(server.ready, false)
  })

  it('refuses new connections immediately, and handshakes on open connections with 503', async t => {
    const { opened, open } = gate(t)
    const server = await serve(t, { filters: [{ message: () => opened }], drain: 10 })
    const peer = await Peer.open(server.url)
    peer.send('keeps the server busy')
    const early = await raw(server.url, handshake(server.url).slice(0, 20))
    await until(() => server.counters.messages === 1)
    const closing = server.close()
    await assert.rejects(Peer.open(server.url), { code: 'ECONNREFUSED' })
    early.socket.write(handshake(server.url).slice(20))
    assert.match(await early.answer(), /^HTTP\/1\.1 503 .*\r\nRetry-After: 1\r\n.*the server is shutting down\n$/s)
    open()
    await closing
    assert.equal(server.counters.opened, 1)
  })

  it('refuses with 503 a handshake whose connect filter is running', async t => {
    const { opened, open } = gate(t)
    let isAtWork = false
    const server = await serve(t, {
      filters: [
        {
          connect: () => {
            isAtWork = true
            return opened
          },
        },
      ],
      drain: 30,
    })
    const answer = ask(server.url, handshake(server.url))
    await until(() => isAtWork)
    const closing = server.close()
    open()
    assert.equal((await answer).status, 503)
    await closing
    assert.equal(server.counters.opened, 0)
  })

  it('closes the connection of a handshake whose connect filter never settles', async t => {
    const { opened } = gate(t)
    let isAtWork = false
    let signal: AbortSignal | undefined
    const server = await serve(t, {
      filters: [
        {
          connect: client => {
            signal = client.signal
            isAtWork = true
            return opened
          },
        },
      ],
      drain: 0.2,
      handshakeTimeout: 0,
    })
    const peer = await RawPeer.sendHandshake(server.url)
    t.after(() => void peer.socket.destroy())
    await until(() => isAtWork)
    await server.close()
    await until(() => peer.isClosed, 'the end of the connection')
    assert.equal(signal!.aborted, true)
  })

  it('waits for disconnect chains, then stops filters in reverse order', async t => {
    const lines: string[] = []
    const { opened, open } = gate(t)
    const server = await serve(t, {
      filters: [
        lived('first', lines),
        {
          disconnect: async () => {
            await opened
            lines.push('disconnect chain ran')
          },
        },
        lived('second', lines),
      ],
      drain: 30,
    })
    const peer = await Peer.open(server.url)
    const closing = server.close()
    await peer.end()
    assert.deepEqual(lines, ['first started', 'second started'])
    open()
    await closing
    assert.deepEqual(lines.slice(2), ['disconnect chain ran', 'second stopped', 'first stopped'])
  })

  it('closes the storage after the last filter stops', async t => {
    const { storage, log, lines } = loggedStorage(t)
    const server = await createServer({
      port: 0,
      filters: [lived('first', lines), lived('second', lines)],
      storage,
      log,
    })
    await server.close()
    assert.deepEqual(
      lines.filter(line => /opened|closed|started|stopped/.test(line)),
      [
        'storage opened',
        'first started',
        'second started',
        'second stopped',
        'first stopped',
        'storage closed',
        'stopped',
      ],
    )
  })

  it('continues when a filter fails to stop', async t => {
    const { storage, log, lines } = loggedStorage(t)
    const server = await createServer({
      port: 0,
      filters: [lived('first', lines), { stop: () => Promise.reject(new Error('no')) }, lived('third', lines)],
      storage,
      log,
    })
    await server.close()
    assert.deepEqual(
      lines.filter(line => /closed|stopped/.test(line)),
      ['third stopped', 'first stopped', 'storage closed', 'stopped'],
    )
  })

  it('continues when the error of a filter cannot be serialized', async t => {
    const { storage, log, lines } = loggedStorage(t)
    const nasty = {
      get message() {
        throw new Error('looked at')
      },
    }
    const filters = [lived('first', lines), { stop: () => Promise.reject(nasty) }]
    const server = await createServer({ port: 0, filters, storage, log })
    await server.close()
    assert.deepEqual(lines.slice(-4), [
      'stop of filter inline failed, with an error that cannot be shown',
      'first stopped',
      'storage closed',
      'stopped',
    ])
  })

  it('stops the filters and frees the port even if the drain fails', async t => {
    const { opened } = gate(t)
    const lines: string[] = []
    const write = (line: string) => {
      if (line.includes('drain time is over')) throw new Error('the log is full')
    }
    const filters = [{ message: () => opened, ...lived('filter', lines) }]
    const server = await createServer({ port: 0, drain: 0.05, filters, log: pino({}, { write }) })
    const peer = await Peer.open(server.url)
    peer.send('keeps the server busy')
    await until(() => server.counters.messages === 1)
    await assert.rejects(server.close(), /the log is full/)
    assert.deepEqual(lines, ['filter started', 'filter stopped'])
    await assert.rejects(Peer.open(server.url), { code: 'ECONNREFUSED' })
    await peer.end()
  })

  it('runs once if it is called twice', async t => {
    const lines: string[] = []
    const server = await serve(t, { filters: [lived('only', lines)] })
    const peer = await Peer.open(server.url)
    await Promise.all([server.close(), server.close()])
    await server.close()
    assert.deepEqual(lines, ['only started', 'only stopped'])
    assert.deepEqual(await peer.end(), GOING_AWAY)
  })

  it('frees the port', async t => {
    // Below the range from which the system gives ports to others.
    const port = await freePort()
    const server = await serve(t, { filters: [], port })
    await server.close()
    await serve(t, { filters: [], port })
  })
})

describe('the drain time', () => {
  it('ends with the termination of clients that do not answer', async t => {
    const closed: Closed[] = []
    const server = await serve(t, { filters: [{ disconnect: (_, how) => void closed.push(how) }], drain: 3 })
    const polite = await Peer.open(server.url)
    const rude = await RawPeer.open(server.url)
    const took = await seconds(server.close())
    assert.ok(took >= 2.9 && took < SOON, `${took} s`)
    assert.deepEqual(await polite.end(), GOING_AWAY)
    assert.equal(await rude.end(), 1001)
    assert.deepEqual(closed, [
      { ...GOING_AWAY, clean: true },
      { ...GOING_AWAY, clean: false },
    ])
  })

  it('is not used up when all clients have answered', async t => {
    const server = await serve(t, { filters: [], drain: 30 })
    await Peer.open(server.url)
    assert.ok((await seconds(server.close())) < SOON)
  })

  for (const [where, tap] of [
    ['', {}],
    [', behind a data filter', { data: () => {} }],
  ] as const) {
    it(`is not used up when a client is already closing${where}`, async t => {
      const closed: Closed[] = []
      const server = await serve(t, { filters: [tap, { disconnect: (_, how) => void closed.push(how) }], drain: 30 })
      const peer = await RawPeer.open(server.url)
      const [client] = server.clients.values()
      client!.disconnect(4000, 'out')
      const closing = server.close()
      await until(() => peer.closeCode === 4000)
      peer.send(closeFrame(4000, 'out'))
      const took = await seconds(closing)
      assert.ok(took < SOON, `${took} s`)
      assert.deepEqual(closed, [{ code: 4000, reason: 'out', clean: true }])
    })

    it(`is not used up when a client closes itself${where}`, async t => {
      const closed: Closed[] = []
      const server = await serve(t, { filters: [tap, { disconnect: (_, how) => void closed.push(how) }], drain: 30 })
      const peer = await RawPeer.open(server.url)
      peer.socket.allowHalfOpen = true
      peer.send(closeFrame(1000))
      await until(() => peer.closeCode === 1000)
      const closing = server.close()
      peer.socket.end()
      const took = await seconds(closing)
      assert.ok(took < SOON, `${took} s`)
      assert.deepEqual(closed, [{ code: 1000, reason: '', clean: true }])
    })
  }

  for (const chain of ['open', 'message', 'disconnect'] as const) {
    it(`bounds a ${chain} filter whose promise never settles`, async t => {
      const { opened } = gate(t)
      const lines: string[] = []
      const server = await serve(t, {
        filters: [lived('only', lines), { [chain]: () => opened }],
        drain: 0.2,
        filterTimeout: 0,
      })
      const peer = await Peer.open(server.url)
      peer.send('hello')
      await until(() => server.counters.messages === 1)
      const took = await seconds(server.close())
      assert.ok(took < SOON, `${took} s`)
      assert.deepEqual(lines, ['only started', 'only stopped'])
      await peer.end()
    })
  }

  for (const chain of ['start', 'setup'] as const) {
    it(`does not matter for a ${chain} handler that never settles: filter-timeout fails the start`, async t => {
      const { opened } = gate(t)
      await assert.rejects(
        createServer({ port: 0, logLevel: 'silent', filters: [{ [chain]: () => opened }], filterTimeout: 0.05 }),
        new RegExp(`^FwsError: ${chain} of filter inline .* failed: ${chain} did not settle within 0.05 s$`),
      )
    })
  }

  it('bounds a filter whose stop never settles; the others are still stopped', async t => {
    const { opened } = gate(t)
    const lines: string[] = []
    const server = await serve(t, { filters: [lived('first', lines), { stop: () => opened }], drain: 0.1 })
    const took = await seconds(server.close())
    assert.ok(took < SOON, `${took} s`)
    assert.deepEqual(lines, ['first started', 'first stopped'])
  })
})

describe('a process with only its server, and a filter that never settles', () => {
  /** Its output until it exits, and its exit code. */
  async function run(t: TestContext, filterTimeout: number): Promise<{ printed: string; code: number | null }> {
    const script = `
      import { createServer } from ${JSON.stringify(pathToFileURL(join(root, 'src/index.ts')).href)}
      import { WebSocket } from 'ws'
      const filter = { message: () => new Promise(() => {}), stop: () => console.log('filter stopped') }
      const server = await createServer({
        port: 0, logLevel: 'silent', filters: [filter], drain: 0.1, filterTimeout: ${filterTimeout},
      })
      const ws = new WebSocket(server.url)
      ws.onopen = () => ws.send('hello')
      while (server.counters.messages === 0) await new Promise(setImmediate)
      await server.close()
      console.log('closed')`
    const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    t.after(() => void child.kill('SIGKILL'))
    let printed = ''
    child.stdout.on('data', chunk => {
      printed += chunk
    })
    await until(() => printed.includes('closed') || child.exitCode !== null, 'close() in the other process')
    await until(() => child.exitCode !== null, 'the end of the other process', 15_000)
    return { printed, code: child.exitCode }
  }

  it('does not exit before close() is done', async t => {
    assert.deepEqual(await run(t, 0), { printed: 'filter stopped\nclosed\n', code: 0 })
  })

  it('exits when close() is done, not at the deadline of the filter', async t => {
    assert.deepEqual(await run(t, 30), { printed: 'filter stopped\nclosed\n', code: 0 })
  })
})

describe('many clients', () => {
  it('are closed in batches with pauses between them', async t => {
    const COUNT = 1000
    const BATCH = 200
    const server = await serve(t, { filters: [], drain: 10 })
    const peers: Peer[] = []
    for (let i = 0; i < COUNT / 100; i++) {
      peers.push(...(await Promise.all(Array.from({ length: 100 }, () => Peer.open(server.url)))))
    }
    await until(() => server.clients.size === COUNT)
    const stages: number[] = []
    let isClosed = false
    const watch = async () => {
      while (!isClosed) {
        // Closed clients are in no audience.
        let untold = 0
        server.broadcast('', {
          where: () => {
            untold++
            return false
          },
        })
        if (stages.at(-1) !== untold) stages.push(untold)
        await sleep(2)
      }
    }
    const watching = watch()
    const start = performance.now()
    await server.close()
    isClosed = true
    await watching
    assert.deepEqual(
      stages.filter(untold => untold < COUNT),
      [800, 600, 400, 200, 0],
    )
    // At least four pauses of 50 ms.
    assert.ok(performance.now() - start >= ((COUNT / BATCH - 1) * 50) / 1.1)
    for (const peer of peers) assert.deepEqual(await peer.end(), GOING_AWAY)
  })
})

describe('plain HTTP and close()', () => {
  it('do not wait for pipelined requests whose connection has gone', async t => {
    let requests = 0
    const never = {
      request: () => {
        requests++
        return new Promise<void>(() => {})
      },
    }
    const server = await serve(t, { filters: [never], drain: 30 })
    const { socket } = await raw(server.url, 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(20))
    await until(() => requests > 1)
    socket.resetAndDestroy()
    assert.ok((await seconds(server.close())) < SOON)
  })

  const page: FilterModule = { request: (_, res) => void res.end('page') }

  it('do not wait for keep-alive connections', async t => {
    const server = await serve(t, { filters: [page], drain: 30 })
    const agent = new Agent({ keepAlive: true })
    t.after(() => agent.destroy())
    const request = httpRequest(server.url.replace('ws', 'http'), { agent })
    request.end()
    const [response] = await once(request, 'response')
    response.resume()
    await once(response, 'end')
    assert.ok((await seconds(server.close())) < KEEP_ALIVE)
  })

  it('do not wait for connections that have sent nothing, or half a request', async t => {
    const server = await serve(t, { filters: [page], drain: 30, handshakeTimeout: 0 })
    const silent = await raw(server.url, '')
    const half = await raw(server.url, 'GET / HTTP/1.1\r\nHos')
    await ask(server.url, 'GET / HTTP/1.0\r\nHost: localhost\r\n\r\n')
    assert.ok((await seconds(server.close())) < SOON)
    await Promise.all([silent.answer(), half.answer()])
  })

  it('wait for the response to a request', async t => {
    let isAtWork = false
    const server = await serve(t, {
      filters: [
        {
          request: async (_, res) => {
            isAtWork = true
            await sleep(100)
            res.end('page')
          },
        },
      ],
      drain: 30,
    })
    const answer = ask(server.url, 'GET / HTTP/1.0\r\nHost: localhost\r\n\r\n')
    await until(() => isAtWork)
    const took = await seconds(server.close())
    assert.equal((await answer).body, 'page')
    assert.ok(took < SOON, `${took} s`)
  })

  it('do not wait longer than the drain time for a request filter that never settles', async t => {
    const { opened } = gate(t)
    let isAtWork = false
    const server = await serve(t, {
      filters: [
        {
          request: () => {
            isAtWork = true
            return opened
          },
        },
      ],
      drain: 0.2,
    })
    const { answer } = await raw(server.url, 'GET / HTTP/1.0\r\nHost: localhost\r\n\r\n')
    await until(() => isAtWork)
    assert.ok((await seconds(server.close())) < SOON)
    assert.equal(await answer(), '')
  })
})

describe('a start that fails', () => {
  it('stops what has started in reverse order, then closes the storage', async t => {
    const { storage, log, lines } = loggedStorage(t)
    const failing: FilterModule = { ...lived('second', lines), start: () => Promise.reject(new Error('no luck')) }
    await assert.rejects(
      createServer({ port: 0, filters: [lived('first', lines), failing, lived('third', lines)], storage, log }),
      /^FwsError: start of filter inline \(.*\) failed: no luck$/,
    )
    assert.deepEqual(lines, ['storage opened', 'first started', 'second stopped', 'first stopped', 'storage closed'])
  })

  it('stops every filter whose setup ran, even if its start was not called', async t => {
    const { storage, log, lines } = loggedStorage(t)
    const setUp = (name: string): FilterModule => ({
      setup: ({ every }) => {
        lines.push(`${name} set up`)
        every(1, () => void (lines.includes(`${name} stopped`) && lines.push(`${name} ticks`)))
        return { stop: () => void lines.push(`${name} stopped`) }
      },
    })
    const failing: FilterModule = { start: () => Promise.reject(new Error('no luck')) }
    const filters = [setUp('first'), failing, setUp('last'), lived('never tried', lines)]
    await assert.rejects(createServer({ port: 0, filters, storage, log }), { code: 'ERR_START' })
    assert.deepEqual(lines, [
      'storage opened',
      'first set up',
      'last set up',
      'last stopped',
      'first stopped',
      'storage closed',
    ])
  })

  it('because of TLS stops every filter whose setup ran', async t => {
    const { storage, log, lines } = loggedStorage(t)
    const filters: FilterModule[] = [{ setup: () => ({ stop: () => void lines.push('stopped') }) }]
    const tls = { key: 'nope.pem', cert: 'nope.pem' }
    await assert.rejects(createServer({ port: 0, filters, storage, log, ...tls }), { code: 'ERR_OPTION' })
    assert.deepEqual(lines, ['storage opened', 'stopped', 'storage closed'])
  })

  it('because the port is in use reports that, and stops everything', async t => {
    const { storage, log, lines } = loggedStorage(t)
    const taken = createTcp().listen(0, '127.0.0.1')
    t.after(() => taken.close())
    await once(taken, 'listening')
    const { port } = taken.address() as { port: number }
    await assert.rejects(createServer({ port, filters: [lived('only', lines)], storage, log }), {
      code: 'ERR_LISTEN',
      message: `cannot listen on 127.0.0.1:${port}: the port is taken; choose another with --port`,
    })
    assert.deepEqual(lines, ['storage opened', 'only started', 'only stopped', 'storage closed'])
  })

  it('in setup stops the filters whose setup ran before, even if one fails to stop', async t => {
    const { storage, log, lines } = loggedStorage(t)
    const filters: FilterModule[] = [
      { setup: () => ({ stop: () => void lines.push('first stopped') }) },
      { setup: () => ({ stop: () => Promise.reject(new Error('no')) }) },
      { setup: () => Promise.reject(new Error('no luck')), stop: () => void lines.push('its own cleaning up') },
      { setup: () => void lines.push('never set up') },
    ]
    await assert.rejects(createServer({ port: 0, filters, storage, log }), { code: 'ERR_FILTER' })
    assert.deepEqual(lines, ['storage opened', 'stop of filter inline failed', 'first stopped', 'storage closed'])
  })

  it('in setup closes the storage', async t => {
    const { storage, log, lines } = loggedStorage(t)
    const setup = () => Promise.reject(new Error('no luck'))
    await assert.rejects(
      createServer({ port: 0, filters: [{ setup }], storage, log }),
      /^FwsError: setup of filter inline \(.*\) failed: no luck$/,
    )
    assert.deepEqual(lines, ['storage opened', 'storage closed'])
  })
})

describe('the disconnect chain', () => {
  const ways: readonly (readonly [how: string, leave: (peer: RawPeer, end: () => void) => unknown, closed: Closed])[] =
    [
      [
        'a Close of the client with code and reason',
        peer => peer.send(closeFrame(4321, 'bye')),
        { code: 4321, reason: 'bye', clean: true },
      ],
      [
        'a Close of the client without a code',
        peer => peer.send(frame(CLOSE)),
        { code: 1005, reason: '', clean: true },
      ],
      ['a reset', peer => peer.reset(), { code: 1006, reason: '', clean: false }],
      [
        'the end of the connection without a Close',
        peer => peer.socket.end(),
        { code: 1006, reason: '', clean: false },
      ],
      [
        'a disconnect of the server that the client answers',
        (peer, end) => {
          end()
          return peer.echoClose()
        },
        { code: 4000, reason: 'out', clean: true },
      ],
      [
        'a disconnect of the server that the client answers with a code of its own',
        async (peer, end) => {
          end()
          await until(() => peer.closeCode !== undefined)
          peer.send(closeFrame(1000, 'fine'))
        },
        { code: 4000, reason: 'out', clean: true },
      ],
      [
        'a disconnect of the server that meets a reset',
        async (peer, end) => {
          end()
          await until(() => peer.closeCode !== undefined)
          peer.reset()
        },
        { code: 4000, reason: 'out', clean: false },
      ],
      [
        'a protocol error',
        peer => peer.send(frame(TEXT, 'x', { masked: false })),
        { code: 1002, reason: '', clean: false },
      ],
      [
        'a message beyond max-payload',
        peer => peer.send(frame(TEXT, 'x'.repeat(2000))),
        { code: 1009, reason: '', clean: false },
      ],
    ]

  for (const [how, leave, expected] of ways) {
    for (const isBusy of [false, true]) {
      it(`runs exactly once after ${how}${isBusy ? ', when the earlier messages are handled' : ''}`, async t => {
        const { opened, open } = gate(t)
        const events: unknown[] = []
        const server = await serve(t, {
          filters: [
            {
              message: async () => {
                await opened
                events.push('message')
              },
              disconnect: (client, closed) => {
                assert.equal(client.signal.aborted, true)
                assert.equal(server.clients.has(client.id), false)
                events.push(closed)
              },
            },
          ],
          maxPayload: 1000,
        })
        const peer = await RawPeer.open(server.url)
        const [client] = server.clients.values()
        if (isBusy) {
          peer.send(frame(TEXT, 'work'))
          await until(() => server.counters.messages === 1)
        }
        const leaving = leave(peer, () => client!.disconnect(4000, 'out'))
        // The connection waits for the message, in the first of these ways for the 10 seconds of the close timeout.
        const waits = /without a|a protocol error|beyond max-payload/.test(how)
        if (waits) open()
        await leaving
        await until(() => server.counters.closed === 1)
        if (isBusy && !waits) assert.deepEqual(events, [])
        open()
        await until(() => events.length === (isBusy ? 2 : 1))
        // A second Close frame has no effect.
        client!.disconnect(4001, 'again')
        await server.close()
        assert.deepEqual(events, isBusy ? ['message', expected] : [expected])
        assert.deepEqual([server.counters.opened, server.counters.closed], [1, 1])
      })
    }
  }

  it('runs for every opened client when the server closes, and not for refused clients', async t => {
    const ids: string[] = []
    const server = await serve(t, {
      filters: [
        {
          connect: client => (client.handshake!.url.pathname === '/no' ? client.refuse(403) : undefined),
          disconnect: client => void ids.push(client.id),
        },
      ],
    })
    for (let i = 0; i < 5; i++) await Peer.open(server.url)
    await ask(server.url, handshake(server.url, {}, 'GET /no HTTP/1.1'))
    const opened = [...server.clients.keys()]
    await server.close()
    assert.deepEqual(ids.sort(), opened.sort())
  })

  it('goes on to the next filter when one throws or rejects', async t => {
    const ran: string[] = []
    const server = await serve(t, {
      filters: [
        {
          disconnect: [
            () => {
              throw new Error('no')
            },
            () => Promise.reject(new Error('no')),
            () => void ran.push('last'),
          ],
        },
      ],
    })
    const peer = await Peer.open(server.url)
    peer.ws.close()
    await until(() => ran.length > 0)
    assert.deepEqual([ran, server.counters.errors], [['last'], 2])
  })

  it('does not keep the server from closing by sending to its client', async t => {
    const server = await serve(t, {
      filters: [
        {
          disconnect: client => {
            client.send('nobody')
            client.disconnect()
            client.server.broadcast('bye')
          },
        },
      ],
    })
    const peer = await Peer.open(server.url)
    await server.close()
    assert.deepEqual(peer.received, [])
    assert.deepEqual({ ...server.counters.drops }, { 'closed client': 1 })
    assert.equal(server.counters.errors, 0)
  })
})

describe('a filter that stops its server', () => {
  it('drains it once, and its owner is notified by `closed`', async t => {
    const { log, lines } = loggedStorage(t)
    const filter: FilterModule = {
      message: (payload, client) => {
        client.server.stop(`${payload}`)
        client.server.stop('again')
        client.send('last')
      },
    }
    const server = await createServer({ port: 0, filters: [filter, lived('next', lines)], log })
    const peer = await Peer.open(server.url)
    peer.send('enough')
    await server.closed
    assert.deepEqual([await peer.end(), peer.received], [GOING_AWAY, ['last']])
    const stops = ['stopping: enough', 'next stopped', 'stopped']
    assert.deepEqual(
      lines.filter(line => stops.includes(line) || line.includes('again')),
      stops,
    )
    await server.close()
  })

  it('stops it once, also if a transport asks while it is closed', async t => {
    const { log, lines } = loggedStorage(t)
    const server = await createServer({ port: 0, filters: [lived('only', lines)], log })
    const attached = server.attach({
      name: 'line',
      remote: '',
      socket: new Duplex({ read() {}, write() {} }),
      frame: payload => Buffer.from(payload),
      pause() {},
      resume() {},
      close(code, reason) {
        server.stop('the line is closed')
        attached.closed(code, reason, true)
      },
      destroy: () => attached.closed(1006, '', false),
    })
    await until(() => server.clients.size === 1)
    await server.close()
    assert.deepEqual(
      lines.filter(line => line.includes('stop')),
      ['only stopped', 'stopped'],
    )
  })

  it('gives a reason', async t => {
    const server = await serve(t)
    assert.throws(() => server.stop(undefined as never), {
      code: 'ERR_STATE',
      message: 'stop() takes a reason, received undefined',
    })
  })

  it('may do so during its start', async t => {
    const { log, lines } = loggedStorage(t)
    const server = await createServer({ port: 0, filters: [{ start: started => started.stop('no work') }], log })
    await server.closed
    assert.ok(lines.includes('stopping: no work'))
  })

  it('makes the command exit with 0', async t => {
    const cwd = folder(t, { 'once.js': "export const message = (_, client) => client.server.stop('done')" })
    const server = await launch(t, ['-p', '0', '-f', './once.js'], { cwd })
    const peer = await Peer.open(server.url)
    peer.send('x')
    assert.equal((await peer.end()).code, 1001)
    assert.equal((await server.ended()).code, 0)
  })
})
