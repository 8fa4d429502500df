import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { describe, it } from 'node:test'
import { built, folder, inside, type Test } from '../support/cli.ts'
import { until } from '../support/peer.ts'

const FULL = 'ENOSPC: no space left on device, write'

/** Answers, closes, refuses, fails and waits as the messages say. */
const ROOM = `
  export const connect = client => (client.id === 'evil' ? client.refuse(403) : undefined)
  export const open = async client => {
    await new Promise(setImmediate)
    client.send('open ' + client.id + ' ' + client.handshake.url.pathname + ' ' + (client.identity ?? '-'))
  }
  export const message = async (payload, client, { at }) => {
    await new Promise(setImmediate)
    if (payload === 'fail') throw new Error('failed')
    if (payload === 'close') return client.disconnect(4000, 'bye')
    if (payload === 'when') return client.send('at ' + at)
    client.server.broadcast(payload)
  }
  export const disconnect = async (client, { code, reason }) => {
    await new Promise(setImmediate)
    client.server.broadcast(client.id + ' left ' + code + ' ' + reason)
  }
  export const consumer = ({ channel, payload }, server) => server.broadcast(channel + ': ' + payload)
`

const at = (t: Test, files: Readonly<Record<string, string>> = {}) => folder(t, { 'room.js': ROOM, ...files })

/** Runs the command with an input, in this process. */
async function offline(base: string, argv: readonly string[], input: string, env = {}) {
  const stdin = Readable.from(input === '' ? [] : [Buffer.from(input)])
  const { code, stdout, stderr } = await inside(['run', ...argv], base, env, false, stdin)
  const lines = stdout.split('\n').slice(0, -1)
  return { code, lines, stderr, said: stderr.split('\n').filter(line => line.startsWith('fws-server: ')) }
}

const lines = (...events: readonly object[]) => events.map(event => `${JSON.stringify(event)}\n`).join('')

describe('fws-server run', () => {
  for (const [what, argv, input, expected] of [
    [
      'opens a client at its first line, and disconnects all with 1000 at the end, in order of appearance',
      ['-f', './room.js'],
      lines({ client: 'a', data: 'x' }, { client: 'b', event: 'open', url: '/b', identity: 'bob' }),
      [
        '{"client":"a","data":"open a / -"}',
        '{"client":"a","data":"x"}',
        '{"client":"b","data":"open b /b bob"}',
        '{"client":"b","data":"a left 1000 "}',
      ],
    ],
    [
      'finishes a line before the next one is read, and prints what clients get in the order in which they have appeared',
      ['-f', './room.js'],
      lines({ client: 'a', event: 'open' }, { client: 'a', data: '1' }, { client: 'b', data: '2' }),
      [
        '{"client":"a","data":"open a / -"}',
        '{"client":"a","data":"1"}',
        '{"client":"a","data":"2"}',
        '{"client":"b","data":"open b / -"}',
        '{"client":"b","data":"2"}',
        '{"client":"b","data":"a left 1000 "}',
      ],
    ],
    [
      'runs the connect chain apart from the open chain, and gives message.at',
      ['-f', './room.js'],
      lines(
        { client: 'a', event: 'connect', url: '/a' },
        { client: 'a', event: 'open' },
        { client: 'a', data: 'when', at: 5 },
      ),
      ['{"client":"a","data":"open a /a -"}', '{"client":"a","data":"at 5"}'],
    ],
    [
      'disconnects a client with a code and a reason; a later line opens it again',
      ['-f', './room.js'],
      lines(
        { client: 'a', event: 'open' },
        { client: 'b', event: 'open' },
        { client: 'a', event: 'disconnect', code: 1006, reason: 'lost' },
        { client: 'a', event: 'open', url: '/2' },
        { client: 'b', event: 'disconnect' },
      ),
      [
        '{"client":"a","data":"open a / -"}',
        '{"client":"b","data":"open b / -"}',
        '{"client":"b","data":"a left 1006 lost"}',
        '{"client":"a","data":"open a /2 -"}',
        '{"client":"a","data":"b left 1000 "}',
      ],
    ],
    [
      'prints what the server closes and refuses, and ignores messages of those clients',
      ['-f', './room.js'],
      lines(
        { client: 'a', data: 'close' },
        { client: 'a', data: 'ignored' },
        { client: 'a', event: 'disconnect' },
        { client: 'evil', data: 'ignored' },
        { client: 'evil', event: 'open' },
      ),
      [
        '{"client":"a","data":"open a / -"}',
        '{"client":"a","closed":4000,"reason":"bye"}',
        '{"client":"evil","refused":403}',
        '{"client":"evil","refused":403}',
      ],
    ],
    [
      'passes events of channels and messages of the operator on',
      ['-f', './room.js'],
      lines(
        { client: 'a', event: 'open' },
        { event: 'consumer', channel: 'c', data: '1' },
        { event: 'publish', topic: '@everyone', data: '2' },
        { event: 'publish', topic: '@everyone', client: 'a', data: 'made by a message again' },
        { event: 'request', remote: '1.2.3.4' },
      ),
      ['{"client":"a","data":"open a / -"}', '{"client":"a","data":"c: 1"}', '{"client":"a","data":"2"}'],
    ],
    [
      'prints binary messages as base64, and several messages to a client one a line',
      ['-f', 'echo', 'echo'],
      lines({ client: '"ä"', binary: 'AP8=' }),
      ['{"client":"\\"ä\\"","binary":"AP8="}', '{"client":"\\"ä\\"","binary":"AP8="}'],
    ],
    [
      'reads lines as messages of one client, also empty ones and one without a line end',
      ['-f', 'echo', '--input', 'lines'],
      'a\r\n\n{"b"}',
      ['{"client":"-","data":"a"}', '{"client":"-","data":""}', '{"client":"-","data":"{\\"b\\"}"}'],
    ],
    [
      'prints what filters write to standard output',
      [],
      lines({ client: 'a', data: 'x' }),
      ['{"stdout":"--MESSAGE--\\na => x\\n"}'],
    ],
    [
      'accepts a recording and empty lines',
      ['-f', 'echo'],
      '{"recording":1}\n\n{"client":"a","data":"x"}',
      ['{"client":"a","data":"x"}'],
    ],
    [
      'prints bytes that filters write to standard output',
      ['-f', 'echo', 'stdout', '--input', 'lines'],
      'x\n',
      ['{"client":"-","data":"x"}', '{"stdout":"x\\n"}'],
    ],
    ['has no output for no input', ['-f', 'echo'], '', []],
  ] as const)
    it(what, async t => {
      const { code, lines, stderr } = await offline(at(t), argv, input)
      assert.deepEqual(lines, expected, stderr)
      assert.equal(code, 0, stderr)
    })

  it('goes on after a bad line and a filter that fails, and exits with 1', async t => {
    const input = lines({ client: 'a', event: 'open' }, { client: 'a', event: 'open' }, { client: 'a', data: 'on' })
    const bad = await offline(at(t), ['-f', './room.js'], `bad\x1b[2J\n${input}`)
    assert.deepEqual(bad.said, [
      'fws-server: line 1: a line is a JSON object, received bad\\x1b[2J',
      'fws-server: line 3: client a is open already',
    ])
    assert.deepEqual([bad.code, bad.lines.at(-1)], [1, '{"client":"a","data":"on"}'])
    const failed = await offline(
      at(t),
      ['-f', './room.js'],
      lines({ client: 'a', data: 'fail' }, { client: 'a', data: 'on' }),
    )
    assert.deepEqual([failed.code, failed.said, failed.lines.at(-1)], [1, [], '{"client":"a","data":"on"}'])
    assert.match(failed.stderr, /filter \.\/room\.js failed in its message handler/)
  })

  it('counts bad lines beyond the tenth', async t => {
    const { code, said } = await offline(at(t), ['-f', 'echo'], 'x\n'.repeat(30))
    assert.deepEqual([code, said.length, said.at(-1)], [1, 11, 'fws-server: 30 lines are bad'])
  })

  it('refuses lines and payloads that are too long', async t => {
    const line = (length: number) => lines({ client: 'a', data: 'x'.repeat(length) })
    const {
      code,
      lines: out,
      said,
    } = await offline(at(t), ['-f', 'echo', '--max-payload', '10'], line(10) + line(11) + line(100_000) + line(1))
    assert.deepEqual(said, [
      'fws-server: line 2: the payload has 11 bytes, --max-payload is 10',
      'fws-server: line 3: it is longer than --max-payload, 10 bytes, permits',
    ])
    assert.deepEqual([code, out.length], [1, 2])
  })

  it('ends at a recording of a newer version', async t => {
    const {
      code,
      said,
      lines: out,
    } = await offline(at(t), ['-f', 'echo'], '{"recording":2}\n{"client":"a","data":"x"}\n')
    assert.deepEqual(said, ['fws-server: line 1: the recording has version 2, and this fws-server reads version 1'])
    assert.deepEqual([code, out], [1, []])
  })

  it('refuses clients beyond --max-clients with 503', async t => {
    const { lines: out } = await offline(
      at(t),
      ['-f', 'echo', '--max-clients', '1'],
      lines({ client: 'a', data: '1' }, { client: 'b', data: '2' }),
    )
    assert.deepEqual(out, ['{"client":"a","data":"1"}', '{"client":"b","refused":503}'])
  })

  it('prints the verdicts with --trace', async t => {
    const base = at(t, {
      'up.js': 'export const message = payload => payload.toUpperCase()',
      'odd.js': 'export const message = (payload, client) => (payload === "X" ? client.drop() : undefined)',
    })
    const { lines: out } = await offline(
      base,
      ['-f', './up.js', './odd.js', '--trace'],
      lines({ client: 'a', data: 'x' }, { client: 'a', data: 'y' }),
    )
    const up = { client: 'a', chain: 'message', filter: './up.js', place: 1, verdict: 'rewrite' }
    const odd = { client: 'a', chain: 'message', filter: './odd.js', place: 2 }
    const traces = out.map(line => {
      const { us, ...rest } = JSON.parse(line)
      assert.ok(us >= 0)
      return rest
    })
    assert.deepEqual(traces, [
      { ...up, before: { data: 'x' }, after: { data: 'X' } },
      { ...odd, verdict: 'drop', before: { data: 'X' } },
      { ...up, before: { data: 'y' }, after: { data: 'Y' } },
      { ...odd, verdict: 'pass', before: { data: 'Y' } },
    ])
  })

  it('uses storage memory unless the command line names another; config file and environment keep their options of redis', async t => {
    const config =
      '{ "storage": "redis", "redis-url": "redis://127.0.0.1:1", "filters": ["echo"], "log-level": "warn" }'
    const base = at(t, { 'config.json': config })
    const env = { FWS_REDIS_PASSWORD: 'x' }
    const input = lines({ client: 'a', data: 'x' })
    const { code, lines: out, stderr } = await offline(base, ['-c', 'config.json'], input, env)
    assert.deepEqual([code, out, stderr], [0, ['{"client":"a","data":"x"}'], ''])
    const named = await offline(base, ['-c', 'config.json', '--storage', './none'], input)
    assert.match(named.stderr, /no storage "\.\/none"/)
  })

  it('has its own options on the command line only', async t => {
    const base = at(t, { 'config.json': '{ "input": "lines" }' })
    const { said } = await offline(base, ['-c', 'config.json'], '')
    assert.match(said[0]!, /config\.json:1:3: input is not an option; it belongs on the command line$/)
    const env = await offline(base, ['-f', 'echo'], lines({ client: 'a', data: 'x' }), { FWS_INPUT: 'lines' })
    assert.deepEqual(env.lines, ['{"client":"a","data":"x"}'])
    assert.match(env.stderr, /environment variable FWS_INPUT names no option/)
  })

  for (const [argv, message] of [
    [['-f', 'health'], '-f health needs a server that listens, and run has none; leave it out'],
    [['-f', 'stdin', 'echo'], '-f stdin needs a server that listens, and run has none; leave it out'],
    [
      ['-f', 'messaging', '--messaging-port', '0'],
      '-f messaging with --messaging-port needs a server that listens, and run has none; leave it out',
    ],
    [['--ignore', 'at'], '--ignore is given without --expect; it names fields that may differ'],
    [['--expect', './none'], /^--expect takes a file, received .*none: ENOENT/],
    [['--input', 'xml'], '--input takes one of json, lines, received "xml"'],
    [['--explain'], /^unknown option --explain/],
  ] as const)
    it(`refuses ${argv.join(' ')}`, async t => {
      const { code, said, lines: out } = await offline(at(t), argv, '')
      assert.deepEqual([code, out, said.length], [2, [], 1])
      const text = said[0]!.slice('fws-server: '.length)
      if (typeof message === 'string') assert.equal(text, message)
      else assert.match(text, message)
    })

  it('has help with the options of the chosen filters', async t => {
    const { code, lines: out } = await offline(at(t), ['-f', 'log', '--help'], '')
    assert.equal(code, 0)
    for (const option of ['--input', '--max-payload', '--log-max', '--memory-channels'])
      assert.ok(
        out.some(line => line.includes(` ${option} `)),
        option,
      )
  })

  it('ends with 0 when the reader of its output is gone, and when it is asked to stop', async t => {
    for (const end of ['reader', 'signal']) {
      const child = spawn(process.execPath, [...built, 'run', '-f', 'echo', '--input', 'lines'], { cwd: at(t) })
      t.after(() => void child.kill('SIGKILL'))
      const exited = once(child, 'exit')
      child.stdin.on('error', () => {})
      child.stdin.write('hello\n')
      await once(child.stdout, 'data')
      if (end === 'reader') {
        child.stdout.destroy()
        const timer = setInterval(() => child.stdin.write('hello\n'), 5)
        t.after(() => clearInterval(timer))
      } else child.kill('SIGTERM')
      assert.deepEqual(await exited, [0, null])
    }
  })

  it('ends with 1 and one line when its output is a full disk', t => {
    const full = openSync('/dev/full', 'w')
    t.after(() => closeSync(full))
    const { status, stderr } = spawnSync(process.execPath, [...built, 'run', '-f', 'echo', '--input', 'lines'], {
      cwd: at(t),
      input: 'hello\n',
      stdio: ['pipe', full, 'pipe'],
      encoding: 'utf8',
    })
    assert.deepEqual([status, stderr], [1, `fws-server: the output cannot be written: ${FULL}\n`])
  })

  it('ends with 1 when the output of a command is a full disk', t => {
    const full = openSync('/dev/full', 'w')
    t.after(() => closeSync(full))
    const { status, stderr } = spawnSync(process.execPath, [...built, 'token', '--sub', 'ann'], {
      env: { ...process.env, FWS_JWT_SECRET: 'a-secret-of-32-characters-or-more' },
      stdio: ['ignore', full, 'pipe'],
      encoding: 'utf8',
    })
    assert.deepEqual([status, stderr], [1, `fws-server: the output cannot be written: ${FULL}\n`])
  })

  it('waits for a slow reader of its output', async t => {
    const input = new PassThrough()
    const child = spawn(process.execPath, [...built, 'run', '-f', 'echo', '--input', 'lines'], { cwd: at(t) })
    t.after(() => void child.kill('SIGKILL'))
    input.pipe(child.stdin)
    const line = `${'x'.repeat(100_000)}\n`
    let written = 0
    while (input.write(line)) written++
    await until(() => input.writableNeedDrain && child.stdin.writableNeedDrain)
    const closed = once(child, 'close')
    let bytes = 0
    child.stdout.on('data', (chunk: Buffer) => {
      bytes += chunk.length
    })
    input.end()
    assert.deepEqual(await closed, [0, null])
    assert.equal(bytes, (written + 1) * (line.length + '{"client":"-","data":""}'.length))
  })
})

describe('fws-server run --expect', () => {
  const input = lines({ client: 'a', data: '{"id":1,"at":5,"in":{"at":6}}' }, { client: 'a', data: 'two' })
  const first = '{"client":"a","data":"{\\"id\\":1,\\"at\\":7,\\"in\\":{\\"at\\":8}}"}'

  for (const [what, expected, argv, difference] of [
    ['the same output', input, [], undefined],
    ['other times with --ignore', `${first}\n{"data":"two","client":"a"}\n\n`, ['--ignore', 'at', 'none'], undefined],
    [
      'other times',
      `${first}\n`,
      [],
      ['line 1 of the output differs from FILE', `- ${first}`, `+ ${input.split('\n')[0]}`],
    ],
    [
      'a line less',
      '{"client":"a","data":"{\\"id\\":1,\\"at\\":5,\\"in\\":{\\"at\\":6}}"}\n',
      [],
      ['line 2 of the output differs from FILE', '- (no further line)', '+ {"client":"a","data":"two"}'],
    ],
    ['a line more', `${input}{"client":"a"}`, [], ['the output has 2 lines, FILE has 3', '- {"client":"a"}']],
    [
      'no JSON',
      `${first}\nhello`,
      ['--ignore', 'at'],
      ['line 2 of the output differs from FILE', '- hello', '+ {"client":"a","data":"two"}'],
    ],
  ] as const)
    it(`compares with ${what}`, async t => {
      const base = at(t, { 'expected.jsonl': expected })
      const {
        code,
        lines: out,
        stderr,
      } = await offline(base, ['-f', 'echo', '--expect', 'expected.jsonl', ...argv], input)
      assert.deepEqual(out, [])
      const text = difference?.join('\n').replace('FILE', join(base, 'expected.jsonl'))
      assert.equal(stderr, text === undefined ? '' : `fws-server: ${text}\n`)
      assert.equal(code, text === undefined ? 0 : 1)
    })
})
