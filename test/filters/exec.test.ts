import assert from 'node:assert/strict'
import { chmodSync, existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { ServerOptions } from '../../src/index.ts'
import { Refused } from '../../src/testing/index.ts'
import { folder, inside, launch, refusalInside, type Test } from '../support/cli.ts'
import { answering, execOf } from '../support/exec.ts'
import { isAlive } from '../support/is-alive.ts'
import { collectedLog } from '../support/log.ts'
import { Peer, serve, until } from '../support/peer.ts'
import { startTestServer } from '../support/test-server.ts'

/** Collects all events; the message \`events\` is answered with them. */
const COLLECT = `
const events = []
const answer = (id, data) => write(data === 'events' ? { id, data: JSON.stringify(events) } : { id })`

async function start(t: Test, filters: NonNullable<ServerOptions['filters']>, options: ServerOptions = {}) {
  const { log, logged } = collectedLog()
  const server = await serve(t, { log, filters, ...options })
  return { server, logged, peer: await Peer.open(server.url), messages: () => logged.map(({ msg }) => msg) }
}

describe('exec:', () => {
  it('asks the program for each message, text and binary, of all clients', async t => {
    const { server, peer } = await start(t, [
      answering(
        t,
        `(binary ? { binary: Buffer.from(binary, 'base64').reverse().toString('base64') } : { data: data + process.pid })`,
      ),
      'echo',
    ])
    const other = await Peer.open(server.url)
    peer.send('ä"\n')
    peer.send(Buffer.from([0, 1, 255]))
    other.send('')
    const [text, bytes] = await peer.get(2)
    const [empty] = await other.get(1)
    assert.deepEqual([text, bytes], [`ä"\n${empty}`, Buffer.from([255, 1, 0])])
  })

  for (const [verdict, received] of [
    [{}, ['x', 'end']],
    [{ pass: true }, ['x', 'end']],
    [{ data: 'y' }, ['y', 'end']],
    [{ binary: 'eQ==' }, [Buffer.from('y'), 'end']],
    [{ drop: 'spam' }, ['end']],
    [{ drop: true }, ['end']],
    [{ error: 'broken' }, ['end']],
    [{ data: 1 }, ['end']],
    [{ data: 'a', binary: 'eQ==' }, ['end']],
    [{ binary: '***' }, ['end']],
    [{ pass: false }, ['end']],
    [{ refuse: 401 }, ['end']],
    [{ identity: 'ann' }, ['end']],
    [{ dta: 'typo' }, ['end']],
    [{ reason: 'no' }, ['end']],
    [{ data: 'y', reason: 'no' }, ['end']],
  ] as const)
    it(`carries out the verdict ${JSON.stringify(verdict)}`, async t => {
      const server = await startTestServer(t, [answering(t, `(data === 'x' && ${JSON.stringify(verdict)})`), 'echo'])
      const ann = await server.connect()
      await ann.say('x')
      await ann.say('end')
      assert.deepEqual(ann.received, received)
    })

  it('reports errors and malformed verdicts with the filter and the client, and counts drops by reason', async t => {
    const verdicts = `{ e: { error: 'no\\x1b' }, m: { data: 7 }, k: { dta: 'x' }, d: { drop: 'spam' } }`
    const server = await startTestServer(t, [answering(t, `(${verdicts})[data]`), 'echo'])
    const ann = await server.connect()
    for (const payload of ['e', 'm', 'k', 'd']) await ann.say(payload)
    const errors = server.logged.filter(({ msg }) => String(msg).includes('failed'))
    assert.deepEqual(
      errors.map(({ msg, err }) => [msg, (err as Error).message]),
      [
        ['filter exec:node failed in its message handler', 'no\\x1b'],
        ['filter exec:node failed in its message handler', '"data" must be a string, received number'],
        [
          'filter exec:node failed in its message handler',
          'the program answered a question of message with {"id":3,"dta":"x"}',
        ],
      ],
    )
    assert.deepEqual({ ...server.server.counters.drops }, { spam: 1 })
  })

  it('sends the events that the program names in its answer to hello', async t => {
    const { server, peer } = await start(t, [
      execOf(
        t,
        `${COLLECT}
        const handle = event => {
          hello('connect', 'open', 'message', 'disconnect')(event)
          events.push({ ...event, client: undefined, remote: undefined })
          if (event.id) answer(event.id, event.data)
        }`,
        // The server waits longer for the answer of a guard.
        'exec-guard',
      ),
      'echo',
    ])
    const bob = await Peer.open(`${server.url}/room?a=1`)
    bob.ws.close(4000, 'bye')
    await bob.end()
    await until(() => server.clients.size === 1)
    peer.send('events')
    const [events] = await peer.get(1)
    assert.deepEqual(JSON.parse(String(events)), [
      { event: 'hello', version: 1 },
      { event: 'connect', id: 1, url: '/' },
      { event: 'open', url: '/' },
      { event: 'connect', id: 2, url: '/room?a=1' },
      { event: 'open', url: '/room?a=1' },
      { event: 'disconnect', code: 4000, reason: 'bye' },
      { event: 'message', id: 3, data: 'events' },
    ])
  })

  it('sends only messages to a program that does not answer hello', async t => {
    const code = `${COLLECT}; const handle = event => { events.push(event.event); if (event.id) answer(event.id, event.data) }`
    const { peer } = await start(t, [execOf(t, code), 'echo'])
    peer.send('events')
    assert.deepEqual(await peer.get(1), ['["hello","message"]'])
  })

  it('sends the open clients to a program that answers hello late', async t => {
    const code = `${COLLECT}
      const handle = event => {
        events.push([event.event, event.again])
        if (event.event === 'hello') setTimeout(() => write({ hello: 1, events: ['open', 'message'] }), 1200)
        if (event.id) answer(event.id, event.data)
      }`
    const { peer } = await start(t, [execOf(t, code), 'echo'])
    await until(() => {
      peer.send('events')
      return peer.received.some(text => String(text).includes('["open",true]'))
    })
  })

  it('asks at the handshake: the program refuses, or names the client', async t => {
    const code = `
      const handle = event => {
        hello('connect', 'open', 'message')(event)
        if (event.event === 'open') write({ do: 'send', client: event.client, data: event.identity })
        if (event.event !== 'connect') return
        const { id, headers, url } = event
        if (headers.authorization !== 'Bearer good') return write({ id, refuse: 401, reason: 'a token, please' })
        write({ id, identity: 'ann' })
      }`
    const server = await startTestServer(t, [[execOf(t, code, 'exec-guard'), { headers: ['Authorization'] }], 'echo'])
    await assert.rejects(server.connect(), new Refused({ status: 401, reason: 'a token, please', headers: undefined }))
    const ann = await server.connect({ headers: { authorization: 'Bearer good', cookie: 'secret' } })
    await until(() => {
      server.flush()
      return ann.received.length > 0
    })
    assert.deepEqual([ann.client.identity, ann.received], ['ann', ['ann']])
  })

  it('as a guard admits no client by a verdict that has only a reason', async t => {
    const code = `const handle = event => {
      hello('connect')(event)
      if (event.id) write({ id: event.id, reason: 'a token, please' })
    }`
    const { url } = await serve(t, { filters: [execOf(t, code, 'exec-guard'), 'echo'] })
    await assert.rejects(Peer.open(url), /500/)
  })

  it('asks for events of channels', async t => {
    const code = `const handle = event => {
      if (event.event === 'consumer') write({ id: event.id, data: event.channel + ':' + event.data })
    }`
    const server = await startTestServer(t, [[execOf(t, code), { events: ['consumer'] }], 'broadcast-pubsub'], {})
    const ann = await server.connect()
    await server.publish('news', 'x')
    assert.deepEqual(ann.received, ['news:x'])
  })

  it('stands several times in a chain, before and behind other filters', async t => {
    const add = (letter: string) => answering(t, `{ data: data + '${letter}' }`)
    const server = await startTestServer(t, [
      add('a'),
      { message: payload => `${payload}b` },
      add('c'),
      add('d'),
      'echo',
    ])
    const ann = await server.connect()
    await ann.say('_')
    assert.deepEqual(ann.received, ['_abcd'])
  })

  it('keeps the order of each client while the program answers in any order', async t => {
    const code = `const handle = event => {
      hello('message')(event)
      const { id, data } = event
      if (id) setTimeout(() => write({ id, data }), Math.random() * 3)
    }`
    const { server } = await start(t, [execOf(t, code), 'echo'])
    const peers = await Promise.all(Array.from({ length: 20 }, () => Peer.open(server.url)))
    for (let i = 0; i < 50; i++) for (const peer of peers) peer.send(`${i}`)
    for (const peer of peers)
      assert.deepEqual(
        await peer.get(50),
        Array.from({ length: 50 }, (_, i) => `${i}`),
      )
  })
})

describe('the command line of exec:', () => {
  it('is shown without arguments in --explain', async t => {
    const base = folder(t, {
      'config.json': JSON.stringify({
        filters: ["exec-guard:./bin/a 'my secret'", ['exec:b secret', { down: 'hold' }]],
      }),
    })
    const { stdout } = await inside(['--explain', '-c', join(base, 'config.json')], '/')
    assert.doesNotMatch(stdout, /secret/)
    assert.match(stdout, /^ {4}1\. exec-guard:a .* \(guard\)$/m)
    assert.match(stdout, /^ {2}filters +exec-guard:a exec:b +config\.json$/m)
  })

  it('is relative to the config file', async t => {
    const base = folder(t, {
      'bin/here': '#!/bin/sh\nread hello; read question; printf \'%s\\n\' \'{"id":1,"data":"\'$PWD\'"}\'; cat',
      'config.json': JSON.stringify({ filters: [['exec:bin/here', { events: ['message'] }], 'echo'] }),
    })
    chmodSync(join(base, 'bin/here'), 0o755)
    const server = await serve(t, { config: join(base, 'config.json') })
    const peer = await Peer.open(server.url)
    peer.send('x')
    assert.deepEqual(await peer.get(1), [base])
  })

  for (const [argv, message] of [
    [['-f', 'exec'], "filter exec needs a command line, such as -f 'exec:./program'"],
    [['-f', 'exec:'], 'filter exec: a command line needs a program, received none'],
    [['-f', "exec:a 'secret"], "filter exec: a quote (') that is not closed in word 2 of the command line"],
    [['-f', 'exec:./none secret'], 'filter exec:none: cannot start ./none: /none does not exist'],
    [
      ['-f', 'exec-guard:sh -c "exit 3"'],
      'filter exec-guard:sh: the program exited with code 3 at once; try it in a shell',
    ],
    [
      ['-f', 'broadcast', 'exec-guard:cat'],
      'exec-guard:cat is a guard and must stand before broadcast: -f exec-guard:cat broadcast',
    ],
    [
      ['-f', 'exec-guard:cat', '--exec-down', 'pass'],
      'filter exec-guard:cat: a guard lets no message pass unasked: --exec-down takes fail or hold',
    ],
    [
      ['-f', 'exec:cat', '--exec-events', 'message', 'mesage'],
      'filter exec:cat: --exec-events: events are connect, open, message, disconnect, consumer, received mesage',
    ],
    [
      ['-f', 'exec-guard:cat', '--exec-events', 'open'],
      'filter exec-guard:cat: --exec-events: a guard needs the event connect or message, received ["open"]',
    ],
    [
      ['-f', 'exec-guard:echo \'{"hello":1,"events":[]}\''],
      'filter exec-guard:echo: the program answers hello wrongly: a guard needs the event connect or message, received []',
    ],
    [
      ['-f', 'exec:cat', '--exec-timeout', '31'],
      'filter exec:cat: --exec-timeout 31 exceeds --filter-timeout 30; raise that too',
    ],
    [
      ['-f', 'exec-guard:echo \'{"hello":2}\''],
      'filter exec-guard:echo: the program answers hello wrongly: it speaks version 2 of the protocol; the server speaks 1',
    ],
    [
      ['-f', 'exec-guard:echo \'{"hello":1,"events":["data"]}\''],
      'filter exec-guard:echo: the program answers hello wrongly: events are connect, open, message, disconnect, consumer, received data',
    ],
  ] as const)
    it(`is refused at start: ${argv.join(' ')}`, async () => {
      assert.equal(await refusalInside(['-p', '0', ...argv], '/'), message)
    })
})

describe('fws-server with exec:', () => {
  it('runs the program without its arguments in the log, and ends it by SIGTERM', async t => {
    const server = await launch(t, [
      '-p',
      '0',
      '-f',
      `${answering(t, "{ data: process.pid + ' ' + process.argv[2] }")} my-secret`,
      'echo',
    ])
    const peer = await server.connect()
    peer.send('x')
    const [pid, argument] = String((await peer.get(1))[0]).split(' ')
    assert.equal(argument, 'my-secret')
    assert.equal((await server.stop()).code, 0)
    assert.throws(() => process.kill(Number(pid), 0), { code: 'ESRCH' })
    assert.match(server.stderr, /exec:node/)
    assert.doesNotMatch(server.stderr, /my-secret/)
  })

  it('that is killed closes the standard input of the program', async t => {
    const base = folder(t)
    const code = `
      import { writeFileSync } from 'node:fs'
      process.stdin.on('end', () => writeFileSync('${base}/end', ''))
      const handle = hello('message')`
    const server = await launch(t, ['-p', '0', '-f', execOf(t, code), 'echo'])
    await server.kill()
    await until(() => existsSync(join(base, 'end')))
  })

  it('ends the program also when a second signal ends the server at once', async t => {
    const script = `trap "" TERM INT; echo '{"hello":1,"events":["message"]}'; echo $$ >&2; while :; do sleep 1; done`
    const base = folder(t, { 'hang.sh': script })
    const server = await launch(t, ['-p', '0', '-f', `exec:sh ${base}/hang.sh`, 'echo'])
    const peer = await server.connect()
    const pidIn = () => Number(server.logged().find(({ msg }) => msg === 'standard error of a program')?.line)
    await until(() => pidIn() > 0)
    void server.stop()
    await peer.end()
    assert.equal((await server.stop()).code, 1)
    await until(() => !isAlive(pidIn()))
  })
})
