import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { describe, it, type TestContext } from 'node:test'
import jwt from 'jsonwebtoken'
import type { FilterModule } from '../../src/contract/filter.ts'
import { testServer } from '../../src/testing/index.ts'
import { folder, inside, launch, root } from '../support/cli.ts'
import { Peer, until } from '../support/peer.ts'
import { smallDisk } from '../support/small-disk.ts'
import { startTestServer } from '../support/test-server.ts'

const TOKEN = jwt.sign({ sub: 'ann' }, 'a-secret-of-32-characters-or-more')

const eventsIn = (path: string): Record<string, unknown>[] =>
  readFileSync(path, 'utf8')
    .split('\n')
    .slice(0, -1)
    .map(line => JSON.parse(line))

/** The events without their times, and without the first line. */
function recorded(path: string): Record<string, unknown>[] {
  const [first, ...events] = eventsIn(path)
  assert.equal(first!.recording, 1)
  let last = 0
  return events.map(({ at, ...event }) => {
    assert.ok((at as number) >= last - 1)
    last = at as number
    return event
  })
}

describe('record', () => {
  const options = (t: TestContext, more: object = {}) => ({ 'record-file': join(folder(t), 'r.jsonl'), ...more })

  it('writes the events of clients and channels, wherever it stands', async t => {
    for (const filters of [
      ['record', 'echo'],
      ['echo', 'record'],
    ]) {
      const chosen = options(t)
      const server = await testServer(filters, chosen)
      const ann = await server.connect({
        url: '/a?b=1',
        remote: '10.0.0.1',
        protocols: ['x', 'y'],
        headers: { 'User-Agent': 'u' },
      })
      ann.client.identity = 'ann'
      await ann.say('hello')
      await ann.say(Buffer.from([0, 255]))
      await server.publish('global', 'news')
      await server.server.publishTo('topic', 'operator')
      await ann.client.publish('topic', 'client')
      await ann.leave(4000, 'bye')
      await server.stop()
      const client = ann.client.id
      assert.deepEqual(recorded(chosen['record-file']), [
        {
          event: 'connect',
          client,
          remote: '10.0.0.1',
          url: '/a?b=1',
          protocols: ['x', 'y'],
          headers: { host: 'test', 'user-agent': 'u' },
        },
        { event: 'open', client, transport: 'websocket', remote: '10.0.0.1' },
        { event: 'message', client, data: 'hello' },
        { event: 'message', client, binary: 'AP8=' },
        { event: 'consumer', channel: 'global', data: 'news' },
        { event: 'publish', topic: 'topic', data: 'operator' },
        { event: 'publish', client, topic: 'topic', data: 'client' },
        { event: 'disconnect', client, code: 4000, reason: 'bye', clean: true },
      ])
    }
  })

  it('sees the clients of claimed paths, and plain requests', async t => {
    const chosen = options(t)
    const server = await launch(t, [
      '-f',
      'echo',
      'streams',
      'centrifuge',
      'record',
      '--record-file',
      chosen['record-file'],
      '--streams-rules',
      'a size=9 ttl=1h',
      '-p',
      '0',
    ])
    const socket = await Peer.open(`${server.url}/connection/websocket`)
    await fetch(`${server.url.replace('ws', 'http')}/page?token=x`)
    socket.ws.close()
    await server.stop()
    const events = recorded(chosen['record-file'])
    assert.deepEqual(events.map(({ event }) => event).sort(), ['connect', 'disconnect', 'open', 'request'])
    assert.equal(events.find(({ event }) => event === 'connect')!.url, '/connection/websocket')
    const { method, url, remote } = events.find(({ event }) => event === 'request')!
    assert.deepEqual([method, url, remote], ['GET', '/page?token=[redacted]', '127.0.0.1'])
  })

  it('has the identity that a guard has set, and what reaches it', async t => {
    const chosen = options(t)
    const guard: FilterModule = {
      stage: 'guard',
      connect: client => {
        client.identity = 'ann'
        client.hold()
      },
      message: (payload, client) => {
        if (payload !== 'password') return undefined
        client.admit()
        return client.drop()
      },
    }
    const server = await testServer([guard, 'record'], chosen)
    const ann = await server.connect()
    await ann.say('before')
    await ann.say('password')
    await ann.say('after')
    await server.stop()
    const [connect, open, ...others] = recorded(chosen['record-file'])
    assert.deepEqual([connect!.identity, open!.identity], ['ann', 'ann'])
    assert.deepEqual(
      others.map(({ event, data }) => data ?? event),
      ['after', 'disconnect'],
    )
  })

  describe('never writes', () => {
    const secret = 'c2VjcmV0'
    for (const [what, caller, messages] of [
      [
        'Authorization',
        { headers: { Authorization: `Digest ${secret}`, 'Proxy-Authorization': `Basic ${secret}` } },
        [],
      ],
      ['cookies', { headers: { Cookie: `a=${secret}; b=${secret}` } }, []],
      ['headers with the name of a secret', { headers: { 'X-Api-Key': secret, 'X-Auth-Token': secret } }, []],
      ['named headers', { headers: { 'X-Pin': secret } }, []],
      ['a token in the query', { url: `/?room=1&token=${secret}&access_token=${secret}` }, []],
      ['a named parameter', { url: `/?pin=${secret}` }, []],
      ['a token in the path', { url: `/a/${TOKEN}` }, []],
      ['a token as subprotocol', { protocols: ['v1', 'Bearer', secret, TOKEN] }, []],
      [
        'first messages with a token',
        {},
        [`{"auth":"${secret}"}`, `{"connect":{"token":"${secret}"},"id":1}\n{"id":2}`],
      ],
      ['named fields', {}, [`{"a":[{"PIN":"${secret}"}]}`]],
      ['a named field in binary', {}, [Buffer.from(`\x81\xa3PIN${secret}`, 'latin1'), `{"pin":"${secret}"}`]],
      ['a token in binary', {}, [Buffer.from(`\x85\xa6secret${secret}`, 'latin1'), Buffer.from(`x${TOKEN}`)]],
    ] as const)
      it(what, async t => {
        const chosen = options(t, { 'record-redact': ['pin', 'x-pin'] })
        const server = await testServer(['record'], chosen)
        const { client, say, leave } = await server.connect(caller)
        for (const message of messages) await say(message)
        await client.publish('topic', `{"token":"${secret}"}`)
        await server.publish('global', `{"token":"${secret}"}`)
        await leave()
        await server.stop()
        const text = readFileSync(chosen['record-file'], 'utf8')
        assert.ok(text.includes('[redacted]'))
        assert.ok(!text.includes(secret), text)
        assert.ok(!text.includes(Buffer.from(secret).toString('base64').slice(0, 8)), text)
        assert.ok(!text.includes(TOKEN), text)
        const { stderr } = await inside(
          ['run', '-f', 'echo', '--log-level', 'warn'],
          root,
          {},
          false,
          Readable.from([text]),
        )
        assert.equal(stderr, '')
      })
  })

  it('creates the file with mode 0600, and continues a recording behind its last complete line', async t => {
    const chosen = options(t)
    const path = chosen['record-file']
    await (await testServer(['record'], chosen)).stop()
    assert.equal(statSync(path).mode & 0o777, 0o600)
    const before = readFileSync(path, 'utf8')
    writeFileSync(path, `${before}{"event":"message","at":1,"client":"a","data":"${'x'.repeat(200_000)}`)
    chmodSync(path, 0o644)
    await (await testServer(['record'], chosen)).stop()
    assert.equal(statSync(path).mode & 0o777, 0o600)
    const text = readFileSync(path, 'utf8')
    assert.ok(text.startsWith(before))
    assert.deepEqual(
      eventsIn(path).map(({ recording }) => recording),
      [1, 1],
    )
  })

  for (const [what, prepare, message] of [
    [
      'no file',
      () => ({ 'record-file': undefined }),
      'filter record: --record-file is needed, such as --record-file recording.jsonl',
    ],
    ['a folder', (path: string) => void mkdirSync(path), /^filter record: --record-file cannot be used: EISDIR/],
    [
      'a folder that is missing',
      (path: string) => ({ 'record-file': join(path, 'x') }),
      /^filter record: --record-file cannot be used: ENOENT/,
    ],
    ['a link', (path: string) => symlinkSync('/dev/null', path), /^filter record: --record-file cannot be used: ELOOP/],
    [
      'a pipe',
      (path: string) => void execFileSync('mkfifo', [path]),
      /^filter record: --record-file cannot be used: .* is not a regular file$/,
    ],
    [
      'another file',
      (path: string) => writeFileSync(path, 'precious'),
      /^filter record: --record-file cannot be used: .* exists, and is not a recording$/,
    ],
  ] as const)
    it(`refuses ${what}`, async t => {
      const chosen = options(t)
      const changed = prepare(chosen['record-file'])
      await assert.rejects(testServer(['record'], { ...chosen, ...(changed as object | undefined) }), {
        code: 'ERR_OPTION',
        message,
      })
      if (what === 'another file') assert.equal(readFileSync(chosen['record-file'], 'utf8'), 'precious')
    })

  it('keeps a bounded number of files, each with complete lines and the version', async t => {
    const chosen = options(t, { 'record-max-bytes': 65_536, 'record-files': 3 })
    const server = await testServer(['record'], chosen)
    const { say, client } = await server.connect()
    for (let number = 0; number < 60; number++) {
      await say(`${number} ${'x'.repeat(number === 30 ? 100_000 : 9000)}`)
      await new Promise(setImmediate)
    }
    await server.stop()
    const path = chosen['record-file']
    assert.deepEqual(readdirSync(join(path, '..')).sort(), ['r.jsonl', 'r.jsonl.1', 'r.jsonl.2'])
    const events = [`${path}.2`, `${path}.1`, path].flatMap(file => {
      assert.ok(statSync(file).size <= 65_536)
      return recorded(file)
    })
    const numbers = events.slice(0, -1).map(({ data }) => Number.parseInt(data as string, 10))
    assert.deepEqual(
      numbers,
      Array.from(numbers, (_, i) => 60 - numbers.length + i),
    )
    assert.deepEqual(events.at(-1), { event: 'disconnect', client: client.id, code: 1006, reason: '', clean: false })
  })

  it('stops with one error when the disk is too slow, and the server goes on', async t => {
    const chosen = options(t, { 'record-max-buffered': 65_536 })
    const server = await startTestServer(t, ['record', 'echo'], chosen)
    const { say, received } = await server.connect()
    for (let number = 0; number < 20; number++) void say('x'.repeat(9000))
    await say('after')
    assert.equal(received.at(-1), 'after')
    const errors = server.logged.filter(({ level }) => level === 50)
    assert.deepEqual(
      errors.map(({ msg, err }) => [msg, (err as Error).message]),
      [
        [
          'recording has stopped; the server goes on',
          'more than --record-max-buffered, 65536 bytes, wait for the disk',
        ],
      ],
    )
  })

  it('stops with one error when the disk is full; the file ends with a complete line', async t => {
    const disk = smallDisk(t, 131_072)
    if (disk === undefined) return t.skip('no file system can be mounted')
    const path = join(disk, 'r.jsonl')
    const server = await testServer(['record', 'echo'], { 'record-file': path })
    const { say, received } = await server.connect()
    for (let number = 0; number < 30; number++) {
      await say('x'.repeat(9000))
      await new Promise(setImmediate)
    }
    await until(() => server.logged.some(({ level }) => level === 50))
    await say('after')
    assert.equal(received.at(-1), 'after')
    await server.stop()
    const errors = server.logged.filter(({ level }) => level === 50)
    assert.deepEqual(
      errors.map(({ err }) => (err as { code: string }).code),
      ['ENOSPC'],
    )
    assert.ok(recorded(path).length > 3)
  })

  it('leaves complete lines, except the last, when the process is killed', async t => {
    const path = join(folder(t), 'r.jsonl')
    // A disk that is slower than the clients would end the recording.
    const unbounded = ['--record-max-buffered', String(2 ** 27)]
    const server = await launch(t, ['-f', 'record', '--record-file', path, ...unbounded, '-p', '0'])
    const peers = await Promise.all(Array.from({ length: 5 }, () => server.connect()))
    for (const peer of peers)
      for (let number = 0; number < 10_000; number++) peer.send(`${number} ${'ä'.repeat(number % 500)}`)
    await until(() => existsSync(path) && statSync(path).size > 3_000_000, '3 MB')
    await server.kill()
    const lines = readFileSync(path, 'utf8').split('\n')
    const next = new Map<string, number>()
    for (const line of lines.slice(0, -1)) {
      const { event, client, data } = JSON.parse(line)
      if (event !== 'message') continue
      const number = Number.parseInt(data, 10)
      assert.equal(number, next.get(client) ?? 0)
      next.set(client, number + 1)
    }
    assert.ok(next.size > 0)
  })
})
