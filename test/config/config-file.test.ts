import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { describe, it } from 'node:test'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { parse } from 'jsonc-parser'
import { selfSigned } from '../support/certificates.ts'
import { explained, folder, inside, launch, refusalInside, root, run } from '../support/cli.ts'
import { Peer, until } from '../support/peer.ts'

type Test = Parameters<typeof folder>[0]

/** A filter that marks messages, to show order and options. */
const TAG = `
export const options = {
  'tag-text': { type: 'string', default: '-', describe: 'what to append' },
}
export const setup = ({ options }) => ({ message: payload => payload + options['tag-text'] })
`

/** The options of a config file with this content. */
async function read(t: Test, text: string, files: Readonly<Record<string, string>> = {}) {
  const base = folder(t, { ...files, 'my.json': text })
  const { code, stdout, stderr } = await inside(['-c', 'my.json', '--explain'], base)
  assert.equal(code, 0, stderr)
  return explained(stdout)
}

/** The error for a config file with this content, without its path. */
async function refused(t: Test, text: string, files: Readonly<Record<string, string>> = {}): Promise<string> {
  const base = folder(t, { ...files, 'my.json': text })
  const { code, stdout, stderr } = await inside(['-c', 'my.json', '--explain'], base)
  assert.deepEqual({ code, stdout }, { code: 2, stdout: '' }, stderr)
  return stderr.trimEnd().replace('fws-server: ', '').replaceAll(`${base}/`, '')
}

describe('a config file', () => {
  for (const [what, text] of [
    ['comments of both kinds', '{ // one\n  /* two\n lines */ "drain": 7 // three\n}'],
    ['lines that begin with #', '# first\n{\n#\n"drain": 7\n# "host": "x",\n}\n# last'],
    ['lines that begin with #, ended as on Windows', '# first\r\n{\r\n# {\r\n"drain": 7\r\n}\r\n'],
    ['trailing commas', '{ "origins": ["http://a", "http://b",], "drain": 7, }'],
    ['a byte order mark', '\uFEFF{ "drain": 7 }'],
    ['$schema', '{ "$schema": "./config.schema.json", "drain": 7 }'],
    ['a string where a number is meant', '{ "drain": "7" }'],
  ] as const) {
    it(`may have ${what}`, async t => assert.deepEqual((await read(t, text)).get('drain'), ['7', 'my.json']))
  }

  for (const key of ['max-clients', 'max_clients', 'maxClients']) {
    it(`may spell a name ${key}`, async t =>
      assert.deepEqual((await read(t, `{ "${key}": 5 }`)).get('max-clients'), ['5', 'my.json']))
  }

  it('may hold a # inside a string', async t => {
    assert.deepEqual((await read(t, '{ "memory-channels": ["#a", "b"] }')).get('memory-channels'), ['#a b', 'my.json'])
  })

  it('turns on switches by an array of flags, in any spelling', async t => {
    const text = '{ "filters": ["broadcast-by-token"], "flags": ["broadcast_by_token_loose"] }'
    assert.deepEqual((await read(t, text)).get('broadcast-by-token-loose'), ['true', 'my.json'])
  })

  it('may set a switch to true, false, or either as a string', async t => {
    const seen = async (value: string) => {
      const options = await read(t, `{ "filters": "broadcast-by-token", "broadcast-by-token-loose": ${value} }`)
      return options.get('broadcast-by-token-loose')![0]
    }
    assert.deepEqual(await Promise.all(['true', 'false', '"true"', '"false"'].map(seen)), [
      'true',
      'false',
      'true',
      'false',
    ])
  })

  it('may give one string for an array', async t => {
    const options = await read(t, '{ "origins": "https://a.example", "filters": "echo" }')
    assert.deepEqual(
      [options.get('origins'), options.get('filters')],
      [
        ['https://a.example', 'my.json'],
        ['echo', 'my.json'],
      ],
    )
  })

  it('holds options of the filters that the command line names', async t => {
    const base = folder(t, { 'my.json': '{ "log-max": 5 }' })
    const { stdout } = await inside(['-f', 'log', '-c', 'my.json', '--explain'], base)
    assert.deepEqual(explained(stdout).get('log-max'), ['5', 'my.json'])
  })

  it('may be given by its full path, from another folder', async t => {
    const path = join(folder(t, { 'my.json': '{ "drain": 7 }' }), 'my.json')
    const { stdout } = await inside(['-c', path, '--explain'], folder(t))
    assert.deepEqual(explained(stdout).get('drain'), ['7', 'my.json'])
  })
})

describe('a config file is refused', () => {
  for (const [what, text, sentence] of [
    ['with an unknown key', '{\n  "prot": 1\n}', 'my.json:2:3: prot is not an option; did you mean "port"?'],
    ['with a key that every object has', '{ "constructor": 1 }', 'my.json:1:3: constructor is not an option'],
    ['with __proto__', '{ "__proto__": 1 }', 'my.json:1:3: __proto__ is not an option'],
    ['nested without end', '['.repeat(100_000), 'my.json: nested 101 levels deep; a config file needs a few'],
    ['larger than any', ' '.repeat(1_048_577), 'cannot read config file my.json: it is larger than 1048576 bytes'],
    ['with a key far from any', '{ "colour": 1 }', 'my.json:1:3: colour is not an option'],
    ['with an unknown flag', '{ "flags": [\n"verbose"] }', 'my.json:2:1: verbose is not an option'],
    [
      "with another filter's option",
      '{ "rate-limit-bytes": 1 }',
      'my.json:1:3: rate-limit-bytes is not an option; it belongs to filter rate-limit, which is not chosen',
    ],
    [
      'with an unknown option of a place',
      '{ "filters": [["log", { "log-mx": 1 }]] }',
      'my.json:1:25: log-mx is not an option of filter log; did you mean "log-max"?',
    ],
    ['with a key given twice', '{ "drain": 1,\n "drain": 1 }', 'my.json:2:2: drain is given twice'],
    [
      'with a key given twice in two spellings',
      '{ "max-clients": 1, "max_clients": 1 }',
      'my.json:1:21: max_clients is given twice',
    ],
    [
      'with a switch among the flags and as a key',
      '{ "filters": "broadcast-by-token", "flags": ["broadcast-by-token-loose"], "broadcast_by_token_loose": false }',
      'my.json:1:75: broadcast_by_token_loose is given twice',
    ],
    ['with filters given twice', '{ "filters": "echo", "filters": "log" }', 'my.json:1:22: filters is given twice'],
    ['where a comma is missing', '{\n  "port": 1\n  "drain": 2\n}', 'my.json:3:3: comma expected'],
    ['where the end is missing', '{ "port": 1', 'my.json:1:12: close brace expected'],
    ['where something follows the end', '{}\n{}', 'my.json:2:1: end of file expected'],
    ['when empty', '', 'my.json:1:1: value expected'],
    ['with the place after lines of #', '# one\n# two\n{ "port" 1 }', 'my.json:3:10: colon expected'],
    ['when it is a list', '[]', 'my.json: a config file holds one JSON object'],
    ['when it is null', 'null', 'my.json: a config file holds one JSON object'],
    [
      'with a wrong value',
      '{\n  "port": "abc" }',
      'my.json:2:3: port takes a whole number from 0 to 65535, received "abc"',
    ],
    ['with null', '{ "drain": null }', 'my.json:1:3: drain takes a number from 0 to 2147483, received null'],
    ['with a list for one value', '{ "drain": [1, 2] }', 'my.json:1:3: drain takes one value, received [1,2]'],
    ['with an object for a list', '{ "origins": {} }', 'my.json:1:3: origins takes an array of strings, received {}'],
    [
      'with a number for a list',
      '{ "origins": [true] }',
      'my.json:1:3: origins takes an array of strings, received [true]',
    ],
    [
      'with a flag that is no switch',
      '{ "flags": ["drain"] }',
      'my.json:1:13: drain takes a number from 0 to 2147483, received true',
    ],
    ['with flags that are no list', '{ "flags": "x" }', 'my.json:1:12: flags takes an array of switch names'],
    ['with flags that are no names', '{ "flags": [1] }', 'my.json:1:12: flags takes an array of switch names'],
    ['with a number for a filter', '{ "filters": [5] }', 'my.json:1:15: a filter is a name, or [name, {options}]'],
    [
      'with a filter in brackets without options',
      '{ "filters": ["echo", ["log"]] }',
      'my.json:1:23: a filter is a name, or [name, {options}]',
    ],
  ] as const) {
    it(what, async t => assert.equal(await refused(t, text), sentence))
  }

  for (const key of ['config', 'explain', 'help', 'version']) {
    it(`with ${key}, which belongs on the command line, and does not suggest the very same`, async t => {
      const sentence = await refused(t, `{ "${key}": true }`)
      assert.match(sentence, new RegExp(`^my\\.json:1:3: ${key} `))
      assert.doesNotMatch(sentence, /did you mean/)
    })
  }

  it('with an option of the core at a position, where it has no effect', async t => {
    assert.match(await refused(t, '{ "filters": [["log", { "drain": 1 }]] }'), /^my\.json:1:25: drain is not an option/)
  })

  it('with an option of one filter at another', async t => {
    const text = '{ "filters": ["log", ["echo", { "log-max": 1 }]] }'
    assert.match(await refused(t, text), /^my\.json:1:33: log-max is not an option/)
  })

  it('with a wrong value for one position, naming the line', async t => {
    const text = '{ "filters": ["log",\n["log", { "max": "many" }]] }'
    assert.equal(await refused(t, text), 'my.json:2:11: max takes a whole number of at least 0, received "many"')
  })

  it('with a missing filter, naming all places tried from the folder of the file', async t => {
    const base = folder(t, { 'etc/my.json': '{ "filters": ["echo", "./nope"] }' })
    const { code, stderr } = await inside(['-c', 'etc/my.json'], base)
    assert.equal(code, 2)
    assert.match(stderr, /^fws-server: no filter "\.\/nope"\ntried: /)
    assert.ok(stderr.includes(` ${base}/etc/nope(.ts|.mts|.js|.mjs|.cjs)\n`), stderr)
  })

  it('without printing a secret', async t => {
    const files = {
      'mole.js': `export const options = { 'mole-key': { type: 'string', secret: true, describe: 'a key' } }
        export const message = () => {}`,
    }
    assert.equal(
      await refused(t, '{ "filters": "./mole", "mole-key": ["hunter2"] }', files),
      'my.json:1:24: mole-key takes one value, received a secret value',
    )
  })

  it('when there is none', async t => {
    const base = folder(t)
    const { code, stderr } = await inside(['-c', 'nope.json'], base)
    assert.equal(code, 2)
    assert.equal(
      stderr,
      `fws-server: cannot read config file ${base}/nope.json: ENOENT: no such file or directory, open '${base}/nope.json'\n`,
    )
  })

  it('when it is not a regular file, without waiting for a writer or reading without end', async t => {
    const base = folder(t)
    execFileSync('mkfifo', [join(base, 'pipe')])
    for (const path of ['.', 'pipe', '/dev/zero', '/dev/null']) {
      const { code, stderr } = await run(['-c', path], { cwd: base })
      assert.deepEqual(
        { code, stderr },
        { code: 2, stderr: `fws-server: cannot read config file ${resolve(base, path)}: it is not a regular file\n` },
      )
    }
  })

  const QUOTE = 'and a config file is JSON: quote names and strings with double quotes'
  for (const [name, text, sentence] of [
    ['my.json', 'port: 1\nfilters: [echo]\n', `:1:1: invalid symbol; it looks like YAML, ${QUOTE}`],
    ['my.json', '# comment\n---\nport: 1\n', `:2:1: invalid symbol; it looks like YAML, ${QUOTE}`],
    ['my.json', 'filters:\n  - echo\n', `:1:1: invalid symbol; it looks like YAML, ${QUOTE}`],
    ['my.json', '- echo\n', `:1:1: invalid symbol; it looks like YAML, ${QUOTE}`],
    ['my.yml', '{ port: 1 }', `:1:3: invalid symbol; it looks like YAML, ${QUOTE}`],
    ['my.json', 'port = 1', `:1:1: invalid symbol; it looks like TOML or INI, ${QUOTE}`],
    ['my.json', '[server]\nport = 1', `:1:2: invalid symbol; it looks like TOML or INI, ${QUOTE}`],
    ['my.json', '{ port: 1 }', `:1:3: invalid symbol; it looks like JSON5, ${QUOTE}`],
    ['my.json', "{ 'port': 1 }", `:1:3: invalid symbol; it looks like JSON5, ${QUOTE}`],
    ['my.json', '{ "host": \'x\' }', `:1:11: invalid symbol; it looks like JSON5, ${QUOTE}`],
    ['my.json', '{ "port": 0x1F }', `:1:12: invalid symbol; it looks like JSON5, ${QUOTE}`],
    ['my.json', '{ "drain": +5 }', `:1:12: invalid symbol; it looks like JSON5, ${QUOTE}`],
    ['my.json5', '{ "drain": 5, drain: 5 }', `:1:15: invalid symbol; it looks like JSON5, ${QUOTE}`],
    ['my.json', 'module.exports = {}', `:1:1: invalid symbol; it looks like JavaScript, ${QUOTE}`],
    ['my.json', 'export default {}', `:1:1: invalid symbol; it looks like JavaScript, ${QUOTE}`],
    ['my.json', 'hello', ':1:1: invalid symbol'],
    ['my.json', Buffer.from('\uFEFF{ "port": 1 }', 'utf16le'), ': it is UTF-16; save it as UTF-8'],
    ['my.json', Buffer.from('{ "port": 1 }', 'utf16le'), ': it is UTF-16; save it as UTF-8'],
    ['my.json', Buffer.from('\uFEFF{ "port": 1 }', 'utf16le').swap16(), ': it is UTF-16; save it as UTF-8'],
    ['my.json', Buffer.from('{ "port": 1 }', 'utf16le').swap16(), ': it is UTF-16; save it as UTF-8'],
  ] as const) {
    it(`in another format: ${name} with ${JSON.stringify(text.toString().slice(0, 20))}`, async t => {
      const cwd = folder(t)
      writeFileSync(join(cwd, name), text)
      assert.equal(await refusalInside(['-c', name], cwd), `${join(cwd, name)}${sentence}`)
    })
  }

  it('when two are named', async t => {
    const base = folder(t, { 'a.json': '{}', 'b.json': '{}' })
    const { code, stderr } = await inside(['-c', 'a.json', '-c', 'b.json'], base)
    assert.equal(code, 2)
    assert.equal(stderr, 'fws-server: --config takes one value, received ["a.json","b.json"]\n')
  })
})

describe('a server by its config file', { concurrency: 3 }, () => {
  it('gives each position of a filter its own options, with or without the name of the filter', async t => {
    const cwd = folder(t, {
      'tag.js': TAG,
      'my.json': `{
        "port": 0,
        "tag_text": "z",
        "filters": [["./tag", { "text": "a" }], "./tag", ["./tag.js", { "tagText": "b" }], "echo"]
      }`,
    })
    const server = await launch(t, ['-c', 'my.json'], { cwd })
    const peer = await Peer.open(server.url)
    peer.send('>')
    assert.deepEqual(await peer.get(1), ['>azb'])
  })

  it('may give a required option at each position of a filter', async t => {
    const vault = `export const options = { 'vault-key': { type: 'string', demandOption: true, describe: 'what opens it' } }
      export const setup = ({ options }) => ({ message: payload => payload + options['vault-key'] })`
    const files = (second: string) => ({
      'vault.js': vault,
      'my.json': `{ "port": 0, "filters": [["./vault", { "key": "a" }], ${second}, "echo"] }`,
    })
    const server = await launch(t, ['-c', 'my.json'], { cwd: folder(t, files('["./vault", { "vault-key": "b" }]')) })
    const peer = await Peer.open(server.url)
    peer.send('>')
    assert.deepEqual(await peer.get(1), ['>ab'])
    const base = folder(t, files('"./vault"'))
    assert.equal(await refusalInside(['-c', 'my.json'], base), 'filter vault needs --vault-key: what opens it')
    const { code } = await inside(['-c', 'my.json', '--vault-key', 'c', '--explain'], base)
    assert.equal(code, 0)
  })

  it('prefers the command line to the options of a position', async t => {
    const cwd = folder(t, { 'tag.js': TAG, 'my.json': '{ "filters": [["./tag", { "text": "a" }], "echo"] }' })
    const server = await launch(t, ['-p', '0', '-c', 'my.json', '--tag-text', 'flag'], { cwd })
    const peer = await Peer.open(server.url)
    peer.send('>')
    assert.deepEqual(await peer.get(1), ['>flag'])
  })

  it('resolves its relative paths from its own folder, and those of the command line from the working directory', async t => {
    const { key, cert } = await selfSigned()
    const cwd = folder(t, {
      'etc/my.json': `{
        "port": 0,
        "filters": ["../lib/tag", "bare", ["./sub/seen", { "file": "./x.txt" }], "echo"],
        "storage": "./store.js",
        "key": "tls/key.pem",
        "cert": "tls/cert.pem"
      }`,
      'lib/tag.js': TAG,
      'etc/bare.js': 'export const message = payload => payload + "bare "',
      'etc/sub/seen.js': `
        const path = { type: 'string', normalize: true, describe: 'a path' }
        export const options = { 'seen-file': path, 'seen-other': path }
        export const setup = ({ options }) => ({ message: p => [p, options['seen-file'], options['seen-other']].join(' ') })`,
      'etc/store.js': 'export const open = () => ({})',
      'etc/tls/key.pem': key,
      'etc/tls/cert.pem': cert,
    })
    const server = await launch(t, ['-c', 'etc/my.json', '--seen-other', 'y.txt'], { cwd })
    const peer = await Peer.open(server.url, { rejectUnauthorized: false })
    peer.send('>')
    assert.deepEqual(await peer.get(1), [`>-bare  ${cwd}/etc/x.txt ${cwd}/y.txt`])
  })

  for (const port of ['9000', '9999']) {
    it(`runs the example of filtered_websocket with port ${port} unchanged`, async t => {
      const cwd = folder(t, {
        'config.json': `# config.json
{
    "port": "${port}",
    "filters": ["filtered_websocket.filters.broadcast_messages_by_token", "filtered_websocket.filters.stdout_messages"]
}
`,
      })
      const { stdout } = await run(['-c', 'config.json', '--explain'], { cwd })
      assert.deepEqual(explained(stdout).get('port'), [port, 'config.json'])

      const server = await launch(t, ['-c', 'config.json', '-p', '0'], { cwd })
      const ann = await Peer.open(server.url)
      const bob = await Peer.open(server.url)
      for (const peer of [ann, bob]) {
        peer.send('token:tea')
        assert.deepEqual(await peer.get(1), ['Successfully registered with broadcast group: tea'])
      }
      ann.send('hello')
      assert.equal((await bob.get(2))[1], 'hello')
      const printed = /^(--MESSAGE--\n\S+ => token:tea\n){2}--MESSAGE--\n\S+ => hello\n$/
      await until(() => printed.test(server.stdout), 'the printed messages')
    })
  }

  it('runs config.example.json unchanged from another working directory', async t => {
    const config = join(root, 'config.example.json')
    const cwd = folder(t)
    const server = await launch(t, ['-c', config, '-p', '0'], { cwd })
    const ann = await Peer.open(server.url, { origin: 'https://app.example.com' })
    const bob = await Peer.open(server.url)
    ann.send('hello')
    assert.deepEqual(await bob.get(1), ['hello'])
    const { stdout } = await run(['-c', config, '--explain'], { cwd })
    const options = explained(stdout)
    assert.deepEqual(
      ['port', 'host', 'filters', 'origins', 'max-payload'].map(name => options.get(name)),
      [
        ['9000', 'config.example.json'],
        ['127.0.0.1', 'config.example.json'],
        ['rate-limit broadcast stdout-messages', 'config.example.json'],
        ['https://app.example.com', 'config.example.json'],
        ['65536', 'config.example.json'],
      ],
    )
  })
})

describe('config.schema.json', () => {
  const validate = new Ajv2020({ strict: true, allowUnionTypes: true }).compile(
    JSON.parse(readFileSync(join(root, 'config.schema.json'), 'utf8')),
  )

  it('accepts config.example.json', () => {
    const example = parse(readFileSync(join(root, 'config.example.json'), 'utf8'))
    assert.equal(validate(example), true, JSON.stringify(validate.errors))
  })

  for (const [what, config] of [
    ['an empty file', {}],
    ["the ancestor's example", { port: '9000', filters: ['filtered_websocket.filters.stdout_messages'] }],
    ['one filter', { filters: 'echo' }],
    ['options of a place', { filters: [['log', { max: 5 }], 'echo'] }],
    ['flags', { flags: ['broadcast-by-token-loose'] }],
    ['options of the built-in filters and storage', { 'log-max': 5, 'memory-channels': ['a'] }],
    ["options of a user's own filter", { 'words-max': 5 }],
  ] as const) {
    it(`accepts ${what}`, () => assert.equal(validate(config), true, JSON.stringify(validate.errors)))
  }

  for (const [what, config] of [
    ['a port that is no number', { port: 'abc' }],
    ['a port out of range', { port: 70_000 }],
    ['a port that is no whole number', { port: 80.5 }],
    ['negative seconds', { drain: -1 }],
    ['a level that there is not', { 'log-level': 'loud' }],
    ['a filter that is no name', { filters: [5] }],
    ['a filter in brackets without options', { filters: [['log']] }],
    ['a filter with two sets of options', { filters: [['log', {}, {}]] }],
    ['flags that are no list', { flags: 'x' }],
    ['a switch that is no boolean', { 'broadcast-by-token-loose': 'perhaps' }],
    ['origins that are no strings', { origins: [5] }],
    ['a list', []],
  ] as const) {
    it(`refuses ${what}`, () => assert.equal(validate(config), false))
  }
})
