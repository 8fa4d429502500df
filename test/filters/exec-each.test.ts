import assert from 'node:assert/strict'
import { chmodSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { environmentOf } from '../../filters/exec-each/environment.ts'
import { createServer, DROP, type FilterModule, type ServerOptions } from '../../src/index.ts'
import { fakeClient } from '../../src/testing/index.ts'
import { folder, launch } from '../support/cli.ts'
import { isAlive } from '../support/is-alive.ts'
import { collectedLog } from '../support/log.ts'
import { Peer, serve, until } from '../support/peer.ts'
import { upgradeStatus } from '../support/upgrade.ts'

/** A server with a process of a shell script for each client. */
async function serving(t: TestContext, script: string, options: ServerOptions = {}) {
  const path = join(folder(t, { program: `#!/bin/sh\n${script}\n` }), 'program')
  chmodSync(path, 0o755)
  const { log, logged } = collectedLog()
  const server = await serve(t, { filters: [`exec-each:${path}`], log, ...options })
  return { server, logged, cwd: join(path, '..') }
}

const GREETER = 'while read -r line; do echo "Hello $line!"; done'

describe('exec-each', () => {
  it('writes each message as a line to a process of its client, and sends its lines', async t => {
    const { server } = await serving(t, GREETER)
    const [ann, bob] = [await Peer.open(server.url), await Peer.open(server.url)]
    for (const name of ['Ann', 'grüß', '']) ann.send(name)
    bob.send('Bob\nEve')
    assert.deepEqual(await ann.get(3), ['Hello Ann!', 'Hello grüß!', 'Hello !'])
    assert.deepEqual(await bob.get(2), ['Hello Bob!', 'Hello Eve!'])
  })

  it('closes the connection when the program ends, after all of its output', async t => {
    const { server } = await serving(t, 'printf "1\\r\\n2\\nrest"; exit 3')
    const peer = await Peer.open(server.url)
    assert.deepEqual(await peer.end(), { code: 1000, reason: '' })
    assert.deepEqual(peer.received, ['1', '2', 'rest'])
  })

  it('closes the input of the program when the client leaves, after all of its messages', async t => {
    const { server, cwd } = await serving(
      t,
      'trap "" INT TERM; cd "$(dirname "$0")"; echo ready; cat > received; echo end >> received',
    )
    const peer = await Peer.open(server.url)
    await peer.get(1)
    for (let i = 0; i < 100; i++) peer.send(`${i}`)
    peer.ws.close()
    const received = () => (existsSync(join(cwd, 'received')) ? readFileSync(join(cwd, 'received'), 'utf8') : '')
    await until(() => received().endsWith('end\n'), 'the end of the input')
    assert.equal(received(), `${Array.from({ length: 100 }, (_, i) => `${i}\n`).join('')}end\n`)
  })

  it('with --exec-each-binary passes bytes', async t => {
    const { server } = await serving(t, 'exec cat', { 'exec-each-binary': true })
    const peer = await Peer.open(server.url)
    peer.send(Buffer.from([0, 10, 255]))
    assert.deepEqual(await peer.get(1), [Buffer.from([0, 10, 255])])
    peer.send('text')
    assert.deepEqual((await peer.get(2))[1], Buffer.from('text'))
  })

  it('drops binary messages in text mode, and hands nothing to later filters', async t => {
    const seen: unknown[] = []
    const { server, cwd } = await serving(t, GREETER)
    const other = await serve(t, {
      filters: [`exec-each:${join(cwd, 'program')}`, { message: payload => void seen.push(payload) }],
    })
    const peer = await Peer.open(other.url)
    peer.send(Buffer.from('x'))
    peer.send('y')
    assert.deepEqual(await peer.get(1), ['Hello y!'])
    assert.deepEqual([seen, other.counters.drops['binary message'], server.counters.errors], [[], 1, 0])
  })

  it('gives the program the variables of CGI, and none of the server', async t => {
    process.env.FWS_EXAMPLE = 'secret'
    process.env.OTHER_EXAMPLE = 'secret'
    process.env.NAMED_EXAMPLE = 'named'
    t.after(() => {
      for (const name of ['FWS_EXAMPLE', 'OTHER_EXAMPLE', 'NAMED_EXAMPLE']) delete process.env[name]
    })
    const identify: FilterModule = {
      stage: 'guard',
      connect(client) {
        client.identity = 'ann'
      },
    }
    const { cwd } = await serving(t, 'exec env')
    const server = await serve(t, {
      filters: [identify, `exec-each:${join(cwd, 'program')}`],
      'exec-each-env': ['PATH', 'NAMED_EXAMPLE'],
    })
    const peer = await Peer.open(`${server.url}/a%20b/c?d=1&e=%20`, {
      headers: { 'X-Thing': 'é', Cookie: 'a=1', Authorization: 'secret', Proxy: 'http://secret', x_thing: 'secret' },
    })
    await peer.end()
    const variables = new Map(
      peer.received.map(line => /^(.*?)=(.*)$/.exec(String(line))!.slice(1) as [string, string]),
    )
    const port = new URL(server.url).port
    for (const [name, value] of Object.entries({
      GATEWAY_INTERFACE: 'CGI/1.1',
      SERVER_SOFTWARE: 'filtered-websocket',
      SERVER_NAME: '127.0.0.1',
      SERVER_PORT: port,
      SERVER_PROTOCOL: 'HTTP/1.1',
      REQUEST_METHOD: 'GET',
      REQUEST_URI: '/a%20b/c?d=1&e=%20',
      SCRIPT_NAME: '/',
      PATH_INFO: '/a b/c',
      PATH_TRANSLATED: '/a b/c',
      QUERY_STRING: 'd=1&e=%20',
      REMOTE_ADDR: '127.0.0.1',
      REMOTE_HOST: '127.0.0.1',
      REMOTE_USER: 'ann',
      AUTH_TYPE: '',
      HTTP_HOST: `127.0.0.1:${port}`,
      HTTP_COOKIE: 'a=1',
      HTTP_UPGRADE: 'websocket',
      NAMED_EXAMPLE: 'named',
      PATH: process.env.PATH,
    }))
      assert.equal(variables.get(name), value, name)
    assert.match(variables.get('REMOTE_PORT')!, /^\d+$/)
    assert.match(variables.get('UNIQUE_ID')!, /^[\w-]+$/)
    assert.equal(variables.has('HTTPS'), false)
    assert.doesNotMatch(peer.received.join('\n'), /secret/)
  })

  it('describes clients without a handshake', () => {
    const { REMOTE_ADDR, PATH_INFO } = environmentOf(fakeClient({ remote: '10.0.0.1' }))
    assert.deepEqual([REMOTE_ADDR, PATH_INFO], ['10.0.0.1', undefined])
  })

  it('starts a client with a NUL byte in its path', async t => {
    const { server } = await serving(t, 'echo "$PATH_INFO"')
    const peer = await Peer.open(`${server.url}/a%00b/%ff`)
    assert.deepEqual(await peer.get(1), ['/a%00b/%ff'])
  })

  it('starts no program for a client that a guard has not admitted', async t => {
    const guard: FilterModule = {
      stage: 'guard',
      connect: client => client.hold(),
      message: (payload, client) => {
        if (payload !== 'let me in') return undefined
        client.admit()
        return DROP
      },
    }
    const { cwd } = await serving(t, `echo started >> "$(dirname "$0")/log"; ${GREETER}`)
    const server = await serve(t, { filters: [guard, `exec-each:${join(cwd, 'program')}`] })
    const [ann, bob] = [await Peer.open(server.url), await Peer.open(server.url)]
    ann.send('let me in')
    ann.send('Ann')
    assert.deepEqual(await ann.get(1), ['Hello Ann!'])
    bob.ws.close()
    await until(() => server.clients.size === 1)
    assert.equal(readFileSync(join(cwd, 'log'), 'utf8'), 'started\n')
  })

  it('refuses clients beyond --exec-each-max', async t => {
    const { server } = await serving(t, GREETER, { 'exec-each-max': 1 })
    const peer = await Peer.open(server.url)
    peer.send('x')
    await peer.get(1)
    assert.equal(await upgradeStatus(server.url), 503)
    peer.ws.close()
    // The process of a client that has left counts until it has ended.
    await until(async () => (await upgradeStatus(server.url)) === 101, 'a free place')
  })

  it('pauses a client whose program does not read, and loses nothing', async t => {
    const { server, cwd } = await serving(
      t,
      'while [ ! -e "$(dirname "$0")/go" ]; do sleep 0.05; done; head -n 300 | wc -l',
      { maxQueued: 10 },
    )
    const peer = await Peer.open(server.url)
    for (let i = 0; i < 300; i++) peer.send('x'.repeat(10_000))
    await until(() => server.counters.paused > 0, 'a pause')
    assert.ok(server.counters.messages < 100, `${server.counters.messages} messages`)
    writeFileSync(join(cwd, 'go'), '')
    assert.deepEqual(await peer.get(1), ['300'])
    assert.equal(server.counters.errors, 0)
  })

  it('fails messages when the program does not read within --filter-timeout', async t => {
    const { server } = await serving(t, 'exec sleep 600', { filterTimeout: 0.05 })
    const peer = await Peer.open(server.url)
    for (let i = 0; i < 20; i++) peer.send('x'.repeat(100_000))
    await until(() => server.counters.messages === 20 && server.counters.errors > 15, 'errors')
  })

  it('makes a program wait for a client that does not read', async t => {
    const { server, cwd } = await serving(
      t,
      `cd "$(dirname "$0")"; head -c 30000000 /dev/zero | tr '\\0' x | fold -w 1000; echo > done`,
    )
    const peer = await Peer.open(server.url)
    peer.ws.pause()
    const [client] = server.clients.values()
    let last = -1
    await until(() => {
      const { bytesOut } = server.counters as unknown as { bytesOut: number }
      const isStill = bytesOut === last && bytesOut > 0
      last = bytesOut
      return isStill
    })
    assert.ok(client!.buffered < 1_000_000, `${client!.buffered} bytes`)
    assert.equal(existsSync(join(cwd, 'done')), false)
    peer.ws.resume()
    assert.equal((await peer.end()).code, 1000)
    assert.equal(peer.received.length, 30_000)
    assert.ok(existsSync(join(cwd, 'done')))
  })

  it('skips lines of output longer than --max-payload, with bounded memory', async t => {
    const { server, logged } = await serving(t, 'head -c 100000000 /dev/zero; echo; echo short', { maxPayload: 1000 })
    const before = process.memoryUsage().rss
    const peer = await Peer.open(server.url)
    assert.deepEqual(await peer.get(1), ['short'])
    assert.ok(process.memoryUsage().rss - before < 60_000_000)
    assert.ok(logged.some(({ msg }) => msg === 'line of output skipped, longer than --max-payload'))
  })

  it('goes on with a program that has closed its input', async t => {
    const { server } = await serving(
      t,
      'exec 0<&-; echo ready; while [ ! -e "$(dirname "$0")/go" ]; do echo tick; sleep 0.05; done',
    )
    const peer = await Peer.open(server.url)
    await peer.get(1)
    await until(() => {
      peer.send('x'.repeat(10_000))
      return server.counters.drops['program without input'] !== undefined
    })
    const { length } = peer.received
    await peer.get(length + 2)
    assert.equal(server.counters.errors, 0)
  })

  it('replaces output that is not UTF-8', async t => {
    const { server } = await serving(t, `printf 'a\\377\\000b\\n'`)
    const peer = await Peer.open(server.url)
    assert.deepEqual(await peer.get(1), ['a\ufffd\0b'])
  })

  it('ends a program that floods a client that has left', async t => {
    const { server, logged } = await serving(t, 'exec yes')
    const peer = await Peer.open(server.url)
    await peer.get(10)
    peer.ws.terminate()
    await until(() => logged.some(({ how }) => how === 'was ended by SIGINT'), 'its end')
  })

  it('closes a client whose program cannot be started, and logs no argument', async t => {
    const { cwd } = await serving(t, 'echo ready')
    const { log, logged } = collectedLog()
    const server = await serve(t, { filters: [`exec-each:${join(cwd, 'program')} secret`], log })
    rmSync(join(cwd, 'program'))
    const peer = await Peer.open(server.url)
    peer.send('x')
    assert.deepEqual(await peer.end(), { code: 1011, reason: 'a filter failed' })
    const { err } = logged.find(({ msg }) => msg === 'program has not started') as { err: Error }
    assert.match(err.message, /^cannot start \S*\/program: \S*\/program does not exist/)
    assert.doesNotMatch(JSON.stringify(logged), /secret/)
  })

  it('logs standard error', async t => {
    const { server, logged } = await serving(t, 'echo oops >&2')
    await (await Peer.open(server.url)).end()
    assert.ok(logged.some(({ line, program }) => line === 'oops' && program === 'program'))
  })

  it('ends the programs when the server stops', async t => {
    const { server } = await serving(t, 'trap "" INT TERM; echo $$; while :; do sleep 0.1; done')
    const peer = await Peer.open(server.url)
    const [pid] = await peer.get(1)
    await server.close()
    assert.equal(isAlive(Number(pid)), false)
    assert.deepEqual(await peer.end(), { code: 1001, reason: 'server is shutting down' })
  })

  for (const [filters, options, code, message] of [
    [['exec-each:./none'], {}, 'ERR_OPTION', /^filter exec-each:none: cannot start \.\/none: .*\/none does not exist$/],
    [['exec-each:no-such-program a b'], {}, 'ERR_OPTION', /: cannot start no-such-program: it is not in PATH/],
    [['exec-each'], {}, 'ERR_OPTION', /^filter exec-each needs a command line/],
    [
      ['exec-each:cat'],
      { 'exec-each-env': ['PATH', 'FWS_SECRET'] },
      'ERR_OPTION',
      /^filter exec-each:cat: --exec-each-env takes no variable of the server itself, received "FWS_SECRET"$/,
    ],
    [['exec-each-guard:cat'], {}, 'ERR_FILTER', /^filter exec-each-guard:cat cannot be a guard$/],
  ] as const)
    it(`is refused: ${message.source}`, async () => {
      await assert.rejects(createServer({ port: 0, logLevel: 'silent', filters, ...options }), { code, message })
    })

  it('fws-server -f "exec-each:./count.sh"', async t => {
    const cwd = folder(t, { 'count.sh': '#!/bin/sh\nfor i in 1 2 3; do echo $i; done\n' })
    chmodSync(join(cwd, 'count.sh'), 0o755)
    const server = await launch(t, ['-p', '0', '-f', 'exec-each:./count.sh'], { cwd })
    const peer = await server.connect()
    await peer.end()
    assert.deepEqual(peer.received, ['1', '2', '3'])
  })

  it('ends the program also when a second signal ends the server at once', async t => {
    const script = `trap "" TERM INT; echo '{"hello":1,"events":["message"]}'; echo $$ >&2; while :; do sleep 1; done`
    // Its client never leaves: otherwise the server would end within a second.
    const base = folder(t, { 'hang.sh': script, 'hang.js': 'export const disconnect = () => new Promise(() => {})' })
    const server = await launch(t, ['-p', '0', '-f', `${base}/hang.js`, `exec-each:sh ${base}/hang.sh`, 'echo'])
    const peer = await server.connect()
    const pidIn = () => Number(server.logged().find(({ msg }) => msg === 'standard error of a program')?.line)
    await until(() => pidIn() > 0)
    void server.stop()
    await peer.end()
    assert.equal((await server.stop()).code, 1)
    await until(() => !isAlive(pidIn()))
  })
})
