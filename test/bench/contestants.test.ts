import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { checkout } from '../../bench/contestants.ts'
import { folder } from '../support/cli.ts'

const BUILT = 'dist/bin/fws-server.js'
const helpWith = (...options: string[]) => `console.log(${JSON.stringify(options.join('\n'))})`
const all = helpWith('--port', '--max-clients', '--compress')

/** The arguments of Node for a checkout with these files, from the program on. */
function argumentsFor(path: string, deflate: boolean): readonly string[] {
  const command = checkout(path).command({ kind: 'rooms', deflate })
  assert.equal(command[0], process.execPath)
  return command.slice(command.findIndex(part => part.startsWith(path)))
}

describe('another checkout', () => {
  const filter = ['-f', join(import.meta.dirname, '../../bench/filters/rooms.ts')]
  const port = ['--port', '0']
  const clients = ['--max-clients', '20000']

  it('runs its built command', t => {
    const path = folder(t, { [BUILT]: all, 'bin/fws-server.ts': all })
    assert.deepEqual(argumentsFor(path, false), [join(path, BUILT), ...port, ...clients, ...filter])
  })

  it('runs its source if it is not built', t => {
    const path = folder(t, { 'bin/fws-server.ts': all })
    assert.deepEqual(argumentsFor(path, false), [join(path, 'bin/fws-server.ts'), ...port, ...clients, ...filter])
  })

  const options: Readonly<Record<string, readonly [help: string, options: readonly string[]]>> = {
    'all options': [all, [...port, ...clients, '--compress']],
    'no limit of clients': [helpWith('--port', '--compress'), [...port, '--compress']],
    'no compression': [helpWith('--port', '--max-clients'), [...port, ...clients]],
    'a help without options': [helpWith(), port],
    'no help': ['process.exit(2)', port],
  }
  for (const [name, [help, expected]] of Object.entries(options)) {
    it(`gets the options that it has: ${name}`, t => {
      const path = folder(t, { [BUILT]: help })
      assert.deepEqual(argumentsFor(path, true), [join(path, BUILT), ...expected, ...filter])
    })
  }

  const wrong: Readonly<Record<string, Readonly<Record<string, string>>>> = {
    'an empty folder': {},
    'a package without a command': { 'package.json': '{}' },
    'a build without a command': { 'dist/src/index.js': '' },
    'another command': { 'dist/bin/server.js': all },
    'a source in another folder': { 'src/bin/fws-server.ts': all },
  }
  for (const [name, files] of Object.entries(wrong)) {
    it(`is refused without a command: ${name}`, t => {
      const path = folder(t, files)
      assert.throws(() => checkout(path), {
        message: `a checkout has dist/bin/fws-server.js or bin/fws-server.ts, received "${path}"`,
      })
    })
  }

  it('is refused if the path is empty, not replaced by the working directory', () => {
    assert.throws(() => checkout(''), /received ""$/)
  })
})
