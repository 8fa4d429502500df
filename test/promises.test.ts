import assert from 'node:assert/strict'
import { createHook } from 'node:async_hooks'
import { once } from 'node:events'
import { readdirSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { PassThrough, Writable } from 'node:stream'
import { describe, it } from 'node:test'
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import { main } from '../src/cli.ts'
import type { Client } from '../src/contract/client.ts'
import type { FilterModule } from '../src/contract/filter.ts'
import type { Payload } from '../src/contract/payload.ts'
import type { ServerClient } from '../src/peer/client.ts'
import { testServer } from '../src/testing/index.ts'
import { folder, runModule, type Test } from './support/cli.ts'
import { gate } from './support/gate.ts'
import { collectedLog } from './support/log.ts'
import { Peer, raw, serve, until } from './support/peer.ts'
import { root } from './support/root.ts'
import { upgradeStatus } from './support/upgrade.ts'

/** A log that collects its lines. */
function logging() {
  const { log, logged: lines } = collectedLog()
  return { log, errors: () => lines.filter(({ level }) => level === 50) }
}

describe('promise 1: order', () => {
  it('messages of one connection are handled one after the other, however long a filter takes', async t => {
    const begun: string[] = []
    const done: string[] = []
    let underWay = 0
    const slow: FilterModule = {
      async message(payload) {
        assert.equal(++underWay, 1, 'two messages of one connection at a time')
        begun.push(String(payload))
        for (let n = Math.floor(Math.random() * 5); n > 0; n--) await turn()
        underWay--
      },
    }
    const server = await serve(t, { filters: [slow, { message: payload => void done.push(String(payload)) }, 'echo'] })
    const peer = await Peer.open(server.url)
    const sent = Array.from({ length: 300 }, (_, i) => `${i}`)
    for (const payload of sent) peer.send(payload)
    assert.deepEqual(await peer.get(sent.length), sent)
    assert.deepEqual([begun, done, server.counters.errors], [sent, sent, 0])
  })

  it('a connection with a slow filter does not delay others', async t => {
    const { opened, open } = gate()
    const server = await serve(t, {
      filters: [{ message: payload => (payload === 'wait' ? opened : undefined) }, 'echo'],
    })
    const [slow, quick] = [await Peer.open(server.url), await Peer.open(server.url)]
    slow.send('wait')
    slow.send('behind it')
    quick.send('hello')
    assert.deepEqual(await quick.get(1), ['hello'])
    assert.deepEqual(slow.received, [])
    open()
    assert.deepEqual(await slow.get(2), ['wait', 'behind it'])
  })

  it('messages that arrive while the open chain runs wait for it', async t => {
    const { opened, open } = gate()
    const order: string[] = []
    const server = await serve(t, {
      filters: [
        {
          async open() {
            await opened
            order.push('opened')
          },
          message: payload => void order.push(String(payload)),
        },
        'echo',
      ],
    })
    const peer = await Peer.open(server.url)
    peer.send('early')
    await until(() => server.counters.messages === 1, 'the message')
    assert.deepEqual(order, [])
    open()
    await peer.get(1)
    assert.deepEqual(order, ['opened', 'early'])
  })

  it('frames that arrive with the handshake wait for an async connect chain', async t => {
    const server = await serve(t, { filters: [{ connect: () => turn() }, 'echo'] })
    const peer = await Peer.open(server.url)
    peer.send('first')
    assert.deepEqual(await peer.get(1), ['first'])
  })

  it('messages of connect and open arrive before all others, in order', async t => {
    const server = await serve(t, {
      filters: [
        {
          async connect(client) {
            client.send('connect 1')
            await turn()
            client.send('connect 2')
          },
          open: client => client.send('open'),
        },
        { open: client => client.server.broadcast('broadcast in open') },
      ],
    })
    const peer = await Peer.open(server.url)
    assert.deepEqual(await peer.get(4), ['connect 1', 'connect 2', 'open', 'broadcast in open'])
  })

  it('direct sends and broadcasts arrive in order, until the close', async t => {
    const server = await serve(t, {
      filters: [
        {
          message(_, client) {
            for (let i = 0; i < 300; i += 3) {
              client.send(`${i}`)
              client.server.broadcast(`${i + 1}`)
              client.server.broadcast(`${i + 2}`, { where: () => true })
            }
            client.disconnect(4000)
          },
        },
      ],
    })
    const peer = await Peer.open(server.url)
    peer.send('go')
    assert.equal((await peer.end()).code, 4000)
    assert.deepEqual(
      peer.received,
      Array.from({ length: 300 }, (_, i) => `${i}`),
    )
  })
})

describe('promise 2: three outcomes, and errors', () => {
  it('a filter passes, rewrites or drops', async t => {
    const judge: FilterModule = {
      message: (payload, client) =>
        payload === 'drop' ? client.drop() : payload === 'rewrite' ? 'rewritten' : undefined,
    }
    const server = await serve(t, { filters: [judge, 'echo'] })
    const peer = await Peer.open(server.url)
    for (const payload of ['pass', 'rewrite', 'drop', 'end']) peer.send(payload)
    assert.deepEqual(await peer.get(3), ['pass', 'rewritten', 'end'])
    assert.equal(server.counters.errors, 0)
  })

  for (const [how, message] of [
    [
      'throws',
      () => {
        throw new Error('no')
      },
    ],
    ['rejects', () => Promise.reject(new Error('no'))],
    ['answers nonsense', () => 7 as never],
    ['answers nonsense late', () => Promise.resolve({ ok: true } as never)],
    ['never settles', () => new Promise<void>(() => {})],
  ] as const satisfies readonly (readonly [string, FilterModule['message']])[]) {
    it(`a guard that ${how} fails closed: the message is dropped, and the next one is checked again`, async t => {
      const { log, errors } = logging()
      const reached: Payload[] = []
      const guard: FilterModule = { stage: 'guard', message: payload => (payload === 'good' ? undefined : message()) }
      const server = await serve(t, {
        filters: [guard, { message: payload => void reached.push(payload) }, 'echo'],
        filterTimeout: 0.05,
        log,
      })
      const peer = await Peer.open(server.url)
      await until(() => server.clients.size === 1, 'the client')
      const [id] = server.clients.keys()
      for (const payload of ['bad', 'bad', 'good']) peer.send(payload)
      assert.deepEqual(await peer.get(1), ['good'])
      assert.deepEqual([reached, server.counters.errors], [['good'], 2])
      assert.deepEqual(
        errors().map(line => [line.filter, line.chain, line.id]),
        [
          ['inline', 'message', id],
          ['inline', 'message', id],
        ],
      )
    })

    it(`a connect filter that ${how} refuses with 500`, async t => {
      const { log, errors } = logging()
      const server = await serve(t, {
        filters: [{ connect: message as never, open: () => assert.fail('opened') }],
        filterTimeout: 0.05,
        log,
      })
      assert.equal(await upgradeStatus(server.url), 500)
      assert.deepEqual([server.counters.errors, server.counters.opened, server.counters.refusals[500]], [1, 0, 1])
      assert.equal(errors()[0]!.chain, 'connect')
    })

    it(`disconnect and consumer continue when a filter ${how}`, async t => {
      const reached: string[] = []
      const server = await serve(t, {
        filters: [
          { disconnect: message as never, consumer: message as never },
          { disconnect: () => void reached.push('disconnect'), consumer: () => void reached.push('consumer') },
        ],
        filterTimeout: 0.05,
      })
      const peer = await Peer.open(server.url)
      await server.publish('global', 'news')
      await until(() => reached.length === 1, 'the consumer chain')
      peer.ws.close()
      await until(() => reached.length === 2, 'the disconnect chain')
      assert.deepEqual([reached, server.counters.errors], [['consumer', 'disconnect'], 2])
    })
  }

  it('a late result is ignored', async t => {
    const { opened, open } = gate()
    const reached: Payload[] = []
    const server = await serve(t, {
      filters: [
        {
          async message(payload) {
            if (payload === 'late') await opened
          },
        },
        { message: payload => void reached.push(payload) },
        'echo',
      ],
      filterTimeout: 0.05,
    })
    const peer = await Peer.open(server.url)
    peer.send('late')
    peer.send('next')
    await peer.get(1)
    open()
    peer.send('last')
    assert.deepEqual(await peer.get(2), ['next', 'last'])
    assert.deepEqual(reached, ['next', 'last'])
  })

  it('no filter stops the server, whichever chain fails', async t => {
    const server = await serve(t, {
      filters: [
        {
          data(chunk) {
            if (chunk.includes('bad data')) throw new Error('data')
          },
          connect(client) {
            if (client.handshake!.url.pathname === '/connect') throw new Error('connect')
          },
          open(client) {
            if (client.handshake!.url.pathname === '/open') throw new Error('open')
          },
          message(payload) {
            if (payload === 'message') throw new Error('message')
          },
          request() {
            throw new Error('request')
          },
          consumer() {
            throw new Error('consumer')
          },
          disconnect() {
            throw new Error('disconnect')
          },
        },
        'echo',
      ],
    })
    const peer = await Peer.open(server.url)
    await (await raw(server.url, 'bad data')).answer()
    assert.equal(await upgradeStatus(`${server.url}/connect`), 500)
    assert.equal((await (await Peer.open(`${server.url}/open`)).end()).code, 1011)
    peer.send('message')
    const response = await fetch(server.url.replace('ws:', 'http:'))
    assert.deepEqual([response.status, await response.text()], [500, 'internal error\n'])
    await server.publish('global', 'x')
    await until(() => server.counters.errors === 7, `every error, counted ${server.counters.errors}`)
    peer.send('alive')
    assert.deepEqual(await peer.get(1), ['alive'])
  })

  it('an unawaited publish that fails does not end the process', async t => {
    const cwd = folder(t, {
      'down.mjs': `export const open = () => ({ bus: {
        publish: () => Promise.reject(new Error('connection lost')),
        subscribe: () => () => {},
      } })`,
    })
    const { code, stdout, stderr } = await runModule(`
      import { createServer } from './src/index.ts'
      import { Peer } from './test/support/peer.ts'
      const careless = { message(payload, client) { client.server.publish('news', payload) } }
      const server = await createServer({ port: 0, logLevel: 'silent', drain: 1,
        storage: ${JSON.stringify(join(cwd, 'down.mjs'))}, filters: [careless, 'echo'] })
      const peer = await Peer.open(server.url)
      for (const payload of ['one', 'two']) {
        peer.send(payload)
        await peer.get(peer.received.length + 1)
        await new Promise(resolve => setImmediate(resolve))
      }
      console.log('alive', ...peer.received)
      await server.close()
    `)
    assert.deepEqual([stdout, code], ['alive one two\n', 0], stderr)
  })
})

describe('promise 3: a filter pays for what it uses', () => {
  /** Promises and timers that are created while a function runs. */
  function born(work: () => void): string[] {
    const types: string[] = []
    const hook = createHook({ init: (_, type) => void types.push(type) }).enable()
    work()
    hook.disable()
    return types.filter(type => type === 'PROMISE' || type === 'Timeout' || type === 'Microtask')
  }

  it('messages through a synchronous chain create no promise and no timer', async t => {
    const seen: Payload[] = []
    const server = await testServer([
      { message: () => {} },
      { message: payload => `${payload}!` },
      { message: (payload, client) => (payload === 'x!' ? undefined : client.drop()) },
      { message: payload => void seen.push(payload) },
      'broadcast',
    ])
    t.after(() => server.stop())
    const client = (await server.connect()).client as ServerClient
    await server.connect()
    assert.deepEqual(
      born(() => {
        for (let i = 0; i < 50; i++) client.receive('x')
      }),
      [],
    )
    assert.equal(seen.length, 50)
    // A promise would look like this.
    assert.deepEqual(
      born(() => void Promise.resolve()),
      ['PROMISE'],
    )
  })

  it('a filter without a promise next to one with a promise creates none', async t => {
    const server = await testServer([{ message: payload => (payload === 'slow' ? Promise.resolve() : undefined) }])
    t.after(() => server.stop())
    const client = (await server.connect()).client as ServerClient
    assert.deepEqual(
      born(() => client.receive('quick')),
      [],
    )
    assert.ok(born(() => client.receive('slow')).length > 0)
  })

  it('an empty chain only counts messages', async t => {
    const server = await serve(t, { filters: [{ start: () => {} }] })
    const peer = await Peer.open(server.url)
    for (let i = 0; i < 1000; i++) peer.send('nobody listens')
    await until(() => server.counters.messages === 1000, 'all messages')
    const { bytesIn, errors, deliveries, paused, drops } = server.counters
    assert.deepEqual(
      { bytesIn, errors, deliveries, paused, drops: { ...drops } },
      { bytesIn: 14_000, errors: 0, deliveries: 0, paused: 0, drops: {} },
    )
  })
})

describe('promise 4: bounded', () => {
  it('a client that never reads is closed with 1013; its queue never exceeds four times the limit by more than one flush', async t => {
    const MAX = 65_536
    const codes: number[] = []
    const server = await serve(t, {
      filters: [{ disconnect: (_, { code }) => void codes.push(code) }],
      maxBuffered: MAX,
    })
    const { hostname, port, host } = new URL(server.url)
    const stuck = connect(Number(port), hostname)
    t.after(async () => void stuck.destroy())
    stuck.on('error', () => {})
    stuck.pause()
    stuck.write(
      `GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
        'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
    )
    await until(() => server.clients.size === 1, 'the client')
    const [client] = server.clients.values()
    const piece = Buffer.alloc(16_384)
    let most = 0
    for (let i = 0; server.counters.drops['slow client'] === undefined; i++) {
      assert.ok(i < 5000, 'still not closed')
      server.broadcast(piece)
      // A flush may wait for 5 ms under load; each flush must have one piece.
      await sleep(6)
      await turn()
      most = Math.max(most, client!.buffered)
    }
    assert.ok(most <= 4 * MAX + piece.length + 100, `${most} bytes waited`)
    assert.deepEqual(server.counters.drops, Object.assign(Object.create(null), { 'slow client': 1 }))
    stuck.destroy()
    await until(() => codes.length === 1, 'the disconnect chain')
    assert.deepEqual([codes, { ...server.counters.closes }], [[1013], { 1013: 1 }])
  })

  it('a client that never stops sending is paused; its queue holds the limit and one read', async t => {
    const { opened, open } = gate()
    let done = 0
    const server = await serve(t, {
      filters: [
        {
          async message(payload) {
            await opened
            if (payload.length > 5) done++
          },
        },
        { message: (payload, client) => (payload === 'ping' ? client.send('pong') : undefined) },
      ],
      maxQueued: 100,
    })
    const flood = await Peer.open(server.url)
    const SIZE = 100
    const COUNT = 50_000
    for (let i = 0; i < COUNT; i++) flood.send('x'.repeat(SIZE))
    await until(() => server.counters.paused === 1, 'the pause')
    const { messages } = server.counters
    const oneRead = 65_536 / (SIZE + 6)
    assert.ok(messages <= 1 + 100 + 2 * oneRead, `${messages} messages were taken`)
    // Others are served meanwhile, and this client is not read.
    const other = await Peer.open(server.url)
    open()
    other.send('ping')
    assert.deepEqual(await other.get(1), ['pong'])
    await until(() => done === COUNT, 'all messages')
    assert.ok(server.counters.paused > 10)
    assert.equal(server.counters.messages, COUNT + 1)
  })

  it('a paused client is not read while another one sends', async t => {
    const { opened, open } = gate()
    const server = await serve(t, {
      filters: [{ message: payload => (payload.length > 5 ? opened : undefined) }, 'echo'],
      maxQueued: 10,
    })
    const [flood, other] = [await Peer.open(server.url), await Peer.open(server.url)]
    for (let i = 0; i < 50_000; i++) flood.send('x'.repeat(100))
    await until(() => server.counters.paused === 1, 'the pause')
    // All bytes of one read have been parsed by now.
    for (let i = 0; i < 3; i++) await turn()
    const before = server.counters.messages
    for (let i = 1; i <= 20; i++) {
      other.send('ping')
      await other.get(i)
    }
    assert.equal(server.counters.messages, before + 20)
    open()
  })

  it('the queued bytes for a filter are limited too', async t => {
    const { opened, open } = gate()
    const server = await serve(t, { filters: [{ message: () => opened }], maxBuffered: 65_536, maxQueued: 10_000 })
    const flood = await Peer.open(server.url)
    for (let i = 0; i < 1000; i++) flood.send('x'.repeat(16_384))
    await until(() => server.counters.paused === 1, 'the pause')
    for (let i = 0; i < 3; i++) await turn()
    assert.ok(server.counters.messages <= 1 + 4 + 2 * 4 + 1, `${server.counters.messages} messages were taken`)
    open()
    await until(() => server.counters.messages === 1000, 'all messages')
  })

  it('events of a channel that arrive faster than consumers run are dropped and counted', async t => {
    const { opened, open } = gate()
    let seen = 0
    const server = await serve(t, {
      filters: [
        {
          async consumer() {
            await opened
            seen++
          },
        },
      ],
      maxQueued: 10,
    })
    for (let i = 0; i < 100; i++) await server.publish('global', 'x')
    assert.equal(server.counters.drops['consumer behind'], 89)
    open()
    await until(() => seen === 11, 'what was kept')
    await server.publish('global', 'x')
    await until(() => seen === 12, 'the next event')
    assert.equal(server.counters.events, 101)
  })

  it('more clients than --max-clients are refused with 503', async t => {
    const server = await serve(t, { filters: ['echo'], maxClients: 2 })
    const first = await Peer.open(server.url)
    await Peer.open(server.url)
    assert.equal(await upgradeStatus(server.url), 503)
    first.ws.close()
    await until(() => server.clients.size === 1, 'a free place')
    await Peer.open(server.url)
    assert.equal(server.counters.refusals[503], 1)
  })

  it('pending handshakes count as clients', async t => {
    const [entered, decided] = [gate(), gate()]
    const server = await serve(t, {
      filters: [
        {
          connect() {
            entered.open()
            return decided.opened
          },
        },
      ],
      maxClients: 1,
    })
    const connecting = Peer.open(server.url)
    await entered.opened
    assert.equal(await upgradeStatus(server.url), 503)
    decided.open()
    await connecting
    assert.deepEqual([server.clients.size, server.counters.opened], [1, 1])
  })

  it('messages for a stalled reader of standard output are dropped and counted', async t => {
    const stdout = new Writable({ write: () => {} })
    const server = await serve(t, { filters: ['stdout-messages', 'echo'], stdout })
    const peer = await Peer.open(server.url)
    const large = 'x'.repeat(100_000)
    for (let i = 1; i <= 20; i++) {
      peer.send(large)
      await peer.get(i)
    }
    assert.ok(server.counters.stdoutDropped > 900_000)
    assert.ok(stdout.writableLength <= 1_048_576)
  })
})

describe('promise 5: no global state', () => {
  it('two servers in one process do not share clients', async t => {
    const started: unknown[] = []
    const shared: FilterModule = {
      start: server => void started.push(server),
      open: client => client.join('room'),
      message(payload, client) {
        if (payload === 'publish') return client.server.publish('global', 'published') as Promise<void>
        client.server.broadcast(payload, { topic: 'room' })
      },
    }
    const filters = [shared, 'broadcast-by-token', 'broadcast-pubsub']
    const outputs = [new PassThrough(), new PassThrough()]
    const [one, two] = await Promise.all(
      outputs.map(stdout => serve(t, { filters: ['stdout-messages', ...filters], stdout })),
    )
    const [a, b, c] = [await Peer.open(one!.url), await Peer.open(one!.url), await Peer.open(two!.url)]
    a.send('token:blue')
    b.send('publish')
    await Promise.all([a.get(3), b.get(3)])
    c.send('token:blue')
    await c.get(2)
    assert.deepEqual(c.received, ['token:blue', 'Successfully registered with broadcast group: blue'])
    c.send('last')
    await c.get(3)
    for (const peer of [a, b]) assert.ok(!peer.received.includes('last'))

    assert.deepEqual([one!.clients.size, two!.clients.size, started.length], [2, 1, 2])
    assert.deepEqual([one!.counters.messages, two!.counters.messages], [2, 2])
    assert.match(String(outputs[0]!.read()), /=> publish\n/)
    assert.doesNotMatch(String(outputs[1]!.read()), /publish/)

    await one!.close()
    c.send('still here')
    await c.get(4)
    assert.deepEqual([one!.ready, two!.ready], [false, true])
  })

  it('a closed server leaves no listener on its output', async t => {
    const stdout = new PassThrough()
    const before = stdout.listenerCount('error')
    const server = await serve(t, { filters: ['stdout-messages'], stdout })
    await server.close()
    assert.equal(stdout.listenerCount('error'), before)
  })

  it('importing any file of src, filters and storage has no effect: no handle, output, listener or global', async () => {
    const files = ['src', 'filters', 'storage'].flatMap(folder =>
      readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
        .filter(file => file.endsWith('.ts'))
        .map(file => `./${folder}/${file}`),
    )
    assert.ok(files.length > 40)
    const { code, stdout, stderr } = await runModule(`
      const count = () => process.eventNames().map(name => [String(name), process.listenerCount(name)])
      const before = { globals: Object.getOwnPropertyNames(globalThis), listeners: count(), env: { ...process.env } }
      const changed = []
      for (const file of ${JSON.stringify(files)}) {
        const resources = process.getActiveResourcesInfo()
        await import(file)
        if (process.getActiveResourcesInfo().length > resources.length) changed.push([file, process.getActiveResourcesInfo()])
      }
      const after = { globals: Object.getOwnPropertyNames(globalThis), listeners: count(), env: { ...process.env } }
      if (JSON.stringify(after) !== JSON.stringify(before)) changed.push([before.listeners, after.listeners, after.globals.filter(name => !before.globals.includes(name))])
      if (changed.length > 0) console.log(JSON.stringify(changed))
      process.on('exit', code => { if (code !== 0) console.log('exit', code) })
    `)
    assert.deepEqual({ code, stdout, stderr }, { code: 0, stdout: '', stderr: '' })
  })
})

describe('promise 6: refuse at start', () => {
  /** The exit code of the command line, and its output. */
  async function refused(folder: string, argv: string[], env: Record<string, string> = {}): Promise<string> {
    let written = ''
    const stderr = new Writable({
      write(chunk, _encoding, done) {
        written += chunk
        done()
      },
    })
    const stdout = new Writable({
      write: chunk => assert.fail(`written to stdout: ${chunk}`),
    })
    const result = await main({ argv: ['-p', '0', ...argv], env, base: folder, stdout, stderr })
    if (typeof result !== 'number') {
      await result.close()
      assert.fail('it started')
    }
    assert.equal(result, 2)
    return written
  }

  const files: Record<string, string> = {
    'a.mjs': `export const options = { 'a-word': { type: 'string', describe: 'a' } }\nexport const open = () => {}`,
    'b.mjs': `export const options = { 'a-word': { type: 'string', describe: 'b' } }\nexport const open = () => {}`,
    'keeper.mjs': `export const needs = ['streams']\nexport const open = () => {}`,
    'small.mjs': 'export const open = () => ({ sets: {} })',
    'unknown.json': '{\n  "prot": 9000\n}',
    'broken.json': '{\n  "port": \n}',
  }

  for (const [what, argv, sentence] of [
    ['a wrong value', ['--max-clients', 'many'], '--max-clients takes a whole number of at least 1, received "many"'],
    ['an unknown flag', ['--prot', '9000'], 'unknown option --prot; did you mean --port?'],
    ['an unknown key', ['-c', 'unknown.json'], 'FOLDER/unknown.json:2:3: prot is not an option; did you mean "port"?'],
    ['JSON that does not parse', ['-c', 'broken.json'], 'FOLDER/broken.json:3:1: value expected'],
    [
      'a missing file',
      ['-c', 'none.json'],
      "cannot read config file FOLDER/none.json: ENOENT: no such file or directory, open 'FOLDER/none.json'",
    ],
    [
      'a missing capability',
      ['-f', './keeper', '--storage', './small'],
      '-f ./keeper needs a storage with "streams"; storage "small" has sets',
    ],
    [
      'a name that two filters claim',
      ['-f', './a', './b'],
      'option --a-word is claimed by filter a and by filter b; rename one of them',
    ],
    [
      'a guard out of order',
      ['-f', 'broadcast', 'rate-limit'],
      'rate-limit is a guard and must stand before broadcast: -f rate-limit broadcast',
    ],
    ['a key without a certificate', ['--key', 'key.pem'], '--key is given without --cert; TLS needs both'],
  ] as const) {
    it(`${what} is one clear sentence, and exit 2`, async t => {
      const cwd = folder(t, files)
      assert.equal((await refused(cwd, [...argv])).replaceAll(cwd, 'FOLDER'), `fws-server: ${sentence}\n`)
    })
  }

  it('a missing filter names the nearest one, and all places tried', async t => {
    const cwd = folder(t)
    const [first, ...rest] = (await refused(cwd, ['-f', 'brodcast'])).replaceAll(cwd, 'FOLDER').split('\n')
    assert.equal(first, 'fws-server: no filter "brodcast"; did you mean "broadcast"?')
    assert.match(rest.join('\n'), /^tried: built-in filters\n +package filtered-websocket-brodcast from FOLDER\n/)
  })
})

describe('promise 7: local operation continues', () => {
  /** A storage without a connection until a file exists. */
  function downStorage(t: Test): { path: string; comeBack(): void } {
    const cwd = folder(t)
    const path = join(cwd, 'down.mjs')
    writeFileSync(
      path,
      `import { existsSync } from 'node:fs'
      const lost = () => Promise.reject(new Error('connection lost'))
      export const open = () => ({
        channels: ['global'],
        ready: () => existsSync(${JSON.stringify(join(cwd, 'up'))}),
        bus: { publish: lost, subscribe: () => () => {} },
        sets: { get: lost, add: lost, remove: lost },
      })`,
    )
    return { path, comeBack: () => writeFileSync(join(cwd, 'up'), '') }
  }

  it('while the storage is down, clients of this node reach each other by broadcast, topic and direct send', async t => {
    const server = await serve(t, {
      storage: downStorage(t).path,
      filters: [
        { open: client => client.join('room') },
        {
          message(payload, client) {
            const { server: hub } = client
            if (payload === 'topic') return hub.broadcast('to the room', { topic: 'room' })
            if (payload === 'direct') for (const other of hub.clients.values()) other.send('directly')
          },
        },
        'broadcast',
        'broadcast-pubsub',
      ],
    })
    const [one, two] = [await Peer.open(server.url), await Peer.open(server.url)]
    await until(() => server.clients.size === 2, 'both')
    for (const payload of ['hello', 'topic', 'direct']) one.send(payload)
    assert.deepEqual(await one.get(2), ['to the room', 'directly'])
    assert.deepEqual(await two.get(5), ['hello', 'to the room', 'topic', 'directly', 'direct'])
    assert.equal(server.counters.errors, 0)
  })

  it('the server reports that it is not ready until the storage is back', async t => {
    const { path, comeBack } = downStorage(t)
    const server = await serve(t, { storage: path, filters: ['echo'] })
    assert.equal(server.ready, false)
    const peer = await Peer.open(server.url)
    comeBack()
    assert.equal(server.ready, true)
    peer.send('x')
    assert.deepEqual(await peer.get(1), ['x'])
  })

  it('a filter that needs the storage fails only for its message: reported, counted, and the client stays', async t => {
    const { log, errors } = logging()
    const server = await serve(t, {
      storage: downStorage(t).path,
      filters: [
        {
          message: (payload, client: Client) =>
            payload === 'publish' ? client.server.publish('x', payload) : undefined,
        },
        'broadcast-by-token',
      ],
      log,
    })
    const peer = await Peer.open(server.url)
    for (const payload of ['publish', 'token:blue', 'still here']) peer.send(payload)
    await until(() => errors().length === 2, 'both errors')
    assert.deepEqual(
      errors().map(line => [line.filter, (line.err as Error).message]),
      [
        ['inline', 'connection lost'],
        ['broadcast-by-token', 'connection lost'],
      ],
    )
    peer.ws.ping()
    await once(peer.ws, 'pong')
    assert.equal(server.counters.errors, 2)
  })
})
