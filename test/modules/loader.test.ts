import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { EXTENSION, ROOT } from '../../src/root.ts'
import {
  explained,
  folder,
  inside,
  type Launched,
  launch,
  refusal,
  refusalInside,
  root,
  run,
  source,
} from '../support/cli.ts'
import { Peer } from '../support/peer.ts'

/** A filter in each language and module system; it answers with its file name, and drops. */
const LANGUAGES: Readonly<Record<string, (name: string) => string>> = {
  'modern.ts': typescript,
  'modern.mts': typescript,
  'modern.js': javascript,
  'modern.mjs': javascript,
  'default.mjs': name => `
    import * as fws from 'filtered-websocket'
    const dropped = await Promise.resolve(fws.DROP)
    export default {
      message: (payload, client) =>
        payload === '${name}' ? (client.send(\`\${payload} \${dropped === client.drop()}\`), dropped) : undefined,
    }`,
  'common.cjs': commonJs,
  'common.js': commonJs,
  'common.ts': name => `
    import fws = require('filtered-websocket')
    import type { Client, Payload, Verdict } from 'filtered-websocket'
    export = {
      message(payload: Payload, client: Client): Verdict {
        if (payload !== '${name}') return
        client.send(\`\${payload} \${fws.DROP === client.drop()}\`)
        return fws.DROP
      },
    }`,
  'compiled.ts': name => `
    import { DROP, type Client, type Payload } from 'filtered-websocket'
    enum Answer { Drop = 'drop' }
    namespace words { export const own = '${name}' }
    class Sender { constructor(private readonly client: Client) {} send(text: string) { this.client.send(text) } }
    export function message(payload: Payload, client: Client) {
      if (payload !== words.own) return
      new Sender(client).send(\`\${payload} \${Answer.Drop === 'drop' && DROP === client.drop()}\`)
      return DROP
    }`,
}

function typescript(name: string): string {
  return `
    import type { Client, Payload, Verdict } from 'filtered-websocket'
    import { DROP } from 'filtered-websocket'
    export const message = (payload: Payload, client: Client): Verdict => {
      if (payload !== '${name}') return
      client.send(\`\${payload satisfies string} \${DROP === client.drop()}\`)
      return DROP
    }`
}

function javascript(name: string): string {
  return `
    import { DROP } from 'filtered-websocket'
    export const message = (payload, client) => {
      if (payload !== '${name}') return
      client.send(\`\${payload} \${DROP === client.drop()}\`)
      return DROP
    }`
}

function commonJs(name: string): string {
  return `
    const { DROP } = require('filtered-websocket')
    exports.message = (payload, client) => {
      if (payload !== '${name}') return
      client.send(\`\${payload} \${DROP === client.drop() && __filename.endsWith('${name}')}\`)
      return DROP
    }`
}

/** A filter that answers with its name. */
const says = (text: string) => `export const message = (payload, client) => client.send(${JSON.stringify(text)})`

for (const [what, packageJson] of [
  ['without a package.json', undefined],
  ['whose package.json says commonjs', '{ "type": "commonjs" }'],
  ['whose package.json says module', '{ "type": "module" }'],
  ['whose package.json says nothing', '{}'],
] as const) {
  describe(`a folder ${what}`, () => {
    const ends: (() => void | Promise<void>)[] = []
    const suite = { after: (fn: () => void | Promise<void>) => void ends.unshift(fn) }
    let server: Launched
    before(async () => {
      const files = Object.entries(LANGUAGES).map(([name, text]) => [name, text(name)] as const)
      const cwd = folder(suite, {
        ...Object.fromEntries(files),
        ...(packageJson && { 'package.json': packageJson }),
        'last.js': "export const message = (payload, client) => client.send('nobody took ' + payload)",
      })
      const names = Object.keys(LANGUAGES).map(name => `./${name}`)
      server = await launch(suite, ['-p', '0', '-f', ...names, './last.js'], { cwd })
    })
    after(async () => {
      for (const end of ends) await end()
    })

    for (const name of Object.keys(LANGUAGES)) {
      it(`has a filter ${name}, which imports types and values of filtered-websocket`, async () => {
        const peer = await Peer.open(server.url)
        peer.send(name)
        peer.send('the end')
        assert.deepEqual(await peer.get(2), [`${name} true`, 'nobody took the end'])
        peer.ws.terminate()
      })
    }
  })
}

describe('a filter of a user', { concurrency: 3 }, () => {
  it('gets the API of the server that runs it: only DROP, FwsError, createServer and defineFilter', async t => {
    const cwd = folder(t, {
      'api.ts': `
        import * as fws from 'filtered-websocket'
        export const message = () => Object.keys(fws).filter(key => key !== 'default').sort().join(' ')`,
    })
    assert.equal(await answer(t, ['./api.ts', 'echo'], cwd), 'DROP FwsError createServer defineFilter')
  })

  it('imports adjacent files: without extension, as .ts, as .js, JSON and CommonJS', async t => {
    const cwd = folder(t, {
      'sub/main.ts': `
        import { one } from './one'
        import { two } from './two.ts'
        import { three } from '../three.js'
        import { four } from './four.cjs'
        import five from './five.json'
        export const message = (): string => [one, two, three, four, five.text].join(' ')`,
      'sub/one.ts': 'export const one: string = "one"',
      'sub/two.ts': 'export const two: string = "two"',
      'three.ts': 'export const three: string = "three"',
      'sub/four.cjs': 'exports.four = "four"',
      'sub/five.json': '{ "text": "five" }',
    })
    assert.equal(await answer(t, ['./sub/main.ts', 'echo'], cwd), 'one two three four five')
  })

  it('imports packages from the node_modules next to it, from any working directory', async t => {
    const cwd = folder(t, {
      'here/.keep': '',
      'there/mine.ts': "import { hello } from 'hello'\nexport const message = () => hello",
      'there/node_modules/hello/package.json':
        '{ "name": "hello", "version": "1.0.0", "type": "module", "exports": { "import": "./hello.js" } }',
      'there/node_modules/hello/hello.js': "export const hello = await Promise.resolve('hello from a package')",
    })
    assert.equal(await answer(t, ['../there/mine', 'echo'], join(cwd, 'here')), 'hello from a package')
  })

  it('shares a module with another filter', async t => {
    const cwd = folder(t, {
      'shared.ts': 'export const seen: string[] = []',
      'one.ts': "import { seen } from './shared'\nexport const message = () => void seen.push('one')",
      'two.ts': "import { seen } from './shared'\nexport const message = () => [...seen, 'two'].join(' ')",
    })
    assert.equal(await answer(t, ['./one', './two', 'echo'], cwd), 'one two')
  })

  it('may occur twice in a chain, loaded once', async t => {
    const cwd = folder(t, {
      'count.js': `
        let loaded = 0
        loaded++
        export const setup = () => { let n = 0; return { message: payload => \`\${payload} \${loaded}:\${++n}\` } }`,
    })
    assert.equal(await answer(t, ['./count.js', './count', 'echo'], cwd), '? 1:1 1:1')
  })
})

describe('the name of a filter', { concurrency: 3 }, () => {
  const files = {
    'mine.ts': says('mine'),
    'shop/mine.mjs': says('shop'),
    'dir/index.mts': says('dir'),
    'with space/ü #1%.js': says('odd'),
    'work/.keep': '',
    'echo.js': says('not the built-in'),
  }
  for (const [asked, file, from = '.'] of [
    ['./mine', 'mine.ts'],
    ['./mine.ts', 'mine.ts'],
    ['../mine', 'mine.ts', 'work'],
    ['mine', 'mine.ts'],
    ['mine.ts', 'mine.ts'],
    ['shop/mine', 'shop/mine.mjs'],
    ['./dir', 'dir/index.mts'],
    ['./dir/', 'dir/index.mts'],
    ['./dir/index', 'dir/index.mts'],
    ['dir', 'dir/index.mts'],
    ['.', 'dir/index.mts', 'dir'],
    ['./with space/ü #1%', 'with space/ü #1%.js'],
    ['./echo', 'echo.js'],
    ['echo.js', 'echo.js'],
  ] as const) {
    it(`may be ${asked}${from === '.' ? '' : `, from ${from}`}`, async t => {
      const cwd = folder(t, files)
      assert.equal(await fileOf(asked, join(cwd, from)), join(cwd, file))
    })
  }

  it('may be a full path, with or without the extension', async t => {
    const cwd = folder(t, files)
    for (const name of ['mine', 'mine.ts']) assert.equal(await fileOf(join(cwd, name), root), join(cwd, 'mine.ts'))
  })

  it('may be a file URL, with or without the extension', async t => {
    const cwd = folder(t, files)
    for (const name of ['with space/ü #1%.js', 'with space/ü #1%'])
      assert.equal(await fileOf(pathToFileURL(join(cwd, name)).href, root), join(cwd, 'with space/ü #1%.js'))
  })

  it('is a built-in before a package or file with the same name', async t => {
    const cwd = folder(t, {
      ...files,
      ...pack('echo', says('package')),
      ...pack('filtered-websocket-echo', says('package')),
    })
    assert.equal(await fileOf('echo', cwd), fileURLToPath(new URL(`filters/echo${EXTENSION}`, ROOT)))
  })

  it('decides the owner of its options: the file without folder, prefix and extension', async t => {
    const options = "export const options = { 'words-max': { type: 'number', default: 5, describe: 'longest' } }\n"
    const cwd = folder(t, {
      'a/words.ts': options + says('a'),
      'words/index.ts': options + says('b'),
      ...pack('filtered-websocket-words', options + says('c')),
    })
    for (const asked of ['./a/words', './a/words.ts', './words', 'filtered-websocket-words', 'words']) {
      const { stdout } = await inside(['-f', asked, '--help'], cwd)
      assert.match(stdout, /^Filter words:\n {6}--words-max /m, asked)
    }
  })
})

describe('a filter from a package', { concurrency: 3 }, () => {
  it('is resolved as filtered-websocket-NAME first, then as NAME, then as a file', async t => {
    const all = {
      ...pack('filtered-websocket-geo', says('prefixed')),
      ...pack('geo', says('plain')),
      'geo.js': says('file'),
    }
    const without = (start: string) =>
      Object.fromEntries(Object.entries(all).filter(([name]) => !name.startsWith(start)))
    const plain = without('node_modules/filtered')
    assert.deepEqual(
      await Promise.all([all, plain, { 'geo.js': says('file') }].map(files => answer(t, ['geo'], folder(t, files)))),
      ['prefixed', 'plain', 'file'],
    )
  })

  for (const [what, manifest, file] of [
    ['an ES module alone', { type: 'module', exports: { import: './lib/main.js' } }, 'lib/main.js'],
    ['.mjs', { exports: './main.mjs' }, 'main.mjs'],
    ['named by main', { type: 'module', main: 'main.js' }, 'main.js'],
    ['with index.js alone', { type: 'module' }, 'index.js'],
  ] as const) {
    it(`may be ${what}, and imports DROP of the server that runs it`, async t => {
      const text = `
        import { DROP } from 'filtered-websocket'
        export const message = (payload, client) => { client.send(String(DROP === client.drop())); return DROP }`
      const cwd = folder(t, pack('geo', text, manifest, file))
      assert.equal(await answer(t, ['geo', 'echo'], cwd), 'true')
    })
  }

  it('imports the kit of the server that runs it, without an installed package', async t => {
    const text = `
      import { optionError } from 'filtered-websocket/kit'
      export const setup = () => { throw optionError('--geo takes a place, received "moon"') }`
    assert.equal(
      await refusalInside(['-f', './geo.ts'], folder(t, { 'geo.ts': text })),
      'filter ./geo.ts: --geo takes a place, received "moon"',
    )
    assert.equal(
      await refusal(['-f', './geo.ts'], { cwd: folder(t, { 'geo.ts': text }) }),
      'filter ./geo.ts: --geo takes a place, received "moon"',
    )
  })

  it('may be CommonJS', async t => {
    const text = `
      const { DROP } = require('filtered-websocket')
      module.exports = { message: (payload, client) => (client.send(String(DROP === client.drop())), DROP) }`
    const cwd = folder(t, pack('geo', text, { main: './main.cjs' }, 'main.cjs'))
    assert.equal(await answer(t, ['geo', 'echo'], cwd), 'true')
  })

  it('may be scoped, and may be one file of a package', async t => {
    const cwd = folder(t, {
      ...pack('@acme/geo', says('scoped')),
      ...pack('many', says('one of many'), { type: 'module', exports: { './geo': './geo.js' } }, 'geo.js'),
    })
    assert.deepEqual(await Promise.all([answer(t, ['@acme/geo'], cwd), answer(t, ['many/geo'], cwd)]), [
      'scoped',
      'one of many',
    ])
  })

  it('is found in a node_modules further up', async t => {
    const cwd = folder(t, { ...pack('geo', says('up')), 'a/b/.keep': '' })
    assert.equal(await answer(t, ['geo'], join(cwd, 'a/b')), 'up')
  })

  it('is never a module of Node itself', async t => {
    const cwd = folder(t)
    assert.match(await refusal(['-f', 'path'], { cwd }), /^no filter "path"\n/)
  })
})

describe('the loader refuses', { concurrency: 3 }, () => {
  it('a missing path, with all places tried', async t => {
    const cwd = folder(t)
    assert.deepEqual((await refusalInside(['-f', './nope'], cwd)).split('\n'), [
      'no filter "./nope"',
      `tried: ${cwd}/nope(.ts|.mts|.js|.mjs|.cjs)`,
      `       ${cwd}/nope/index(.ts|.mts|.js|.mjs|.cjs)`,
    ])
  })

  it('a missing path, with the built-in that may have been meant', async t => {
    const cwd = folder(t)
    const [first] = (await refusalInside(['-f', './filters/broadcast'], cwd)).split('\n')
    assert.equal(first, 'no filter "./filters/broadcast"; did you mean "broadcast"?')
  })

  it('a file URL of another machine', async t => {
    const cwd = folder(t)
    const sentence = await refusalInside(['-f', 'file://host/filter.js'], cwd)
    assert.match(sentence, /^no filter "file:\/\/host\/filter\.js"/)
  })

  it('a folder without an index', async t => {
    const cwd = folder(t, { 'dir/main.js': says('x') })
    assert.match(await refusalInside(['-f', './dir'], cwd), /^no filter "\.\/dir"\n/)
  })

  it('an empty name', async t => {
    const cwd = folder(t, { 'index.js': says('x') })
    assert.equal(await refusalInside(['-f', ''], cwd), 'a filter needs a name, received ""')
  })

  for (const name of [
    'constructor',
    '__proto__',
    './constructor',
    'filtered_websocket.filters.constructor',
    'filtered_websocket.filters.__proto__',
    './file.js/x',
    '/dev/null',
    `./${'long'.repeat(100)}`,
    'nul\0byte',
    './nul\0byte',
    'file:///nul%00byte',
  ]) {
    it(`the name ${JSON.stringify(name.slice(0, 40))}, which is missing`, async t => {
      const cwd = folder(t, { 'file.js': says('x') })
      assert.ok((await refusalInside(['-f', name], cwd)).startsWith(`no filter "${name}"`))
      assert.ok((await refusalInside(['--storage', name], cwd)).startsWith(`no storage "${name}"`))
    })
  }

  it('a missing filter that another uses, naming both', async t => {
    const cwd = folder(t, { 'mine.js': "export const uses = ['echos']\nexport const message = () => {}" })
    const [first] = (await refusalInside(['-f', './mine.js'], cwd)).split('\n')
    assert.match(first!, /^no filter "echos".*; did you mean "echo"\?$/)
    assert.match(first!, /\.\/mine\.js/)
  })

  const KEYS =
    'accept, connect, open, data, message, disconnect, permit, retain, publish, joined, left, consumer, request, start, reload, stop, setup'
  for (const [what, text, sentence] of [
    [
      'a module without a known key, with the one that was meant',
      'export const mesage = () => {}',
      `filter ./x.ts (FILE) exports none of ${KEYS}; it exports mesage; did you mean "message"?`,
    ],
    ['an empty module', '', `filter ./x.ts (FILE) exports none of ${KEYS}; it exports nothing`],
    [
      'a module with a function for its default alone, saying so',
      'export default () => {}',
      `filter ./x.ts (FILE) exports none of ${KEYS}; it exports default`,
    ],
    [
      'a syntax error, with file, line and column',
      'export const a = 1\n\nexport const message = (p: string => p\n',
      'cannot load filter ./x.ts: syntax error at FILE:3:35: Unexpected token, expected ","\n  2 |\n> 3 | export const message = (p: string => p',
    ],
    [
      'a throw while loading',
      "import './fine'\nthrow new Error('no database')",
      "cannot load filter ./x.ts: FILE:2 fails: no database\n  1 | import './fine'\n> 2 | throw new Error('no database')",
    ],
    ['a throw of what is no error', "throw 'no database'", 'cannot load filter ./x.ts: FILE fails: no database'],
    [
      'an import of what there is not',
      "import { x } from './nope'\nexport const message = () => x",
      "cannot load filter ./x.ts: FILE:1 fails: Cannot find module './nope'\n> 1 | import { x } from './nope'",
    ],
    [
      'a setup that throws',
      "export const setup = () => { throw new Error('no licence') }",
      "setup of filter ./x.ts (FILE:1) failed: no licence\n> 1 | export const setup = () => { throw new Error('no licence') }",
    ],
    [
      'a setup that rejects',
      "export const setup = async () => {\n\tawait 0\n\tthrow new Error('no licence') }",
      "setup of filter ./x.ts (FILE:3) failed: no licence\n  2 |   await 0\n> 3 |   throw new Error('no licence') }",
    ],
    [
      'a setup that does not settle',
      'export const setup = () => new Promise(() => {})',
      'setup of filter ./x.ts (FILE) failed: setup did not settle within 0.2 s',
    ],
    [
      'a handler that is no function',
      "export const message = 'hello'",
      'filter ./x.ts: its export "message" must be a function, or an array of functions, received string',
    ],
    [
      'an unknown stage',
      "export const stage = 'gaurd'\nexport const message = () => {}",
      'filter ./x.ts: its export "stage" must be "guard", "optional", "observer" or left out, received string',
    ],
    [
      'a description that is a number',
      'export const describe = 7\nexport const message = () => {}',
      'filter ./x.ts: its export "describe" must be a string, received number',
    ],
    [
      'a description that is an array',
      "export const describe = ['a', 'b']\nexport const message = () => {}",
      'filter ./x.ts: its export "describe" must be a string, received object',
    ],
    [
      'a description that is null',
      'export const describe = null\nexport const message = () => {}',
      'filter ./x.ts: its export "describe" must be a string, received object',
    ],
    [
      'a description that is a function',
      "export const describe = () => 'a'\nexport const message = () => {}",
      'filter ./x.ts: its export "describe" must be a string, received function',
    ],
    [
      'a description that is a boolean',
      'export const describe = true\nexport const message = () => {}',
      'filter ./x.ts: its export "describe" must be a string, received boolean',
    ],
    [
      'options without a type',
      "export const options = { 'x-a': { describe: 'a' } }\nexport const message = () => {}",
      'filter ./x.ts: option "x-a" needs a type: string, number, boolean or array',
    ],
    [
      'a need that the storage does not meet',
      "export const needs = ['steams']\nexport const message = () => {}",
      '-f ./x.ts needs a storage with "steams"; storage "memory" has sets, values, bus, streams',
    ],
    [
      'filters that use each other',
      "export const uses = ['y']\nexport const message = () => {}",
      'filters use each other in a circle: x -> y -> x',
    ],
    [
      'an option of the core',
      "export const options = { port: { type: 'number', describe: 'a' } }\nexport const message = () => {}",
      'option --port is claimed by core and by filter x; rename one of them',
    ],
  ] as const) {
    it(what, async t => {
      const cwd = folder(t, {
        'x.ts': text,
        'fine.ts': 'export {}',
        'y.js': "export const uses = ['x']\nexport const message = () => {}",
      })
      const argv = ['-f', './x.ts', '-p', '0', '--filter-timeout', '0.2']
      assert.equal(await refusalInside(argv, cwd), sentence.replaceAll('FILE', join(cwd, 'x.ts')))
    })
  }

  it('a syntax error in a neighbour, with the file that has it', async t => {
    const cwd = folder(t, {
      'mine.ts': "import { a } from './my lib/broken'\nexport const message = () => a",
      'my lib/broken.ts': 'export const a = {{',
    })
    assert.equal(
      await refusalInside(['-f', './mine.ts'], cwd),
      `cannot load filter ./mine.ts: syntax error at ${cwd}/my lib/broken.ts:1:19: Unexpected token\n> 1 | export const a = {{`,
    )
  })

  // Otherwise only the first message would show each of these, if at all.
  for (const [what, text, sentence] of [
    [
      'a setup that returns a handler that is no function',
      "export const setup = () => ({ message: 'hello' })",
      /^filter \.\/x\.ts: .*"message" must be a function, or an array of functions, received string$/,
    ],
    [
      'a setup that returns no known key, with the one that was meant',
      'export const setup = () => ({ mesage: () => {} })',
      /^.*\.\/x\.ts.*mesage.*did you mean "message"\?$/,
    ],
    [
      'a setup that returns a wrong key beside a right one',
      'export const setup = () => ({ open: () => {}, mesage: () => {} })',
      /^filter \.\/x\.ts: .*mesage.*did you mean "message"\?$/,
    ],
    [
      'a wrong key beside a right one',
      'export const open = () => {}\nexport const mesage = () => {}',
      /^filter \.\/x\.ts: it exports "mesage"; did you mean "message"\?$/,
    ],
    [
      'a setup that returns "explain" that is no array of strings',
      "export const setup = () => ({ open: () => {}, explain: ['a', 7] })",
      /^filter \.\/x\.ts: its setup returned "explain", which must be an array of strings, received \[/,
    ],
    [
      'a setup that returns a symbol',
      "export const setup = () => Symbol('no')",
      /^filter \.\/x\.ts: its setup returned Symbol\(no\), not handlers$/,
    ],
    [
      'a setup that throws what cannot be shown',
      'export const setup = () => { throw Object.create(null) }',
      /^setup of filter \.\/x\.ts .* failed: a value that cannot be shown$/,
    ],
    [
      'a limit that is no number, nor to be written as JSON',
      "export const limits = { 'max-payload': 5n }\nexport const message = () => {}",
      /^filter \.\/x\.ts: its limit "max-payload" takes a whole number from 1 to 536870888, received 5$/,
    ],
    ['a setup that returns what is no object', 'export const setup = () => 5', /^.*\.\/x\.ts.*setup.*(number|5).*$/],
    [
      'a limit that there is not',
      "export const limits = { 'max-paylod': 5 }\nexport const message = () => {}",
      /^.*\.\/x\.ts.*max-paylod.*did you mean "max-payload"\?$/,
    ],
    [
      'a limit that is no number',
      "export const limits = { 'max-payload': 'many' }\nexport const message = () => {}",
      /^filter \.\/x\.ts: its limit "max-payload" takes a whole number from 1 to 536870888, received "many"$/,
    ],
    [
      'a limit beyond what may be set',
      "export const limits = { 'max-payload': 2 ** 31 }\nexport const message = () => {}",
      /^filter \.\/x\.ts: its limit "max-payload" takes a whole number from 1 to 536870888, received 2147483648$/,
    ],
    [
      'a limit of less than one byte',
      "export const limits = { 'max-buffered': -1 }\nexport const message = () => {}",
      /^filter \.\/x\.ts: its limit "max-buffered" takes a whole number of at least 1, received -1$/,
    ],
    [
      'an alias that is taken',
      "export const options = { 'x-a': { type: 'string', alias: 'p', describe: 'a' } }\nexport const message = () => {}",
      /^option -p is claimed by core and by filter x; rename one of them$/,
    ],
    [
      'an option whose name no flag can spell',
      "export const options = { x_Max: { type: 'number', describe: 'a' } }\nexport const message = () => {}",
      /^.*\.\/x\.ts.*x_Max.*x-max.*$/,
    ],
    [
      'an option whose default is of another type',
      "export const options = { 'x-a': { type: 'number', default: 'many', describe: 'a' } }\nexport const message = () => {}",
      /^.*x.*x-a.*"many"$/,
    ],
  ] as const) {
    it(what, async t => {
      const cwd = folder(t, { 'x.ts': text })
      assert.match(await refusalInside(['-f', './x.ts', '--explain'], cwd), sentence)
    })
  }

  it('a guard after another filter, showing the right order', async t => {
    const guard = "export const stage = 'guard'\nexport const message = () => {}"
    const cwd = folder(t, { 'jwt.ts': guard, 'allow.js': guard })
    assert.equal(
      await refusalInside(['-f', './allow', 'log', './jwt.ts', 'rate-limit', 'broadcast'], cwd),
      './jwt.ts is a guard and must stand before log: -f ./allow ./jwt.ts rate-limit log broadcast',
    )
  })

  it('an option that two filters claim, naming both', async t => {
    const text = "export const options = { deep: { type: 'number', describe: 'x' } }\nexport const message = () => {}"
    const cwd = folder(t, { 'one.js': text, 'two.js': text })
    assert.equal(
      await refusalInside(['-f', './one', './two'], cwd),
      'option --deep is claimed by filter one and by filter two; rename one of them',
    )
  })

  it('an option that two files of one name claim, naming their paths', async t => {
    const text =
      "export const options = { 'one-x': { type: 'number', describe: 'x' } }\nexport const message = () => {}"
    const cwd = folder(t, { 'a/one.js': text, 'b/one.js': text })
    assert.equal(
      await refusalInside(['-f', './a/one', './b/one'], cwd),
      `option --one-x is claimed by filter one and by filter one (${cwd}/b/one.js); rename one of them`,
    )
  })

  it('an option that a storage and a filter claim, naming both', async t => {
    const options = "export const options = { deep: { type: 'number', describe: 'x' } }\n"
    const cwd = folder(t, {
      'one.js': `${options}export const message = () => {}`,
      'store.js': `${options}export const open = () => ({})`,
    })
    assert.equal(
      await refusalInside(['-f', './one', '--storage', './store'], cwd),
      'option --deep is claimed by storage store and by filter one; rename one of them',
    )
  })
})

describe('a storage of a user', { concurrency: 3 }, () => {
  const STORE = `
    import type { OptionSpecs, OptionValues } from 'filtered-websocket'
    export const options = {
      'store-path': { type: 'string', default: 'x.db', describe: 'where it keeps things' },
    } as const satisfies OptionSpecs
    export const open = ({ options: chosen }: { options: OptionValues<typeof options> }) => ({
      sets: { get: () => new Set([chosen['store-path']]), add() {}, remove() {} },
    })`

  it('shows its own options in --help', async t => {
    const cwd = folder(t, { 'store.ts': STORE })
    const { stdout } = await run(['--storage', './store', '--help'], { cwd })
    assert.match(stdout, /^Storage store:\n {6}--store-path +where it keeps things +\[string\] \[default: "x\.db"\]$/m)
    assert.doesNotMatch(stdout, /Storage memory:/)
  })

  it('is opened with its options, and serves the filters', async t => {
    const cwd = folder(t, {
      'store.ts': STORE,
      'asks.ts':
        "export const needs = ['sets']\nexport const setup = ({ storage }) => ({ message: async () => [...await storage.sets.get('k')].join() })",
    })
    const argv = ['--storage', './store', '--store-path', 'y.db']
    assert.equal(await answer(t, ['./asks', 'echo', ...argv], cwd), 'y.db')
  })

  it('may be named by STORAGE_OBJECT_MODULE, and may be a package', async t => {
    const cwd = folder(t, pack('filtered-websocket-cloud', 'export const open = () => ({})'))
    const { stdout } = await run(['--explain'], { cwd, env: { STORAGE_OBJECT_MODULE: 'cloud' } })
    assert.match(stdout, /^storage\n {2}cloud +node_modules\/filtered-websocket-cloud\/index\.js$/m)
    assert.deepEqual(explained(stdout).get('storage'), ['cloud', 'env STORAGE_OBJECT_MODULE'])
  })

  it('is refused when a filter needs what it lacks', async t => {
    const cwd = folder(t, {
      'store.ts': STORE,
      'asks.js': "export const needs = ['bus']\nexport const message = () => {}",
    })
    assert.equal(
      await refusal(['-p', '0', '--storage', './store', '-f', './asks'], { cwd }),
      '-f ./asks needs a storage with "bus"; storage "store" has sets',
    )
  })

  it('is refused without an open, with the one that was meant', async t => {
    const cwd = folder(t, { 'store.js': 'export const opne = () => ({})' })
    assert.equal(
      await refusal(['--storage', './store'], { cwd }),
      `storage ./store (${cwd}/store.js) exports none of open; it exports opne; did you mean "open"?`,
    )
  })

  it('fails the start with exit 1 and one line when it does not open', async t => {
    const cwd = folder(t, { 'store.js': "export const open = async () => { throw new Error('connection refused') }" })
    assert.deepEqual(await run(['-p', '0', '--storage', './store'], { cwd }), {
      code: 1,
      signal: null,
      stdout: '',
      stderr: 'fws-server: storage store does not open: connection refused\n',
    })
  })
})

describe('from source', { concurrency: 3 }, () => {
  it('the built-ins are found, and they are the sources', async () => {
    const { code, stdout, stderr } = await run(['-f', 'log', 'broadcast', '--explain'], { command: source })
    assert.equal(code, 0, stderr)
    assert.match(stdout, /^ {4}2\. broadcast +filters\/broadcast\.ts$/m)
    assert.match(stdout, /^ {2}memory +storage\/memory\.ts$/m)
  })

  it("a user's filter shares DROP with the server", async t => {
    const cwd = folder(t, { 'modern.ts': typescript('modern.ts') })
    const server = await launch(t, ['-p', '0', '-f', './modern', 'echo'], { cwd, command: source })
    const peer = await Peer.open(server.url)
    peer.send('modern.ts')
    peer.send('the end')
    assert.deepEqual(await peer.get(2), ['modern.ts true', 'the end'])
  })

  it('the version is that of the package', async () => {
    const [fromSource, fromDist] = await Promise.all([run(['--version'], { command: source }), run(['--version'])])
    assert.equal(fromSource.stdout, fromDist.stdout)
    assert.match(fromSource.stdout, /^\d+\.\d+\.\d+\n$/)
  })
})

type Test = Parameters<typeof folder>[0]

/** The reply to `?` of a server with these filters. */
async function answer(t: Test, filters: readonly string[], cwd: string): Promise<string | Buffer> {
  const server = await launch(t, ['-p', '0', '-f', ...filters], { cwd })
  const peer = await Peer.open(server.url)
  peer.send('?')
  const [first] = await peer.get(1)
  return first!
}

/** The file that a filter name resolves to. */
async function fileOf(asked: string, cwd: string): Promise<string> {
  const { code, stdout, stderr } = await inside(['-f', asked, '--explain'], cwd)
  assert.equal(code, 0, stderr)
  const shown = stdout.split('\n')[2]!.replace(`    1. ${asked.padEnd(24)} `, '')
  return join(cwd, shown)
}

/** The files of a package. */
function pack(
  name: string,
  text: string,
  manifest: object = { type: 'module' },
  file = 'index.js',
): Record<string, string> {
  const at = `node_modules/${name}`
  return {
    [`${at}/package.json`]: JSON.stringify({ name, version: '1.0.0', ...manifest }),
    [`${at}/${file}`]: text,
  }
}
