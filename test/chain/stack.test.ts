import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { testServer } from '../../src/testing/index.ts'
import { folder } from '../support/cli.ts'

/** What is logged of the error of a message handler with this body; DIR is the folder of the filter. */
async function logged(t: Parameters<typeof folder>[0], files: Readonly<Record<string, string>>) {
  const cwd = folder(t, files)
  const server = await testServer([`${cwd}/x.js`])
  const ann = await server.connect()
  await ann.say('hi')
  await server.stop()
  const line = server.logged.find(({ level }) => level === 50) as {
    err: { message: string; stack: string; code?: string }
  }
  // jiti changes columns.
  return { ...line.err, stack: line.err.stack.replaceAll(cwd, 'DIR').replace(/:\d+(?=\)?$)/gm, '') }
}

describe('the logged stack of a handler has the lines of its filter only', () => {
  for (const [what, body, stack] of [
    ['when it throws', "throw new TypeError('no')", ['TypeError: no', '    at Object.message [as run] (DIR/x.js:2)']],
    [
      'when it rejects after an await',
      "return Promise.resolve().then(() => { throw new Error('late') })",
      ['Error: late', '    at DIR/x.js:2'],
    ],
    [
      'when a file that it imports throws',
      'fail(5)',
      ['RangeError: 5', '    at fail (DIR/y.js:1)', '    at Object.message [as run] (DIR/x.js:2)'],
    ],
    [
      'when the core refuses its call',
      'client.send({})',
      [
        'FwsError: send takes a string or a Buffer, received object; JSON.stringify an object',
        '    at Object.message [as run] (DIR/x.js:2)',
      ],
    ],
    [
      'when it returns a wrong value',
      'return 5',
      ['FwsError: returned number 5; a message handler returns nothing, a string, a Buffer, or DROP'],
    ],
    [
      'with its cause',
      "throw new Error('a', { cause: new Error('b') })",
      [
        'Error: a',
        '    at Object.message [as run] (DIR/x.js:2)',
        'caused by: Error: b',
        '    at Object.message [as run] (DIR/x.js:2)',
      ],
    ],
    [
      'five of them when it recurses without end',
      'const f = () => f(); f()',
      ['RangeError: Maximum call stack size exceeded', ...Array.from({ length: 5 }, () => '    at f (DIR/x.js:2)')],
    ],
    [
      'with several lines of a message',
      "throw new Error('a\\n    b')",
      ['Error: a', '    b', '    at Object.message [as run] (DIR/x.js:2)'],
    ],
  ] as const) {
    it(what, async t => {
      const files = {
        'x.js': `import { fail } from './y.js'\nexport const message = (payload, client) => { ${body} }`,
        'y.js': 'export const fail = n => { throw new RangeError(n) }',
      }
      assert.deepEqual((await logged(t, files)).stack.split('\n'), stack)
    })
  }

  it('and keeps message, code and fields, without a change to the error itself', async t => {
    const files = {
      'x.js': `const error = Object.assign(new Error('no'), { code: 'E_MINE', detail: { a: 1 } })
const { stack } = error
export const message = () => { throw error }
export const stop = () => { if (error.stack !== stack) throw new Error('changed') }`,
    }
    const { stack, ...rest } = await logged(t, files)
    assert.deepEqual(rest, { type: 'Error', message: 'no', code: 'E_MINE', detail: { a: 1 } })
  })
})
