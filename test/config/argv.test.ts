import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { explained, folder, inside, refusalInside } from '../support/cli.ts'

const ELSEWHERE = 'which is not chosen'

describe('the command line refuses', { concurrency: 3 }, () => {
  for (const [argv, sentence] of [
    ['--rate-limit-bytes 5', `unknown option --rate-limit-bytes; it belongs to filter rate-limit, ${ELSEWHERE}`],
    ['-f echo --jwt_query token', `unknown option --jwt-query; it belongs to filter jwt, ${ELSEWHERE}`],
    ['--redis-url redis://x', `unknown option --redis-url; it belongs to storage redis, ${ELSEWHERE}`],
    ['--messaging-ntp x', `unknown option --messaging-ntp; it belongs to filter clock, ${ELSEWHERE}`],
    ['--pages-spa', `unknown option --pages-spa; it belongs to filter pages, ${ELSEWHERE}`],
    [
      '--broadcast-by-token-loose',
      `unknown option --broadcast-by-token-loose; it belongs to filter broadcast-by-token, ${ELSEWHERE}`,
    ],
    [
      '--rate-limit-mesages 5',
      'unknown option --rate-limit-mesages; did you mean --rate-limit-messages of filter rate-limit?',
    ],
    [
      '-f rate-limit --rate-limit-mesages 5',
      'unknown option --rate-limit-mesages; did you mean --rate-limit-messages?',
    ],
    ['--rate-limit-zzzzzzzzzzzz 5', 'unknown option --rate-limit-zzzzzzzzzzzz'],
    ['-v', 'unknown option -v; did you mean --version?'],
    ['-V', 'unknown option -V; did you mean --version?'],
    ['-H', 'unknown option -H; did you mean --help?'],
    ['-x', 'unknown option -x'],
    ['-wchat', 'unknown option -w'],
    ['-p -p 1', '--port needs a value'],
    ['-p 1 -p', '--port needs a value'],
  ] as const) {
    it(argv, async t => assert.equal(await refusalInside(argv.split(' '), folder(t)), sentence))
  }

  for (const asked of ['jwt,broadcast', 'echo,', './a,./b', ',', 'echo,log,jwt']) {
    it(`-f ${asked}, with the way to name several filters`, async t =>
      assert.equal(
        (await refusalInside(['-f', asked], folder(t))).split('\n')[0],
        `no filter "${asked}"; separate names by spaces after -f, and in a file or a call as an array`,
      ))
  }
})

describe('a word after an option that takes a value is not shown', () => {
  for (const argv of [
    '--storage redis --redis-password -fhunter2',
    '--storage redis --redis-password -chunter2',
    '--redis_password -fhunter2',
    '-f jwt --jwt-secret -chunter2',
    '--key-passphrase -fhunter2',
    '--key-passphrase -phunter2',
  ]) {
    it(argv, async t => assert.doesNotMatch(await refusalInside(argv.split(' '), folder(t)), /hunter|unter2/))
  }
})

describe('the command line understands', { concurrency: 3 }, () => {
  for (const [argv, name, value] of [
    ['-p 1 -p 2', 'port', '2'],
    ['--port 1 -p 3 --port=2', 'port', '2'],
    ['--compress --no-compress', 'compress', 'false'],
    ['--no-compress --compress', 'compress', 'true'],
    ['--log-level debug --log-level warn', 'log-level', 'warn'],
    ['-f echo -f log', 'filters', 'echo log'],
    ['-fecho', 'filters', 'echo'],
    ['-fecho log', 'filters', 'echo log'],
    ['--compress -fecho', 'filters', 'echo'],
    ['--no-compress -fecho', 'filters', 'echo'],
    ['--host=::1 -fecho', 'filters', 'echo'],
    ['-f=echo', 'filters', 'echo'],
    ['-p8123', 'port', '8123'],
    ['-p=8123', 'port', '8123'],
    ['-port 8123', 'port', '8123'],
    ['-max_clients=5', 'max-clients', '5'],
    ['-filters echo -host ::1', 'host', '::1'],
  ] as const) {
    it(argv, async t => {
      const { code, stdout, stderr } = await inside([...argv.split(' '), '--explain'], folder(t))
      assert.equal(code, 0, stderr)
      assert.equal(explained(stdout).get(name)![0], value)
    })
  }
})

describe('--help works', { concurrency: 3 }, () => {
  for (const [what, argv, problem] of [
    ['with an option without a value', '-p --help', ''],
    ['with -f without a value', '--help -f', ''],
    ['with an unknown option', '--help --prot 1', ''],
    ['with a word', '--help broadcast', ''],
    ['with a wrong value', '--help --log-level loud -p abc --storage memory', ''],
    ['with a misplaced guard', '-f log jwt --help', ''],
    ['with an option that a filter needs', '-f pages --help', ''],
    ['with a config file that is missing', '-c nowhere.json --help', 'cannot read config file '],
    ['with a config file that is broken', '-c broken.json -h', 'DIR/broken.json:1:3: '],
    ['with a storage that is missing', '--storage memroy --help', 'no storage "memroy"; did you mean "memory"?'],
    ['with a filter that fails', '-f ./fails.js --help', 'cannot load filter ./fails.js: DIR/fails.js:1 fails: boom'],
    ['with a filter of a wrong shape', '-f ./wrong.js --help', 'filter ./wrong.js: '],
    ['with options that clash', '-f ./clash.js --help', 'option --port is claimed by core and by filter clash'],
  ] as const) {
    it(what, async t => {
      const cwd = folder(t, {
        'broken.json': '{ port: 1 }',
        'fails.js': "throw new Error('boom')",
        'wrong.js': 'export const message = 5',
        'clash.js': "export const options = { port: { type: 'number' } }\nexport const message = () => {}",
      })
      const { code, stdout, stderr } = await inside(argv.split(' '), cwd)
      assert.equal(code, 0, stderr)
      assert.match(stdout, /^fws-server -f FILTER\.\.\. \[options\]\n/)
      const start = `fws-server: options are missing above: ${problem.replace('DIR', cwd)}`
      if (problem === '') assert.equal(stderr, '')
      else assert.equal(stderr.slice(0, start.length), start)
    })
  }

  it('with all commands', async t => {
    const { stdout } = await inside(['--help'], folder(t))
    const [, list] = /^Commands, each with --help:\n((?: {2}.*\n)+)/m.exec(stdout)!
    const commands = list!.trimEnd().split('\n')
    assert.ok(commands.includes('  listen  Write each message of a server as a line'), list)
    for (const line of commands) {
      const [, name] = /^ {2}(\w+) +[A-Z].*[^.]$/.exec(line)!
      const { code, stdout, stderr } = await inside([name!, '--help'], folder(t))
      assert.deepEqual({ code, stderr }, { code: 0, stderr: '' })
      assert.ok(stdout.startsWith(`fws-server ${name} `), stdout)
    }
    assert.equal(
      await refusalInside(['lisen', 'ws://127.0.0.1:9000'], folder(t)),
      'unknown command "lisen"; did you mean "listen"?',
    )
  })

  it('with the options of the other filters', async t => {
    const { stdout } = await inside(['-f', 'jwtt', 'rate-limit', 'log', '--help'], folder(t))
    assert.deepEqual(stdout.match(/^(Filter|Storage) .*:$/gm), ['Storage memory:', 'Filter rate-limit:', 'Filter log:'])
  })
})

describe('an option without a description', () => {
  const PLAIN = `export const options = { 'plain-size': { type: 'number' }, 'plain-key': { type: 'string', demandOption: true } }
export const setup = ({ options }) => ({ message: () => JSON.stringify(options) })`

  it('is listed in the help', async t => {
    const { stdout } = await inside(['-f', './plain', '--help'], folder(t, { 'plain.js': PLAIN }))
    assert.match(stdout, /^Filter plain:\n {6}--plain-size +\[number\]\n {6}--plain-key +\[string\] \[required\]$/m)
  })

  it('can be required', async t => {
    assert.equal(
      await refusalInside(['-f', './plain'], folder(t, { 'plain.js': PLAIN })),
      'filter plain needs --plain-key',
    )
  })

  for (const [describe, received] of [
    ['5', '5'],
    ['null', 'null'],
    ["['a']", '["a"]'],
    ['{}', '{}'],
    ['true', 'true'],
  ] as const) {
    it(`is not one with the description ${describe}`, async t => {
      const files = {
        'odd.js': `export const options = { 'odd-a': { type: 'number', describe: ${describe} } }\nexport const message = () => {}`,
      }
      assert.equal(
        await refusalInside(['-f', './odd'], folder(t, files)),
        `filter ./odd: the description of option "odd-a" must be a string, received ${received}`,
      )
    })
  }
})

describe('an option of one place', () => {
  for (const [filters, sentence] of [
    [
      '[["rate-limit", {"mesages": 5}]]',
      'my.json:1:31: mesages is not an option of filter rate-limit; did you mean "messages"?',
    ],
    [
      '[["rate-limit", {"rate-limit-mesages": 5}]]',
      'my.json:1:31: rate-limit-mesages is not an option of filter rate-limit; did you mean "rate-limit-messages"?',
    ],
    ['[["rate-limit", {"colour": 5}]]', 'my.json:1:31: colour is not an option of filter rate-limit'],
    ['[["echo", {"max": 5}]]', 'my.json:1:25: max is not an option of filter echo, which has none'],
    [
      '[["log", {"port": 5}]]',
      'my.json:1:24: port is not an option of filter log; it belongs to the server, not to one place',
    ],
    [
      '["log", ["echo", {"log-max": 5}]]',
      'my.json:1:32: log-max is not an option of filter echo; it belongs to filter log',
    ],
    ['[["log", {"help": true}]]', 'my.json:1:24: help is not an option of filter log; it belongs on the command line'],
  ] as const) {
    it(`is refused with its filter: ${filters}`, async t => {
      const cwd = folder(t, { 'my.json': `{ "filters": ${filters} }` })
      assert.equal((await refusalInside(['-c', 'my.json'], cwd)).replace(`${cwd}/`, ''), sentence)
    })
  }
})

describe('a variable of the environment', () => {
  for (const [variable, hint] of [
    ['FWS_RATE_LIMIT_BYTES', '; it belongs to filter rate-limit, which is not chosen'],
    ['FWS_REDIS_HOST', '; it belongs to storage redis, which is not chosen'],
    ['FWS_PROT', '; did you mean FWS_PORT?'],
    ['FWS_JWT_ALGORITMS', '; did you mean FWS_JWT_ALGORITHMS of filter jwt?'],
    ['FWS_WEATHER', ''],
  ] as const) {
    it(`${variable} that names no option is only a warning`, async t => {
      const { code, stderr } = await inside(['-p', '0', '-f', 'echo'], folder(t), { [variable]: '1' })
      assert.equal(code, 'a server')
      assert.equal(JSON.parse(stderr.split('\n')[0]!).msg, `environment variable ${variable} names no option${hint}`)
    })
  }
})

describe('the log in a terminal', () => {
  for (const [env, hasColors] of [
    [{}, true],
    [{ NO_COLOR: '' }, true],
    [{ NO_COLOR: '1' }, false],
    [{ NO_COLOR: '0' }, false],
    [{ NO_COLOR: 'false' }, false],
    [{ TERM: 'dumb' }, false],
    [{ TERM: 'xterm' }, true],
  ] as const) {
    it(`${hasColors ? 'has' : 'has no'} colors with ${JSON.stringify(env)}`, async t => {
      const { stderr } = await inside(['-p', '0', '-f', 'echo'], folder(t), env, true)
      assert.match(stderr, /listening on /)
      assert.equal(stderr.includes('\x1b['), hasColors)
    })
  }
})
