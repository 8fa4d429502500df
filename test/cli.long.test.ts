import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { join, relative } from 'node:path'
import { describe, it } from 'node:test'
import { pathToFileURL } from 'node:url'
import { selfSigned } from './support/certificates.ts'
import { explained, folder, Launched, launch, refusal, root, run } from './support/cli.ts'
import { Peer, until } from './support/peer.ts'

/** A filter with a required option, a secret, and one option of each other type. */
const VAULT = `
import type { Host, OptionSpecs } from 'filtered-websocket'
export const options = {
  'vault-key': { type: 'string', secret: true, demandOption: true, describe: 'what opens the vault' },
  'vault-depth': { type: 'number', default: 3, min: 1, integer: true, describe: 'metres under ground' },
  'vault-ratio': { type: 'number', default: 0.5, describe: 'any number' },
  'vault-open': { type: 'boolean', default: false, describe: 'whether it stands open' },
  'vault-owners': { type: 'array', default: [], describe: 'who may enter' },
  'vault-alarm': { type: 'string', choices: ['loud', 'silent'], default: 'loud', describe: 'kind of alarm' },
} as const satisfies OptionSpecs
export const setup = ({ options }: Host<typeof options>) => ({
  message: () => JSON.stringify(options),
})
`

/** Lines of a help text under a heading. */
function section(help: string, heading: string): string {
  const [, text = ''] = help.split(`\n${heading}\n`)
  return text.split('\n\n')[0]!
}

/** Long names of the options in a section of the help. */
const flagsIn = (text: string) => [...text.matchAll(/^ +(?:-\w, )?--(\S+)/gm)].map(([, name]) => name)

describe('fws-server --help', { concurrency: 3 }, () => {
  it('goes to standard output only, and exits 0', async () => {
    const { code, stdout, stderr } = await run(['--help'])
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' })
    assert.match(stdout, /^fws-server -f FILTER\.\.\. \[options\]\n/)
  })

  it('groups the options by their owner, each with its type and default, and gives examples', async () => {
    const { stdout } = await run(['-h'])
    assert.deepEqual(stdout.match(/^\S.*:$/gm), [
      'Options:',
      'Storage memory:',
      'Examples:',
      'Commands, each with --help:',
      'Built-in filters:',
    ])
    assert.deepEqual(flagsIn(section(stdout, 'Options:')), [
      'filters',
      'config',
      'port',
      'host',
      'hosts',
      'health-path',
      'origins',
      'trust-proxy',
      'key',
      'cert',
      'key-passphrase',
      'ca',
      'client-cert',
      'storage',
      'compress',
      'compress-threshold',
      'max-payload',
      'max-control',
      'max-buffered',
      'max-queued',
      'slow-clients',
      'max-clients',
      'heartbeat',
      'filter-timeout',
      'handshake-timeout',
      'hold-timeout',
      'drain',
      'log-level',
      'log-format',
      'explain',
      'help',
      'version',
    ])
    assert.deepEqual(flagsIn(section(stdout, 'Storage memory:')), [
      'memory-channels',
      'memory-streams-bytes',
      'memory-streams-topics',
    ])
    assert.match(stdout, /^ {2}-p, --port +Port to listen on; 0 selects a free port +\[number\] \[default: 9000\]$/m)
    assert.match(section(stdout, 'Examples:'), /fws-server -f log \.\/my-filter\.ts broadcast/)
  })

  it('lists the built-in filters, each with the description of its module', async () => {
    const { stdout } = await run(['--help'])
    const lines = section(stdout, 'Built-in filters:').split('\n')
    const listed = lines.map(line => /^ {2}(\S+) +(\S.*)$/.exec(line)!.slice(1))
    const names = readdirSync(join(root, 'filters')).flatMap(file => (file.endsWith('.ts') ? [file.slice(0, -3)] : []))
    assert.deepEqual(
      listed.map(([name]) => name),
      names.sort(),
    )
    for (const [name, description] of listed) {
      const { describe: exported } = await import(pathToFileURL(join(root, 'dist/filters', `${name}.js`)).href)
      assert.equal(description, exported)
      assert.match(exported, /^[A-Z][^\n]{9,69}(?<!\.)$/)
    }
  })

  it('shows the options of a filter under their own heading only if -f names it', async () => {
    const [chosen, other] = await Promise.all([run(['-f', 'rate-limit', 'log', '--help']), run(['--help'])])
    assert.deepEqual(flagsIn(section(chosen.stdout, 'Filter rate-limit:')), [
      'rate-limit-messages',
      'rate-limit-bytes',
      'rate-limit-grace',
      'rate-limit-warning',
      'rate-limit-connects',
      'rate-limit-clients',
      'rate-limit-identity-messages',
      'rate-limit-identity-bytes',
      'rate-limit-identity-connects',
    ])
    assert.deepEqual(flagsIn(section(chosen.stdout, 'Filter log:')), ['log-max'])
    assert.doesNotMatch(other.stdout, /rate-limit-messages|log-max/)
  })

  it('shows the options of a filter whose required option is missing', async t => {
    const cwd = folder(t, { 'vault.ts': VAULT })
    const { code, stdout } = await run(['-f', './vault.ts', '--help'], { cwd })
    assert.equal(code, 0)
    assert.match(section(stdout, 'Filter vault:'), /--vault-key +what opens the vault +\[string\] \[required\]/)
  })

  it('shows the options of filters even if an option is wrong', async () => {
    const { code, stdout } = await run(['-f', 'log', '-p', 'abc', '--help'])
    assert.equal(code, 0)
    assert.deepEqual(flagsIn(section(stdout, 'Filter log:')), ['log-max'])
  })

  it('does not print the default of a secret', async t => {
    const options = `{ 'mole-key': { type: 'string', secret: true, default: 'hunter2', describe: 'a key' } }`
    const cwd = folder(t, { 'mole.js': `export const options = ${options}\nexport const message = () => {}` })
    const { stdout } = await run(['-f', './mole.js', '--help'], { cwd })
    assert.match(stdout, /--mole-key +a key +\[string\] \[default: none\]/)
    assert.doesNotMatch(stdout, /hunter2/)
  })

  it('works without a filter that is missing, and says so on standard error', async () => {
    const { code, stdout, stderr } = await run(['-f', 'brodcast', 'log', '--help'])
    assert.equal(code, 0)
    assert.deepEqual(flagsIn(section(stdout, 'Filter log:')), ['log-max'])
    assert.match(stderr, /^fws-server: options are missing above: no filter "brodcast"; did you mean "broadcast"\?\n/)
  })
})

describe('fws-server --version', () => {
  it('prints only the version of the package', async () => {
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
    assert.deepEqual(await run(['--version']), { code: 0, signal: null, stdout: `${version}\n`, stderr: '' })
  })
})

describe('fws-server --explain', { concurrency: 3 }, () => {
  it('prints which file adds which handler to which chain, in order, and exits', async t => {
    const cwd = folder(t, {
      'parts/twice.js': 'export const message = [() => {}, () => {}]\nexport const open = () => {}',
      'door.js':
        "export const stage = 'guard'\nexport const connect = () => {}\nexport const [message, start, stop] = [() => {}, () => {}, () => {}]",
      'needy.js': "export const uses = ['echo']\nexport const [disconnect, start] = [() => {}, () => {}]",
    })
    const { code, stdout } = await run(['-f', './door', './parts/twice.js', 'broadcast', './needy', '--explain'], {
      cwd,
    })
    const builtin = (file: string) => relative(cwd, join(root, 'dist', file))
    assert.equal(code, 0)
    assert.deepEqual(stdout.split('\n\noptions of core\n')[0]!.replace(/ {2,}/g, '  ').split('\n'), [
      'chains',
      '  start',
      '  1. ./door  door.js  (guard)',
      '  2. ./needy  needy.js  (uses echo)',
      '  connect',
      '  1. ./door  door.js  (guard)',
      '  open',
      '  1. ./parts/twice.js  parts/twice.js',
      '  message',
      '  1. ./door  door.js  (guard)',
      '  2. ./parts/twice.js  parts/twice.js',
      '  3. ./parts/twice.js  parts/twice.js',
      `  4. broadcast  ${builtin('filters/broadcast.js')}`,
      `  5. echo  ${builtin('filters/echo.js')}`,
      '  disconnect',
      '  1. ./needy  needy.js  (uses echo)',
      '  stop',
      '  1. ./door  door.js  (guard)',
      '',
      'storage',
      `  memory  ${builtin('storage/memory.js')}`,
    ])
  })

  it('prints the value and the source of every option', async t => {
    const cwd = folder(t, { 'my.json': '{ "drain": 7, "origins": ["http://a", "http://b"] }' })
    const { stdout } = await run(['-p', '0', '-c', 'my.json', '--explain'], { cwd, env: { FWS_HEARTBEAT: '5' } })
    const options = explained(stdout)
    assert.deepEqual(
      ['port', 'config', 'heartbeat', 'drain', 'origins', 'max-clients', 'hosts', 'key', 'memory-channels'].map(
        name => [name, ...options.get(name)!],
      ),
      [
        ['port', '0', 'flag'],
        ['config', join(cwd, 'my.json'), 'flag'],
        ['heartbeat', '5', 'env FWS_HEARTBEAT'],
        ['drain', '7', 'my.json'],
        ['origins', 'http://a http://b', 'my.json'],
        ['max-clients', '10000', 'default'],
        ['hosts', '(none)', 'default'],
        ['key', '(none)', 'default'],
        ['memory-channels', 'global', 'default'],
      ],
    )
  })

  it('shows the options of each position in the chain that has its own', async t => {
    const cwd = folder(t, {
      'my.json': '{ "filters": [["log", { "max": 3 }], "log", ["log", { "log-max": 9 }]] }',
    })
    const { stdout } = await run(['-c', 'my.json', '--explain'], { cwd })
    assert.deepEqual(stdout.slice(stdout.indexOf('\noptions of filter log\n')).replace(/ {2,}/g, '  ').split('\n'), [
      '',
      'options of filter log',
      '  log-max  200  default',
      '',
      'options of filter log, at place 1',
      '  log-max  3  my.json',
      '',
      'options of filter log, at place 3',
      '  log-max  9  my.json',
      '',
    ])
  })

  for (const [from, argv, env] of [
    ['a flag', ['--vault-key', 'hunter2'], {}],
    ['the environment', [], { FWS_VAULT_KEY: 'hunter2' }],
    ['a file', [], { FWS_VAULT_KEY_FILE: 'key.txt' }],
    ['the config file', ['-c', 'my.json'], {}],
  ] as const) {
    it(`masks a secret that comes from ${from}`, async t => {
      const cwd = folder(t, {
        'vault.ts': VAULT,
        'key.txt': 'hunter2\n',
        'my.json': '{ "filters": [["./vault", { "key": "hunter2" }]], "vault-key": "hunter2" }',
      })
      const { code, stdout, stderr } = await run(['-f', './vault.ts', ...argv, '--explain'], { cwd, env })
      assert.equal(code, 0, stderr)
      assert.equal(explained(stdout).get('vault-key')![0], '********')
      assert.doesNotMatch(stdout + stderr, /hunter2/)
    })
  }

  it('stops the filters that it set up', async t => {
    const cwd = folder(t, {
      'noted.js':
        "export const setup = ({ log }) => ({ start() { log.info('started') }, stop: () => log.info('stopped') })",
    })
    const { code, stderr } = await run(['-f', './noted.js', '--explain'], { cwd })
    assert.equal(code, 0)
    assert.deepEqual(
      stderr
        .trimEnd()
        .split('\n')
        .map(line => JSON.parse(line).msg),
      ['stopped'],
    )
  })

  it('exits even if a setup leaves a timer running', async t => {
    const cwd = folder(t, { 'busy.js': 'export const setup = () => void setInterval(() => {}, 1000)' })
    const { code } = await run(['-f', './busy.js', '--explain'], { cwd })
    assert.equal(code, 0)
  })

  it('does not listen', async t => {
    const taken = await takenPort(t)
    const { code, stderr } = await run(['-p', `${taken}`, '--explain'])
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' })
  })
})

describe('fws-server refuses, in one sentence and with exit 2,', { concurrency: 3 }, () => {
  const LEVELS = 'trace, debug, info, warn, error, fatal, silent'
  for (const [argv, sentence] of [
    ['-p abc', '--port takes a whole number from 0 to 65535, received "abc"'],
    ['-p 70000', '--port takes a whole number from 0 to 65535, received "70000"'],
    ['-p -1', '--port takes a whole number from 0 to 65535, received "-1"'],
    ['--port=80.5', '--port takes a whole number from 0 to 65535, received "80.5"'],
    ['--max-payload 0', '--max-payload takes a whole number from 1 to 536870888, received "0"'],
    ['--max-payload 2147483648', '--max-payload takes a whole number from 1 to 536870888, received "2147483648"'],
    ['--drain Infinity', '--drain takes a number from 0 to 2147483, received "Infinity"'],
    ['-p', '--port needs a value'],
    ['-p --host localhost', '--port needs a value'],
    ['-f', '--filters needs a value'],
    ['--host=', '--host needs a value'],
    ['--prot 1', 'unknown option --prot; did you mean --port?'],
    ['--max_paylod 1', 'unknown option --max-paylod; did you mean --max-payload?'],
    ['--rate-limit-bytes 5', 'unknown option --rate-limit-bytes; it belongs to filter rate-limit, which is not chosen'],
    ['-x', 'unknown option -x'],
    ['broadcast', 'unexpected word "broadcast"; filters are named after -f'],
    ['-f echo -p 0 broadcast', 'unexpected word "broadcast"; filters are named after -f'],
    [
      '--origins https://*.com',
      '--origins: * must be a complete label and not one of the last two, as in https://*.example.com, received "https://*.com"',
    ],
    [
      '--trust-proxy 10.0.0.0/33',
      '--trust-proxy takes addresses, ranges such as 10.0.0.0/8, loopback, or unix, received "10.0.0.0/33"',
    ],
    ['--key key.pem', '--key is given without --cert; TLS needs both'],
    ['--cert cert.pem', '--cert is given without --key; TLS needs both'],
    ['--log-level loud', `--log-level takes one of ${LEVELS}, received "loud"`],
    ['--log-level inof', `--log-level takes one of ${LEVELS}, received "inof"; did you mean "info"?`],
    ['--slow-clients wait', '--slow-clients takes one of close, drop, received "wait"'],
    [
      '-p 0 -f broadcast-by-token --broadcast-by-token-loose=no',
      '--broadcast-by-token-loose takes true or false, received "no"',
    ],
    ['-p 0 --filter-timeout 1e7', '--filter-timeout takes a number from 0 to 2147483, received "1e7"'],
  ] as const) {
    it(argv, async () => assert.equal(await refusal(argv.split(' ')), sentence))
  }

  it('a key file that cannot be read', async t => {
    const cwd = folder(t)
    assert.equal(
      await refusal(['-p', '0', '--key', 'k.pem', '--cert', 'c.pem'], { cwd }),
      `--key ${join(cwd, 'k.pem')} cannot be read: ENOENT: no such file or directory, open '${join(cwd, 'k.pem')}'`,
    )
  })

  it('a filter without its required option', async t => {
    const cwd = folder(t, { 'vault.ts': VAULT })
    assert.equal(await refusal(['-f', './vault'], { cwd }), 'filter vault needs --vault-key: what opens the vault')
  })

  it('a number given twice, whose last value is wrong', async () => {
    assert.equal(await refusal(['-p', '1', '-p', 'x']), '--port takes a whole number from 0 to 65535, received "x"')
  })

  it('a mistyped filter, with the nearest name and all places tried', async t => {
    const cwd = folder(t)
    assert.deepEqual((await refusal(['-f', 'brodcast'], { cwd })).split('\n'), [
      'no filter "brodcast"; did you mean "broadcast"?',
      'tried: built-in filters',
      `       package filtered-websocket-brodcast from ${cwd}`,
      `       package brodcast from ${cwd}`,
      `       ${cwd}/brodcast(.ts|.mts|.js|.mjs|.cjs)`,
      `       ${cwd}/brodcast/index(.ts|.mts|.js|.mjs|.cjs)`,
    ])
  })

  it('a mistyped storage', async t => {
    const cwd = folder(t)
    assert.match(
      await refusal(['--storage', 'memroy'], { cwd }),
      /^no storage "memroy"; did you mean "memory"\?\ntried: /,
    )
  })

  it('and exits even if a filter leaves a timer running', async t => {
    const cwd = folder(t, { 'busy.js': 'setInterval(() => {}, 1000)\nexport const message = () => {}' })
    assert.equal(
      await refusal(['-f', './busy.js', '--prot', '1'], { cwd }),
      'unknown option --prot; did you mean --port?',
    )
  })
})

describe('fws-server accepts values', { concurrency: 3 }, () => {
  it('of every type, and passes them to the filter that owns them', async t => {
    const cwd = folder(t, { 'vault.ts': VAULT })
    const owners = ['--vault-owners', 'ann', 'bob', '--vault-owners', 'cy']
    const argv = ['--vault-key', '-5', '--vault-depth=12', '--vault-ratio', '-0.25', '--vault-open', ...owners]
    const server = await launch(t, ['-p', '0', '-f', './vault', 'echo', ...argv], { cwd })
    const peer = await Peer.open(server.url)
    peer.send('?')
    const [text] = await peer.get(1)
    const own = Object.entries(JSON.parse(String(text))).filter(([name]) => name.startsWith('vault'))
    assert.deepEqual(Object.fromEntries(own), {
      'vault-key': '-5',
      'vault-depth': 12,
      'vault-ratio': -0.25,
      'vault-open': true,
      'vault-owners': ['ann', 'bob', 'cy'],
      'vault-alarm': 'loud',
    })
  })

  it('after one -f or several', async () => {
    const [one, several] = await Promise.all([
      run(['-f', 'echo', 'log', '--explain']),
      run(['-f', 'echo', '-f', 'log', '--explain']),
    ])
    assert.deepEqual(explained(one.stdout).get('filters'), ['echo log', 'flag'])
    assert.deepEqual(explained(several.stdout).get('filters'), ['echo log', 'flag'])
  })

  it('of a boolean as --no-NAME', async () => {
    const { stdout } = await run(['-f', 'broadcast-by-token', '--no-broadcast-by-token-loose', '--explain'], {
      env: { FWS_BROADCAST_BY_TOKEN_LOOSE: 'true' },
    })
    assert.deepEqual(explained(stdout).get('broadcast-by-token-loose'), ['false', 'flag'])
  })

  it('from flags before the environment, the config file and the default', async t => {
    const cwd = folder(t, { 'my.json': '{ "max-clients": 3 }' })
    const seen = async (argv: string[], env: Record<string, string>) =>
      explained((await run([...argv, '--explain'], { cwd, env })).stdout).get('max-clients')
    const file = ['-c', 'my.json']
    const env = { FWS_MAX_CLIENTS: '2' }
    assert.deepEqual(
      await Promise.all([seen(['--max-clients', '1', ...file], env), seen(file, env), seen(file, {}), seen([], {})]),
      [
        ['1', 'flag'],
        ['2', 'env FWS_MAX_CLIENTS'],
        ['3', 'my.json'],
        ['10000', 'default'],
      ],
    )
  })

  it('of filters only from the first source that names any', async t => {
    const cwd = folder(t, { 'my.json': '{ "filters": ["log"] }' })
    const seen = async (argv: string[], env: Record<string, string>) =>
      explained((await run([...argv, '-c', 'my.json', '--explain'], { cwd, env })).stdout).get('filters')
    const env = { FWS_FILTERS: 'stdout-messages' }
    assert.deepEqual(await Promise.all([seen(['-f', 'echo'], env), seen([], env), seen([], {})]), [
      ['echo', 'flag'],
      ['stdout-messages', 'env FWS_FILTERS'],
      ['log', 'my.json'],
    ])
  })
})

describe('fws-server with the spelling of filtered_websocket (Python)', { concurrency: 3 }, () => {
  it('accepts -key and -cert, and serves TLS', async t => {
    const { key, cert } = await selfSigned()
    const cwd = folder(t, { 'key.pem': key, 'cert.pem': cert })
    const server = await launch(t, ['-p', '0', '-f', 'echo', '-key', 'key.pem', '-cert', 'cert.pem'], { cwd })
    assert.match(server.url, /^wss:\/\/127\.0\.0\.1:\d+$/)
    const peer = await Peer.open(server.url, { rejectUnauthorized: false })
    peer.send('hello')
    assert.deepEqual(await peer.get(1), ['hello'])
  })

  it('accepts flags in snake_case and camelCase', async () => {
    const { stdout } = await run(['--max_payload', '5', '--memory_channels', 'a', 'b', '--maxClients=7', '--explain'])
    const options = explained(stdout)
    assert.deepEqual(
      ['max-payload', 'memory-channels', 'max-clients'].map(name => options.get(name)),
      [
        ['5', 'flag'],
        ['a b', 'flag'],
        ['7', 'flag'],
      ],
    )
  })

  it('accepts the dotted names of the six filters', async () => {
    const names = {
      broadcast_messages: 'broadcast',
      broadcast_messages_by_token: 'broadcast-by-token',
      broadcast_pubsub: 'broadcast-pubsub',
      stdout_messages: 'stdout-messages',
      stdout_pubsub: 'stdout-pubsub',
      stdout_rawdata: 'stdout-rawdata',
    }
    const dotted = Object.keys(names).map(name => `filtered_websocket.filters.${name}`)
    const { stdout } = await run(['-f', ...dotted, '--explain'])
    const files = [...stdout.matchAll(/filtered_websocket\.filters\.(\w+) +dist\/filters\/(\S+)\.js/g)]
    assert.deepEqual(Object.fromEntries(files.map(([, old, ours]) => [old, ours])), names)
  })

  it('refuses an unknown dotted name', async () => {
    assert.match(
      await refusal(['-f', 'filtered_websocket.filters.stdout_mesages']),
      /^no filter "filtered_websocket\.filters\.stdout_mesages"; did you mean "stdout-messages"\?\n/,
    )
  })

  for (const name of ['filtered_websocket.storage_objects.default', 'memory']) {
    it(`accepts STORAGE_OBJECT_MODULE=${name}`, async () => {
      const { code, stdout } = await run(['--explain'], { env: { STORAGE_OBJECT_MODULE: name } })
      assert.equal(code, 0)
      assert.match(stdout, /^storage\n {2}memory +dist\/storage\/memory\.js$/m)
      assert.deepEqual(explained(stdout).get('storage'), [name, 'env STORAGE_OBJECT_MODULE'])
    })
  }

  it('prefers --storage and FWS_STORAGE to STORAGE_OBJECT_MODULE', async () => {
    const env = { STORAGE_OBJECT_MODULE: './nowhere' }
    const [flag, own] = await Promise.all([
      run(['--storage', 'memory', '--explain'], { env }),
      run(['--explain'], { env: { ...env, FWS_STORAGE: 'memory' } }),
    ])
    assert.deepEqual(explained(flag.stdout).get('storage'), ['memory', 'flag'])
    assert.deepEqual(explained(own.stdout).get('storage'), ['memory', 'env FWS_STORAGE'])
  })
})

describe('fws-server and the environment', { concurrency: 3 }, () => {
  it('reads FWS_NAME for each option, including those of a filter; arrays with spaces or commas', async t => {
    const cwd = folder(t, { 'vault.ts': VAULT })
    const { stdout } = await run(['--explain'], {
      cwd,
      env: {
        FWS_FILTERS: 'log, ./vault.ts echo',
        FWS_PORT: '8123',
        FWS_VAULT_KEY: 'k',
        FWS_VAULT_OPEN: '1',
        FWS_VAULT_OWNERS: 'ann,bob cy',
      },
    })
    const options = explained(stdout)
    assert.deepEqual(
      ['filters', 'port', 'vault-open', 'vault-owners'].map(name => options.get(name)),
      [
        ['log ./vault.ts echo', 'env FWS_FILTERS'],
        ['8123', 'env FWS_PORT'],
        ['true', 'env FWS_VAULT_OPEN'],
        ['ann bob cy', 'env FWS_VAULT_OWNERS'],
      ],
    )
  })

  for (const [name, value, sentence] of [
    ['FWS_DRAIN', 'abc', 'FWS_DRAIN takes a number from 0 to 2147483, received "abc"'],
    ['FWS_FILTERS', '', 'FWS_FILTERS takes a value that is not empty, received ""'],
    ['FWS_LOG_FORMAT', 'xml', 'FWS_LOG_FORMAT takes one of auto, pretty, json, received "xml"'],
    [
      'FWS_CONFIG',
      '/nowhere.json',
      "cannot read config file /nowhere.json: ENOENT: no such file or directory, open '/nowhere.json'",
    ],
  ] as const) {
    it(`refuses ${name}="${value}"`, async () =>
      assert.equal(await refusal(['-p', '0'], { env: { [name]: value } }), sentence))
  }

  it('only warns about an FWS_ variable that names no option, with the nearest name', async t => {
    const server = await launch(t, ['-p', '0'], { env: { FWS_PROT: '1', FWS_COLOUR: 'red' } })
    assert.deepEqual(
      server.logged().flatMap(({ level, msg }) => (level === 40 ? [msg] : [])),
      [
        'environment variable FWS_PROT names no option; did you mean FWS_PORT?',
        'environment variable FWS_COLOUR names no option',
      ],
    )
  })

  it('warns about a boolean that only the command line has', async t => {
    const server = await launch(t, ['-p', '0'], { env: { FWS_EXPLAIN: '1' } })
    assert.match(String(server.logged()[0]!.msg), /^environment variable FWS_EXPLAIN names no option/)
  })

  it('reads a secret from the file that FWS_NAME_FILE names, without the final line break', async t => {
    const cwd = folder(t, { 'vault.ts': VAULT, 'key.txt': 'two words\n' })
    const server = await launch(t, ['-p', '0', '-f', './vault', 'echo'], {
      cwd,
      env: { FWS_VAULT_KEY_FILE: 'key.txt' },
    })
    const peer = await Peer.open(server.url)
    peer.send('?')
    const [text] = await peer.get(1)
    assert.equal(JSON.parse(String(text))['vault-key'], 'two words')
  })

  it('refuses FWS_NAME_FILE if the file does not exist', async t => {
    const cwd = folder(t, { 'vault.ts': VAULT })
    assert.equal(
      await refusal(['-f', './vault'], { cwd, env: { FWS_VAULT_KEY_FILE: '/nowhere' } }),
      'FWS_VAULT_KEY_FILE names a file that cannot be read: ENOENT: no such file or directory',
    )
  })

  it('refuses a secret that is set both ways', async t => {
    const cwd = folder(t, { 'vault.ts': VAULT, 'key.txt': 'x' })
    const env = { FWS_VAULT_KEY: 'x', FWS_VAULT_KEY_FILE: 'key.txt' }
    assert.equal(
      await refusal(['-f', './vault'], { cwd, env }),
      'FWS_VAULT_KEY and FWS_VAULT_KEY_FILE are both set; unset one',
    )
  })

  it('does not read a file for an option that is not a secret', async t => {
    const cwd = folder(t, { port: '8123' })
    const { stdout, stderr } = await run(['--explain'], { cwd, env: { FWS_PORT_FILE: 'port' } })
    assert.deepEqual(explained(stdout).get('port'), ['9000', 'default'])
    assert.equal(JSON.parse(stderr).msg, 'environment variable FWS_PORT_FILE names no option')
  })
})

describe('fws-server as a process', { concurrency: 3 }, () => {
  it('without -f broadcasts and prints each message', async t => {
    const server = await launch(t, ['-p', '0'])
    const ann = await Peer.open(server.url)
    const bob = await Peer.open(server.url)
    ann.send('hello')
    assert.deepEqual(await bob.get(1), ['hello'])
    bob.send('two\nlines')
    assert.deepEqual(await ann.get(1), ['two\nlines'])
    await until(() => server.stdout.endsWith('lines\n'), 'the printed messages')
    const id = '[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}'
    assert.match(server.stdout, new RegExp(`^--MESSAGE--\n${id} => hello\n--MESSAGE--\n${id} => two\nlines\n$`))
    assert.deepEqual(bob.received, ['hello'])
  })

  it('logs one line when it listens, with the actual address', async t => {
    const server = await launch(t, ['-p', '0', '-f', 'echo'])
    const [line, ...more] = server.logged()
    assert.deepEqual(more, [])
    assert.match(server.url, /^ws:\/\/127\.0\.0\.1:[1-9]\d*$/)
    const { time, ...rest } = line!
    assert.equal(typeof time, 'number')
    assert.deepEqual(rest, { level: 30, url: server.url, filters: ['echo'], msg: `listening on ${server.url}` })
  })

  it('fails with exit 1 and one line when the port is taken', async t => {
    const port = await takenPort(t)
    assert.deepEqual(await run(['-p', `${port}`]), {
      code: 1,
      signal: null,
      stdout: '',
      stderr: `fws-server: cannot listen on 127.0.0.1:${port}: the port is taken; choose another with --port\n`,
    })
  })

  it('fails with exit 1 and the line of code when a start fails', async t => {
    const cwd = folder(t, { 'late.js': "export const start = async () => { throw new Error('no licence') }" })
    assert.deepEqual(await run(['-p', '0', '-f', './late.js'], { cwd }), {
      code: 1,
      signal: null,
      stdout: '',
      stderr: `fws-server: start of filter ./late.js (${cwd}/late.js:1) failed: no licence\n> 1 | export const start = async () => { throw new Error('no licence') }\n`,
    })
  })

  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    it(`stops on ${signal} with exit 0, and closes clients with 1001`, async t => {
      const server = await launch(t, ['-p', '0', '-f', 'echo'])
      const peer = await Peer.open(server.url)
      const ended = await server.stop(signal)
      assert.deepEqual({ code: ended.code, signal: ended.signal }, { code: 0, signal: null })
      assert.deepEqual(await peer.end(), { code: 1001, reason: 'server is shutting down' })
      assert.equal(server.logged().at(-1)!.msg, 'stopped')
    })
  }

  it('prints the output of filters before it stops', async t => {
    const cwd = folder(t, {
      'bye.js': "export const setup = ({ stdout }) => ({ stop: () => stdout.write('x'.repeat(300_000) + 'end') })",
    })
    const server = await launch(t, ['-p', '0', '-f', './bye.js'], { cwd })
    const { code, stdout } = await server.stop()
    assert.deepEqual({ code, length: stdout.length, end: stdout.slice(-3) }, { code: 0, length: 300_003, end: 'end' })
  })

  it('exits immediately on a second signal', async t => {
    const cwd = folder(t, {
      'slow.js':
        "export const setup = ({ log }) => ({ stop: () => { log.info('stopping'); return new Promise(() => {}) } })",
    })
    // Waiting for the filter would take longer than the deadline of the test.
    const server = await launch(t, ['-p', '0', '-f', './slow.js', '--drain', '60'], { cwd })
    server.child.kill('SIGTERM')
    await until(() => server.logged().some(({ msg }) => msg === 'stopping'))
    const { code, signal } = await server.stop('SIGTERM')
    assert.deepEqual({ code, signal }, { code: 1, signal: null })
  })

  it('stops in order when the signal arrives while its filters start', async t => {
    const cwd = folder(t, {
      'one.js': "export const setup = ({ log }) => ({ start() {}, stop: () => log.info('one has stopped') })",
      'two.js':
        "export const setup = ({ log }) => ({ start: () => { log.info('starting'); return new Promise(() => {}) } })",
    })
    const argv = ['-p', '0', '-f', './one.js', './two.js', '--filter-timeout', '1']
    const server = new Launched(argv, { cwd })
    t.after(() => server.kill())
    await until(() => server.logged().some(({ msg }) => msg === 'starting'))
    await server.stop()
    assert.ok(server.logged().some(({ msg }) => msg === 'one has stopped'))
  })

  const hanging: readonly (readonly [what: string, code: (hang: string) => string, argv: readonly string[]])[] = [
    ['import', hang => `${hang}\nexport const message = () => {}`, ['-f', './one.js', './hangs.js']],
    ['setup', hang => `export const setup = async () => { ${hang} }`, ['-f', './one.js', './hangs.js']],
    ['start', hang => `export const start = async () => { ${hang} }`, ['-f', './one.js', './hangs.js']],
    ['open', hang => `export const open = async () => { ${hang} }`, ['-f', './one.js', '--storage', './hangs.js']],
  ]
  for (const [what, code, argv] of hanging) {
    const files = (hang: string) => ({
      'one.js': "export const setup = ({ log }) => ({ start() {}, stop: () => log.info('one has stopped') })",
      'hangs.js': code(hang),
    })

    it(`stops immediately when the signal arrives while the ${what} of a module hangs`, async t => {
      const hang = "setInterval(() => {}, 1000); console.error('hanging'); await new Promise(() => {})"
      const server = new Launched(['-p', '0', '--filter-timeout', '0', ...argv], { cwd: folder(t, files(hang)) })
      t.after(() => server.kill())
      await until(() => server.stderr.includes('hanging\n'))
      const { code, stderr } = await server.stop()
      assert.equal(code, 0)
      assert.match(stderr, /\nfws-server: stopped while it started\n$/)
      if (what === 'start') assert.ok(server.logged().some(({ msg }) => msg === 'one has stopped'))
    })

    it(`fails with exit 1 and one line when the ${what} of a module never settles`, async t => {
      const cwd = folder(t, files('await new Promise(() => {})'))
      const { code, stderr } = await run(['-p', '0', '--filter-timeout', '0', ...argv], { cwd })
      assert.equal(code, 1)
      assert.match(
        stderr,
        /^fws-server: .*hangs.*: its promise never settles: nothing is left that it could wait for$/m,
      )
    })
  }

  it('survives a rejection or a throwing timer of a filter during its start', async t => {
    const cwd = folder(t, {
      'stray.js': `Promise.reject(new Error('stray promise'))
        export const start = () => new Promise(started => {
          setTimeout(() => { throw new Error('stray timer') })
          setTimeout(started, 20)
        })`,
    })
    const server = await launch(t, ['-p', '0', '-f', './stray.js'], { cwd })
    assert.match(server.stderr, /^fws-server: a promise was left behind and rejected: Error: stray promise\n/m)
    assert.match(server.stderr, /^fws-server: an error was thrown outside every chain: Error: stray timer\n/m)
    assert.equal((await server.stop()).code, 0)
  })

  it('survives unhandled errors that cannot be serialized', async t => {
    const nasty = "Object.create(null, { message: { get() { throw new Error('looked at') } } })"
    const cwd = folder(t, {
      'nasty.js': `const leave = () => { Promise.reject(${nasty}); setTimeout(() => { throw ${nasty} }) }
        leave()
        export const message = leave`,
    })
    const server = await launch(t, ['-p', '0', '-f', './nasty.js', 'echo'], { cwd })
    const peer = await Peer.open(server.url)
    peer.send('one')
    await peer.get(1)
    const left = (level: number) =>
      server
        .logged()
        .filter(line => line.level === level)
        .map(({ msg }) => msg)
    await until(() => left(60).length === 2, `two lines, got ${server.stderr}`)
    assert.deepEqual(left(60), [
      'a promise was left behind and rejected, with an error that cannot be shown',
      'an error was thrown outside every chain, with an error that cannot be shown',
    ])
    assert.match(server.stderr, /^fws-server: a promise was left behind and rejected: a value that cannot be shown\n/m)
    assert.equal((await server.stop()).code, 0)
  })

  it('logs at most ten unhandled errors of each kind per minute', async t => {
    const cwd = folder(t, {
      'leaky.js': `export const message = () => {
        for (let i = 0; i < 50; i++) Promise.reject(new Error('leak'))
        for (let i = 0; i < 50; i++) setTimeout(() => { throw new Error('leak') })
      }`,
    })
    const server = await launch(t, ['-p', '0', '-f', './leaky.js', 'echo'], { cwd })
    const peer = await Peer.open(server.url)
    peer.send('one')
    await peer.get(1)
    const { code } = await server.stop()
    assert.equal(code, 0)
    assert.equal(server.logged().filter(({ level }) => level === 60).length, 20)
  })

  it('continues while a consumer filter feeds itself', async t => {
    const cwd = folder(t, {
      'mill.js': `export const consumer = ({ channel }, server) => void server.publish(channel, 'again')
        export const message = (payload, client) => void client.server.publish('global', payload)`,
    })
    const server = await launch(t, ['-p', '0', '-f', './mill.js', 'echo'], { cwd })
    const peer = await Peer.open(server.url)
    for (const text of ['one', 'two', 'three']) peer.send(text)
    assert.deepEqual(await peer.get(3), ['one', 'two', 'three'])
    assert.equal((await server.stop()).code, 0)
  })

  it('survives a reader of its output that exits', async t => {
    const head = spawn('head', ['-n', '1'], { stdio: ['pipe', 'pipe', 'inherit'] })
    const headEnded = once(head, 'close')
    const server = await launch(t, ['-p', '0'], { stdout: head.stdin })
    head.stdin.destroy()
    const ann = await Peer.open(server.url)
    const bob = await Peer.open(server.url)
    ann.send('first')
    assert.deepEqual(await bob.get(1), ['first'])
    await headEnded
    for (let i = 0; i < 10; i++) ann.send(`more ${i}`)
    assert.equal((await bob.get(11)).at(-1), 'more 9')
    assert.equal((await server.stop()).code, 0)
  })

  it('survives a reader of its output that stalls; later output has only complete messages', async t => {
    // All messages may be queued at once: a peer that still reads is not a slow client.
    const server = await launch(t, ['-p', '0', '--max-buffered', '10000000'], { stdout: 'unread' })
    const ann = await Peer.open(server.url)
    const bob = await Peer.open(server.url)
    const COUNT = 60
    for (let i = 0; i < COUNT; i++) ann.send(`${i}:${'x'.repeat(100_000)};`)
    const received = await bob.get(COUNT)
    assert.deepEqual(
      received.map(text => Number.parseInt(String(text), 10)),
      Array.from({ length: COUNT }, (_, i) => i),
    )
    server.readStdout()
    await until(() => server.stdout.includes(';\n'))
    // When there is space again, it prints again.
    await until(() => {
      ann.send('room?')
      return server.stdout.endsWith('=> room?\n')
    })
    const records = server.stdout.split('--MESSAGE--\n').slice(1)
    assert.deepEqual(
      records.filter(record => !/^\S+ => (\d+:x{100000};|room\?)\n$/.test(record)),
      [],
    )
    assert.ok(records.filter(record => record.includes('x')).length < COUNT, 'some were dropped, or nothing was proved')
    assert.equal((await server.stop()).code, 0)
  })

  it('survives a reader of its log that stalls', async t => {
    // All echoes may be queued at once: a peer that still sends is not a slow client.
    const bounds = ['--log-max', '100000', '--max-buffered', '10000000', '--drain', '1']
    const server = await launch(t, ['-p', '0', '-f', 'log', 'echo', ...bounds])
    server.child.stderr!.pause()
    const peer = await Peer.open(server.url)
    const COUNT = 60
    for (let i = 0; i < COUNT; i++) peer.send(`${i}:${'x'.repeat(100_000)}`)
    assert.match(String((await peer.get(COUNT)).at(-1)), /^59:/)
    server.child.kill('SIGTERM')
    await peer.end()
    await until(() => server.child.exitCode !== null)
    assert.equal(server.child.exitCode, 0)
  })

  it('survives a reader of its log that exits', async t => {
    const server = await launch(t, ['-p', '0', '-f', 'log', 'echo', '--drain', '1'])
    server.child.stderr!.destroy()
    const peer = await Peer.open(server.url)
    for (let i = 0; i < 10; i++) peer.send(`${i}`)
    assert.equal((await peer.get(10)).at(-1), '9')
    server.child.kill('SIGTERM')
    await until(() => server.child.exitCode !== null)
    assert.equal(server.child.exitCode, 0)
  })

  it('reads only configured files of its working directory', async t => {
    const cwd = folder(t, {
      'config.json': '{ "nonsense": 1 }',
      '.env': 'FWS_PORT=abc',
      'package.json': '{"yargs":{"port":"abc"}}',
    })
    writeFileSync(join(cwd, 'broadcast.js'), "throw new Error('not this one')")
    assert.equal((await run(['-f', 'broadcast', '--explain'], { cwd })).code, 0)
  })
})

/** A port in use. */
async function takenPort(t: { after(fn: () => void): void }): Promise<number> {
  const other = createServer().listen(0, '127.0.0.1')
  t.after(() => void other.close())
  await once(other, 'listening')
  return (other.address() as AddressInfo).port
}
