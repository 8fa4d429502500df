import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { describe, it, type TestContext } from 'node:test'
import {
  type Client,
  createServer,
  DROP,
  type FilterModule,
  type Payload,
  type ServerOptions,
} from '../../src/index.ts'
import { folder, root } from '../support/cli.ts'
import { collectedLog } from '../support/log.ts'
import { Peer, serve, until } from '../support/peer.ts'

/** A server that reads a stream, with one client. */
async function reading(t: TestContext, options: ServerOptions = {}) {
  const stdin = new PassThrough()
  const server = await serve(t, { stdin, filters: ['stdin', 'broadcast'], ...options })
  const peer = await Peer.open(server.url)
  return { stdin, server, peer }
}

describe('filter stdin', () => {
  it('makes each line a message for the filters behind it', async t => {
    const seen: unknown[] = []
    const shout = (payload: Payload, client: Client) => {
      seen.push([client.transport, client.remote, payload])
      return String(payload).toUpperCase()
    }
    const { stdin, peer } = await reading(t, { filters: ['stdin', { message: shout }, 'broadcast'] })
    stdin.write('one\ntwo\r\nthr')
    stdin.write('ee\n\n')
    assert.deepEqual(await peer.get(4), ['ONE', 'TWO', 'THREE', ''])
    assert.deepEqual(seen[0], ['stdin', 'stdin', 'one'])
  })

  it('sends the broadcasts of its lines to --stdin-topic, of other clients to all', async t => {
    const filters = [
      'stdin',
      { open: (client: Client) => void (client.handshake?.url.pathname === '/logs' && client.join('logs')) },
      'broadcast',
    ] as const
    const { stdin, server, peer } = await reading(t, { filters, 'stdin-topic': 'logs' })
    const reader = await Peer.open(`${server.url}/logs`)
    stdin.write('line\n')
    assert.deepEqual(await reader.get(1), ['line'])
    reader.send('said')
    assert.deepEqual(await peer.get(1), ['said'])
  })

  it('is not held or refused by guards and permits, which hold for clients', async t => {
    const guard: FilterModule = {
      stage: 'guard',
      open: client => client.hold(),
      message: (payload, client) => {
        if (payload === 'let me in') client.admit()
        return DROP
      },
      permit: () => false,
    }
    const join = { open: (client: Client) => void (client.transport === 'stdin' && client.join('room')) }
    const { stdin, peer, server } = await reading(t, { filters: [guard, 'stdin', join, 'broadcast'] })
    peer.send('let me in')
    await until(() => server.counters.drops.filter !== undefined || server.counters.messages === 1)
    stdin.write('line\n')
    assert.deepEqual(await peer.get(1), ['line'])
    const input = [...server.clients.values()].find(client => client.transport === 'stdin')!
    assert.deepEqual([input.may('publish'), [...input.topics]], [true, ['room']])
  })

  it('runs open and disconnect handlers only of the filters behind it', async t => {
    const events: string[] = []
    const watch = (name: string): FilterModule => ({
      open: ({ transport }) => void (transport === 'stdin' && events.push(`${name} open`)),
      disconnect: ({ transport }) => void (transport === 'stdin' && events.push(`${name} disconnect`)),
      message: (_, { transport }) => void (transport === 'stdin' && events.push(`${name} message`)),
    })
    const { stdin } = await reading(t, { filters: [watch('before'), 'stdin', watch('after'), 'broadcast'] })
    stdin.end('line')
    await until(() => events.length === 3, 'the end of the input')
    assert.deepEqual(events, ['after open', 'after message', 'after disconnect'])
  })

  it('at the end of the input stays, by default', async t => {
    const { stdin, peer, server } = await reading(t)
    stdin.end('first\nlast without a line end')
    assert.deepEqual(await peer.get(2), ['first', 'last without a line end'])
    await until(() => server.clients.size === 1)
    peer.send('x')
    await until(() => server.counters.messages === 3)
  })

  it('with --stdin-end stop handles all lines, then stops the server', async t => {
    const handled: Payload[] = []
    const slow = async (payload: Payload) => {
      await new Promise(setImmediate)
      handled.push(payload)
    }
    const { stdin, peer, server } = await reading(t, {
      'stdin-end': 'stop',
      filters: ['stdin', { message: slow }, 'broadcast'],
    })
    const lines = Array.from({ length: 1000 }, (_, i) => `${i}`)
    stdin.end(lines.join('\n'))
    await server.closed
    assert.deepEqual(handled, lines)
    assert.equal((await peer.get(1000)).length, 1000)
    assert.deepEqual(await peer.end(), { code: 1001, reason: 'server is shutting down' })
  })

  it('pauses the input while a filter is slow', async t => {
    let handled = 0
    let open = () => {}
    const gate = new Promise<void>(resolve => {
      open = resolve
    })
    t.after(() => open())
    const { stdin, server } = await reading(t, {
      filters: ['stdin', { message: () => gate.then(() => void handled++) }],
    })
    const chunk = Buffer.from('x\n'.repeat(1000))
    let written = 0
    while (stdin.write(chunk)) written++
    await until(() => server.counters.messages === 1 && stdin.isPaused(), 'a pause')
    open()
    await until(() => handled === (written + 1) * 1000, 'all lines')
  })

  it('skips lines longer than --max-payload, and logs how many', async t => {
    const { stdin, peer } = await reading(t, { maxPayload: 1000 })
    stdin.write(`${'x'.repeat(1001)}\nshort\n${'y'.repeat(1000)}\n`)
    assert.deepEqual(await peer.get(2), ['short', 'y'.repeat(1000)])
  })

  it('with --stdin-framing nul reads messages with line feeds', async t => {
    const { stdin, peer } = await reading(t, { 'stdin-framing': 'nul' })
    stdin.end('one\ntwo\r\n\0\0last')
    assert.deepEqual(await peer.get(3), ['one\ntwo\r\n', '', 'last'])
  })

  it('with --stdin-framing length reads bytes, and skips a message that is too long', async t => {
    const { log, logged } = collectedLog()
    const { stdin, peer, server } = await reading(t, { 'stdin-framing': 'length', maxPayload: 1000, log })
    const message = (length: number, bytes: Buffer) => {
      const header = Buffer.alloc(4)
      header.writeUInt32BE(length)
      return Buffer.concat([header, bytes])
    }
    stdin.write(message(3, Buffer.from([0, 10, 255])))
    stdin.write(message(0xffffffff, Buffer.alloc(0)).subarray(0, 3))
    stdin.write(Buffer.concat([Buffer.from([0xe9]), Buffer.alloc(1001 - 0xe9)]))
    assert.deepEqual(await peer.get(1), [Buffer.from([0, 10, 255])])
    stdin.end()
    await until(() => server.clients.size === 1)
    assert.deepEqual(
      logged.flatMap(({ msg, why }) => (msg === 'message skipped' ? [why] : [])),
      ['longer than --max-payload'],
    )
  })

  it('with --stdin-framing json reads text and bytes with their topics, and skips wrong lines', async t => {
    const { log, logged } = collectedLog()
    const join = (client: Client) => void (client.handshake?.url.pathname === '/b' && client.join('b'))
    const { stdin, peer, server } = await reading(t, {
      'stdin-framing': 'json',
      maxPayload: 1000,
      filters: ['stdin', { open: join }, 'broadcast'],
      log,
    })
    const reader = await Peer.open(`${server.url}/b`)
    const wrong = [
      ['secret', 'not JSON'],
      ['"text"', 'not a JSON object'],
      ['{}', 'a JSON object without "data" and "binary"'],
      ['{"data":1}', '"data" must be a string, received number'],
      ['{"data":"a","topic":1}', '"topic" must be a string'],
    ] as const
    const lines = [
      ...wrong.map(([line]) => line),
      JSON.stringify({ data: 'x'.repeat(1001) }),
      JSON.stringify({ data: '\0'.repeat(1000) }),
      '{"binary":"AAH/","client":"ignored","at":1}',
      '{"data":"to b","topic":"b"}',
      '{"data":"to all"}',
    ]
    stdin.end(lines.join('\n'))
    assert.deepEqual(await peer.get(3), ['\0'.repeat(1000), Buffer.from([0, 1, 255]), 'to all'])
    assert.deepEqual((await reader.get(4)).slice(2), ['to b', 'to all'])
    // The log has five lines a second of a kind.
    assert.deepEqual(
      logged.flatMap(({ msg, why }) => (msg === 'message skipped' ? [why] : [])).slice(0, 5),
      wrong.map(([, why]) => why),
    )
    assert.doesNotMatch(JSON.stringify(logged), /secret/)
  })

  it('reads on when a broadcast to a kept topic is stored', async t => {
    const rules = { 'streams-rules': ['logs size=2 ttl=1h full=refuse'] }
    const { log, logged } = collectedLog()
    const { stdin, server } = await reading(t, {
      'stdin-topic': 'logs',
      filters: ['streams', 'stdin', 'broadcast'],
      ...rules,
      log,
    })
    stdin.write('one\ntwo\nthree\nfour\n')
    await until(() => logged.some(({ msg }) => msg === 'a message is not stored yet, standard input waits'), 'a wait')
    assert.equal(server.counters.messages, 3)
    const read = async () => {
      const { entries } = await server.read('logs', { from: 'oldest', entries: 10, bytes: 1000 })
      return entries.map(({ payload }) => payload)
    }
    assert.deepEqual(await read(), ['one', 'two'])
    const { top } = await server.read('logs', { from: 'newest', entries: 0, bytes: 0 })
    await server.trim('logs', top)
    await until(() => server.counters.messages === 4, 'the last line')
    await until(async () => (await read()).length === 2)
    assert.deepEqual(await read(), ['three', 'four'])
  })

  it('at a stop handles all that it has read', async t => {
    const handled: Payload[] = []
    const slow = (payload: Payload) =>
      new Promise<void>(resolve => setImmediate(() => resolve(void handled.push(payload))))
    const { stdin, server } = await reading(t, { filters: ['stdin', { message: slow }], drain: 20 })
    const lines = Array.from({ length: 2000 }, (_, i) => `${i}`)
    stdin.write(`${lines.slice(0, 1000).join('\n')}\n`)
    await until(() => handled.length > 0)
    // Read ahead by the stream.
    stdin.write(`${lines.slice(1000).join('\n')}\nincomplete`)
    await server.close()
    assert.deepEqual(handled, lines)
  })

  it('survives an error of the input', async t => {
    const { stdin, peer, server } = await reading(t)
    stdin.destroy(new Error('EIO'))
    await until(() => server.clients.size === 1)
    peer.send('still here')
    await until(() => server.counters.messages === 1)
  })

  for (const [options, message] of [
    [{}, /no standard input: createServer\(\{ stdin: process\.stdin \}\)$/],
    [{ stdin: new PassThrough(), filters: ['stdin', 'stdin'] }, /another filter reads standard input$/],
  ] as const) {
    it(`is refused: ${message.source}`, async () => {
      const starting = createServer({ port: 0, logLevel: 'silent', filters: ['stdin'], ...options } as ServerOptions)
      await assert.rejects(starting, { code: 'ERR_FILTER', message })
    })
  }
})

describe('a pipe into the command', () => {
  /** Runs a shell, whose last command is the server; `log` has what it logged. */
  function shell(
    t: TestContext,
    script: string,
    cwd: string,
  ): { log(): string; url(): string | undefined; ended: Promise<number | null> } {
    const server = `${process.execPath} ${join(root, 'dist/bin/fws-server.js')} -p 0`
    const child = spawn('sh', ['-c', script.replace('SERVER', `exec ${server}`)], {
      cwd,
      stdio: ['ignore', 'ignore', 'pipe'],
      detached: true,
    })
    let text = ''
    child.stderr.setEncoding('utf8').on('data', chunk => {
      text += chunk
    })
    const ended = new Promise<number | null>(resolve => child.once('close', resolve))
    t.after(() => {
      try {
        process.kill(-child.pid!, 'SIGKILL')
      } catch {
        // It has ended.
      }
    })
    return { log: () => text, url: () => /"url":"(ws:[^"]+)"/.exec(text)?.[1], ended }
  }

  it('tail -F app.log | fws-server -f stdin broadcast', async t => {
    const cwd = folder(t, { 'app.log': 'first\n' })
    const { url, log } = shell(t, 'tail -n 0 -F app.log | SERVER -f stdin broadcast', cwd)
    await until(() => url() !== undefined, 'a server')
    const peer = await Peer.open(url()!)
    const { appendFileSync } = await import('node:fs')
    const timer = setInterval(() => appendFileSync(join(cwd, 'app.log'), 'second\n'), 50)
    t.after(() => clearInterval(timer))
    assert.deepEqual(await peer.get(1), ['second'])
    assert.doesNotMatch(log(), /no filter reads/)
  })

  it('stops with --stdin-end stop', async t => {
    const { ended, log } = shell(t, 'printf "a\\nb\\n" | SERVER -f stdin broadcast --stdin-end stop', folder(t))
    assert.equal(await ended, 0)
    assert.match(log(), /stopping: standard input has ended/)
  })

  it('that no filter reads is one hint', async t => {
    const { log } = shell(t, 'echo hello | SERVER -f broadcast', folder(t))
    await until(() => /no filter reads/.test(log()), 'a hint')
    assert.equal(
      log().match(/standard input is a pipe that no filter reads; with -f stdin each line is a message/g)!.length,
      1,
    )
  })

  it('from /dev/null or a file is none', async t => {
    const { log, url } = shell(t, 'SERVER -f broadcast < /dev/null', folder(t))
    await until(() => url() !== undefined, 'a server')
    assert.doesNotMatch(log(), /standard input/)
  })
})
