import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { describe, it } from 'node:test'
import jwt from 'jsonwebtoken'
import { main } from '../../src/cli.ts'
import type { FilterModule } from '../../src/contract/filter.ts'
import { folder, inside, root, type Test } from '../support/cli.ts'
import { Output } from '../support/command.ts'
import { Peer, serve, until } from '../support/peer.ts'
import { freePort } from '../support/port.ts'

const SECRET = 'a-secret-of-32-characters-or-more'
const lines = (...events: readonly object[]) => events.map(event => `${JSON.stringify(event)}\n`).join('')

/** Plays a recording from standard input. */
async function replay(to: string, recording: string, argv: readonly string[] = [], env = {}) {
  const stdin = Readable.from(recording === '' ? [] : [Buffer.from(recording)])
  const { code, stdout, stderr } = await inside(['replay', '-', '--to', to, ...argv], root, env, false, stdin)
  const said = stderr.split('\n').slice(0, -1)
  const summary = said.pop()?.replace(/\d+\.\d s/, 'TIME')
  return { code, lines: stdout.split('\n').slice(0, -1), said, summary }
}

/** A server that collects what its clients do, by URL. */
async function collecting(t: Test, filters: readonly (string | FilterModule)[] = [], options = {}) {
  const seen = new Map<string, unknown[]>()
  const logOf = (url: URL) => {
    const name = url.pathname + url.search
    const log = seen.get(name) ?? []
    seen.set(name, log)
    return log
  }
  const collect: FilterModule = {
    open: ({ handshake }) => void logOf(handshake!.url).push(handshake!.protocols),
    message: (payload, { handshake }) => void logOf(handshake!.url).push(payload),
    disconnect: ({ handshake }, { code, reason }) => void logOf(handshake!.url).push([code, reason]),
  }
  const server = await serve(t, { filters: [...filters, collect], ...options })
  return { url: server.url, seen: () => Object.fromEntries(seen), server }
}

/** Waits until a number above 0 is the same for half a second. */
async function steady(read: () => number): Promise<void> {
  let [last, since] = [0, performance.now()]
  await until(() => {
    if (read() !== last) [last, since] = [read(), performance.now()]
    return last > 0 && performance.now() - since > 500
  })
}

describe('fws-server replay', () => {
  it('plays what filter record has written: order of each client, payloads, URLs, subprotocols and closes', async t => {
    const path = join(folder(t), 'r.jsonl')
    const first = await collecting(t, ['record'], { recordFile: path })
    const ann = await Peer.open(`${first.url}/ann?room=1`, {}, ['v2', 'v1'])
    const bob = await Peer.open(`${first.url}/bob`)
    const eve = await Peer.open(`${first.url}/eve`)
    for (let number = 0; number < 100; number++) {
      ann.send(`${number} é`)
      bob.send(Buffer.from([number, 255]))
    }
    await until(() => Object.values(first.seen()).flat().length === 203)
    ann.ws.close(4001, 'bye')
    bob.ws.close()
    eve.ws.terminate()
    await until(() => Object.values(first.seen()).flat().length === 206)
    await first.server.close()

    const second = await collecting(t)
    const { code, lines: out, said, summary } = await replay(second.url, readFileSync(path, 'utf8'), ['--speed', '0'])
    assert.deepEqual([code, out, said], [0, [], []])
    assert.equal(summary, 'fws-server: played 3 connections and 200 messages in TIME')
    await until(() => Object.values(second.seen()).flat().length === 206)
    assert.deepEqual(second.seen(), first.seen())
  })

  it('keeps the times, divided by --speed', async t => {
    const times: number[] = []
    const { url } = await collecting(t, [{ message: () => void times.push(performance.now()) }])
    const recording = lines(
      { client: 'a', data: '1', at: 1000 },
      { client: 'b', data: '2', at: 3000 },
      { client: 'a', data: '3', at: 2000 },
    )
    const began = performance.now()
    const { code } = await replay(url, recording, ['--speed', '10'])
    assert.equal(code, 0)
    // The server may handle the first message of another connection later.
    assert.ok(Math.max(...times) - began >= 195, String(times))
  })

  it('prints what the clients get, and what the server closes', async t => {
    const { url } = await collecting(t, [
      { message: (payload, client) => (payload === 'close' ? client.disconnect(4000, 'no') : client.send(payload)) },
    ])
    const recording = lines(
      { client: 'a', data: 'x' },
      { client: 'a', binary: 'AP8=' },
      { client: 'a', data: 'close' },
      { client: 'a', data: 'late' },
    )
    const { code, lines: out } = await replay(url, recording)
    assert.deepEqual(out, [
      '{"client":"a","data":"x"}',
      '{"client":"a","binary":"AP8="}',
      '{"client":"a","closed":4000,"reason":"no"}',
    ])
    assert.equal(code, 0)
  })

  it('gives all clients the token of --token, also where one was redacted', async t => {
    const token = jwt.sign({ sub: 'ann' }, SECRET, { expiresIn: 60 })
    const { url, seen } = await collecting(t, ['jwt'], { jwtSecret: SECRET, jwtQuery: true })
    const recording = lines(
      { event: 'connect', client: 'a', url: '/a?token=[redacted]' },
      { event: 'open', client: 'a' },
      { client: 'a', data: '{"auth":"[redacted]"}' },
      { client: 'a', data: '{"password":"[redacted]","connect":{"token":"[redacted]"}}' },
      { event: 'connect', client: 'b', url: '/b', protocols: ['v1', 'bearer', '[redacted]'] },
      { event: 'open', client: 'b' },
    )
    const without = await replay(url, recording)
    assert.deepEqual(without.lines.sort(), ['{"client":"a","refused":401}', '{"client":"b","refused":401}'])
    assert.deepEqual(without.said.sort(), [
      'fws-server: client a: refused with 401',
      'fws-server: client b: refused with 401',
    ])
    assert.deepEqual(
      [without.code, without.summary],
      [1, 'fws-server: played 2 connections and 2 messages in TIME, 2 connections failed'],
    )
    const { code, lines: out, said } = await replay(url, recording, [], { FWS_TOKEN: token })
    assert.deepEqual([code, said], [0, []])
    assert.match(out.join(), /^\{"client":"a","data":"\{\\"auth\\":\\"ok\\",\\"expires\\":\d+\}"\}$/)
    await until(() => Object.values(seen()).flat().length === 5)
    assert.deepEqual(seen(), {
      [`/a?token=${token}`]: [[], `{"password":"[redacted]","connect":{"token":"${token}"}}`, [1000, '']],
      '/b': [
        ['v1', 'bearer', token],
        [1000, ''],
      ],
    })
  })

  it('exits with 0 if the server refuses a client that was refused in the recording', async t => {
    const { url } = await collecting(t, [{ connect: client => client.refuse(403) }])
    const { code, lines: out } = await replay(url, lines({ event: 'connect', client: 'a', url: '/' }))
    assert.deepEqual([code, out], [0, ['{"client":"a","refused":403}']])
  })

  it('connects a client whose connect is missing to the URL of --to, and skips events of other transports', async t => {
    const { url, seen } = await collecting(t)
    const recording = lines(
      { client: 'a', data: 'x' },
      { event: 'connect', client: 's', url: '/s', kind: 'stream' },
      { event: 'message', client: 's', data: 'x' },
      { event: 'open', client: 't', transport: 'tcp' },
      { event: 'message', client: 'a', redacted: true },
      { event: 'consumer', channel: 'c', data: 'x' },
      { event: 'publish', topic: 't', client: 'a', data: 'x' },
      { event: 'request' },
      { event: 'disconnect', client: 'missing' },
    )
    const { code, summary } = await replay(`${url}/here`, recording)
    assert.deepEqual([code, summary], [0, 'fws-server: played 1 connections and 1 messages in TIME, 7 events skipped'])
    await until(() => seen()['/here']?.length === 3)
    assert.deepEqual(seen(), { '/here': [[], 'x', [1000, '']] })
  })

  for (const [what, events, expected, seen] of [
    [
      'a path with two slashes',
      [{ event: 'open', client: 'a', url: '//127.0.0.2/x' }],
      [],
      { '//127.0.0.2/x': [[], [1000, '']] },
    ],
    [
      'a path with a backslash',
      [{ event: 'open', client: 'a', url: '/\\127.0.0.2/x' }],
      [],
      { '//127.0.0.2/x': [[], [1000, '']] },
    ],
    ['a path with a fragment', [{ event: 'open', client: 'a', url: '/x#y' }], [], { '/x': [[], [1000, '']] }],
    [
      'a reason that is too long',
      [
        { client: 'a', data: 'x' },
        { event: 'disconnect', client: 'a', code: 4000, reason: 'é'.repeat(100) },
      ],
      [],
      { '/': [[], 'x', [4000, 'é'.repeat(61)]] },
    ],
    [
      'a User-Agent that is no header',
      [{ event: 'open', client: 'a', headers: { 'user-agent': 'a\nb' } }],
      ['fws-server: line 1: "user-agent" has characters that a header cannot have'],
      {},
    ],
    ['a request for another host', [{ event: 'request', method: 'GET', url: 'http://127.0.0.2/x' }], [], {}],
  ] as const)
    it(`plays ${what} on the server of --to only, or reports it`, async t => {
      const server = await collecting(t)
      const { code, said } = await replay(server.url, lines(...events), ['--speed', '0'])
      assert.deepEqual({ code, said }, { code: expected.length, said: expected })
      await server.server.close()
      assert.deepEqual(server.seen(), seen)
    })

  it('refuses a token that no header can have', async () => {
    const { code, summary } = await replay('ws://127.0.0.1:1', '', ['--token', 'a\nb'])
    assert.equal(code, 2)
    assert.equal(summary, 'fws-server: --token takes characters that a header can have, received others')
  })

  it('has a bounded number of connections that open or close, however many clients the recording has', async t => {
    let [open, most] = [0, 0]
    const count: FilterModule = {
      open: () => {
        most = Math.max(most, ++open)
      },
      disconnect: () => void open--,
    }
    const { url } = await collecting(t, [count])
    const events = Array.from({ length: 600 }, (_, i) => [
      { client: `${i}`, data: 'x' },
      { event: 'disconnect', client: `${i}` },
    ])
    const { code, summary } = await replay(url, lines(...events.flat()), ['--speed', '0'])
    assert.equal(summary, 'fws-server: played 600 connections and 600 messages in TIME')
    assert.equal(code, 0)
    assert.ok(most <= 300, `${most} connections`)
  })

  it('does not read from the server while its reader is slow, and loses nothing', async t => {
    const count = 400
    let sent = 0
    const flood: FilterModule = {
      message: async (_, client) => {
        while (sent < count) {
          if (client.buffered === 0) client.send(`${sent++} ${'x'.repeat(100_000)}`)
          await new Promise(setImmediate)
        }
      },
    }
    const { url } = await collecting(t, [flood])
    const stdout = new Output()
    stdout.stall()
    const ended = main({
      argv: ['replay', '-', '--to', url],
      env: {},
      base: root,
      stdin: Readable.from([Buffer.from(lines({ client: 'a', data: 'x' }))]),
      stdout,
      stderr: new PassThrough(),
    })
    await steady(() => sent)
    assert.ok(sent < count, 'the server waits')
    stdout.accept()
    assert.equal(await ended, 0)
    const numbers = stdout.text.split('\n').slice(0, -1)
    assert.deepEqual(
      numbers.map(line => Number(/"data":"(\d+) /.exec(line)![1])),
      Array.from({ length: count }, (_, i) => i),
    )
  })

  it('plays a recording that is cut, and reports its last line', async t => {
    const { url } = await collecting(t)
    const { code, said } = await replay(url, `{"recording":1}\n${lines({ client: 'a', data: 'x' })}{"event":"messa`)
    assert.deepEqual([code, said], [1, ['fws-server: line 3: a line is a JSON object, received {"event":"messa']])
  })

  it('reports a handshake with subprotocols that cannot be sent', async t => {
    const { url, seen } = await collecting(t)
    const recording = lines(
      { event: 'connect', client: 'c', url: '/c', protocols: ['x', 'x'] },
      { event: 'open', client: 'c' },
    )
    const { code, said, summary } = await replay(url, recording)
    assert.deepEqual(said, ['fws-server: line 1: An invalid or duplicated subprotocol was specified'])
    assert.deepEqual([code, summary], [1, 'fws-server: played 0 connections and 0 messages in TIME, 1 events skipped'])
    assert.deepEqual(seen(), {})
  })

  it('reports a server that is not there', async () => {
    const { code, said } = await replay(`ws://127.0.0.1:${await freePort()}`, lines({ client: 'a', data: 'x' }))
    assert.equal(code, 1)
    assert.match(said.join(), /^fws-server: client a: connect ECONNREFUSED 127\.0\.0\.1:\d+$/)
  })

  for (const [argv, code, message] of [
    [['replay', '-'], 2, /^fws-server: the command line needs --to/],
    [['replay', '--to', 'ws://127.0.0.1:1'], 2, /^fws-server: replay takes one recording, received 0 words/],
    [['replay', 'a', 'b', '--to', 'ws://127.0.0.1:1'], 2, /^fws-server: replay takes one recording, received 2 words/],
    [['replay', '-', '--to', 'localhost'], 2, /^fws-server: --to takes a URL such as ws:/],
    [
      ['replay', '-', '--to', 'ws://127.0.0.1:1', '--speed', '-1'],
      2,
      /^fws-server: --speed takes a number of at least 0/,
    ],
    [['replay', './none', '--to', 'ws://127.0.0.1:1'], 1, /^fws-server: the input cannot be read: ENOENT/],
  ] as const)
    it(`refuses ${argv.join(' ')}`, async () => {
      const ended = await inside(argv, root)
      assert.equal(ended.code, code)
      assert.match(ended.stderr, message)
    })

  it('ends at a recording of a newer version, and at a line of 100 MB after one sentence', async t => {
    const { url, seen } = await collecting(t)
    const newer = await replay(url, `{"recording":2}\n${lines({ client: 'a', data: 'x' })}`)
    assert.deepEqual(
      [newer.code, newer.summary],
      [1, 'fws-server: line 1: the recording has version 2, and this fws-server reads version 1'],
    )
    assert.deepEqual(seen(), {})
    const stdin = Readable.from(
      (function* () {
        for (let i = 0; i < 100; i++) yield Buffer.alloc(1_000_000, 'x')
        yield Buffer.from(`\n${lines({ client: 'a', data: 'after' })}`)
      })(),
    )
    const long = await inside(['replay', '-', '--to', url], root, {}, false, stdin)
    assert.match(long.stderr, /^fws-server: line 1: it is longer than 67108864 bytes\nfws-server: played 1 connections/)
    assert.equal(long.code, 1)
  })

  it('does not read on while the server does not, and ends when it is asked to stop', async t => {
    const { url } = await collecting(t, [{ message: () => new Promise(() => {}) }], { filterTimeout: 0 })
    const stdin = new PassThrough()
    const stop = new AbortController()
    const stdout = new PassThrough()
    const stderr = new PassThrough()
    const ended = main({
      argv: ['replay', '-', '--to', url],
      env: {},
      base: root,
      stdin,
      stdout,
      stderr,
      signal: stop.signal,
    })
    const line = lines({ client: 'a', data: 'x'.repeat(500_000) })
    let bytes = 0
    while (bytes < 100_000_000) {
      bytes += line.length
      if (
        !stdin.write(line) &&
        !(await Promise.race([
          once(stdin, 'drain').then(() => true),
          new Promise<boolean>(resolve => setTimeout(resolve, 500, false)),
        ]))
      )
        break
    }
    assert.ok(bytes < 50_000_000, `${bytes} bytes were read`)
    const stopped = performance.now()
    stop.abort()
    assert.equal(await ended, 0)
    // Less than the 10 s for closes that are not answered.
    assert.ok(performance.now() - stopped < 8000)
  })
})
