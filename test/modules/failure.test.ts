import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { failureOf } from '../../src/modules/failure.ts'
import { EXTENSION, ROOT } from '../../src/root.ts'
import { folder, refusalInside } from '../support/cli.ts'

const UNDEFINED = "Cannot read properties of undefined (reading 'b')"

describe('a filter that fails shows the line of its code', { concurrency: 3 }, () => {
  for (const [what, files, sentence] of [
    [
      'at import, in TypeScript with types that are erased',
      { 'x.ts': 'interface A {\n  b: string\n}\nconst a = undefined as unknown as A\na.b.trim()\n' },
      `cannot load filter ./x: DIR/x.ts:5 fails: ${UNDEFINED}\n  4 | const a = undefined as unknown as A\n> 5 | a.b.trim()`,
    ],
    [
      'at import, in TypeScript that is compiled to more lines',
      { 'x.ts': 'enum E { A }\nclass P {\n  constructor(private readonly q: E) {}\n}\nnew P(E.A)\nundefined.b' },
      `cannot load filter ./x: DIR/x.ts:6 fails: ${UNDEFINED}\n  5 | new P(E.A)\n> 6 | undefined.b`,
    ],
    [
      'at import, after an await',
      { 'x.mjs': 'await 0\r\nundefined.b\r\n' },
      `cannot load filter ./x: DIR/x.mjs:2 fails: ${UNDEFINED}\n  1 | await 0\n> 2 | undefined.b`,
    ],
    [
      'at import, in CommonJS',
      { 'x.cjs': '\nundefined.b' },
      `cannot load filter ./x: DIR/x.cjs:2 fails: ${UNDEFINED}\n  1 |\n> 2 | undefined.b`,
    ],
    [
      'at import of another file, with the name of that file',
      { 'x.js': "import './lib/y.js'", 'lib/y.js': '\n\n\n\n\n\n\n\nconst a = 1\nundefined.b' },
      `cannot load filter ./x: DIR/lib/y.js:10 fails: ${UNDEFINED}\n   9 | const a = 1\n> 10 | undefined.b`,
    ],
    [
      'at import of a package that is missing',
      { 'x.js': "export const a = 1\nimport 'zodd'" },
      "cannot load filter ./x: DIR/x.js:2 fails: Cannot find module 'zodd'\n  1 | export const a = 1\n> 2 | import 'zodd'",
    ],
    [
      'not of a package that it calls',
      {
        'x.js': "import { fail } from 'thrower'\nfail()",
        'node_modules/thrower/package.json': '{ "name": "thrower", "main": "index.js" }',
        'node_modules/thrower/index.js': "exports.fail = () => {\n  throw new Error('bad call')\n}",
      },
      "cannot load filter ./x: DIR/x.js:2 fails: bad call\n  1 | import { fail } from 'thrower'\n> 2 | fail()",
    ],
    [
      'in its package, if it is one',
      {
        'node_modules/filtered-websocket-x/package.json': '{ "name": "filtered-websocket-x", "main": "index.js" }',
        'node_modules/filtered-websocket-x/index.js': 'exports.setup = () => {\n  undefined.b\n}',
      },
      `setup of filter x (DIR/node_modules/filtered-websocket-x/index.js:2) failed: ${UNDEFINED}\n  1 | exports.setup = () => {\n> 2 |   undefined.b`,
    ],
    [
      'when the core refuses a call in its setup',
      { 'x.js': 'export const setup = host => {\n  host.use("clock")\n}' },
      'setup of filter ./x (DIR/x.js:2) failed: filter ./x uses "clock" without listing it in uses\n  1 | export const setup = host => {\n> 2 |   host.use("clock")',
    ],
    [
      'cut to 120 characters, without control characters',
      { 'x.js': `const a = '\x1b[2J${'x'.repeat(200)}'; undefined.b` },
      `cannot load filter ./x: DIR/x.js:1 fails: ${UNDEFINED}\n> 1 | const a = '\\x1b[2J${'x'.repeat(105)}`,
    ],
    [
      'not if it throws what is no error',
      { 'x.js': "throw 'no database'" },
      'cannot load filter ./x: DIR/x.js fails: no database',
    ],
    [
      'not if it reports a wrong option',
      {
        'x.js': "export const setup = () => { throw Object.assign(new Error('--x takes a'), { code: 'ERR_OPTION' }) }",
      },
      'filter ./x: --x takes a',
    ],
    [
      'not if its error has a stack that cannot be read',
      {
        'x.js':
          "export const setup = () => { throw { get stack() { throw new Error('looked at') }, toString: () => 'odd' } }",
      },
      'setup of filter ./x (DIR/x.js) failed: odd',
    ],
  ] as const) {
    it(what, async t => {
      const cwd = folder(t, files)
      const asked = 'node_modules/filtered-websocket-x/index.js' in files ? 'x' : './x'
      const refused = await refusalInside(['-p', '0', '-f', asked], cwd)
      assert.equal(refused, sentence.replaceAll('DIR', cwd))
    })
  }
})

describe('a built-in filter that fails', () => {
  it('has no line: that on the stack is of the program that starts the server', () => {
    const file = fileURLToPath(new URL(`filters/stdout-messages${EXTENSION}`, ROOT))
    assert.deepEqual(failureOf(file, new Error('no standard output')), { place: file, code: '' })
  })
})
