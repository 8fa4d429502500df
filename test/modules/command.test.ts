import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { shownName } from '../../src/modules/loader.ts'
import { refusalInside } from '../support/cli.ts'

describe('a name with a command line', () => {
  for (const [name, message] of [
    ['broadcast:./x secret', 'filter broadcast takes no command line; remove the colon of "broadcast:" and the rest'],
    ['ecco:./x secret', 'no filter "ecco:" that takes a command line; did you mean "echo"?'],
    ['Exec:./x secret', 'no filter "Exec:" that takes a command line; did you mean "exec"?'],
    ['exec :./x secret', 'no filter "exec :" that takes a command line; did you mean "exec"?'],
    [
      'exec:TOKEN=secret ./x',
      'filter exec: a command line begins with a program; for a variable write env NAME=value ./program',
    ],
    ['echo-guard:./x secret', 'filter echo takes no command line; remove the colon of "echo-guard:" and the rest'],
  ] as const)
    it(`is refused without showing the rest: ${name}`, async () => {
      assert.equal(await refusalInside(['-f', name], '/'), message)
    })

  for (const [asked, shown] of [
    ['exec:./bin/shout.py secret', 'exec:shout.py'],
    [`exec-guard:'/a b/c d' secret`, 'exec-guard:c d'],
    [`exec:./x 'secret`, 'exec:'],
    ['exec:TOKEN=secret ./x', 'exec:'],
    ['./filters/a:b', './filters/a:b'],
    ['file:///a/b.ts', 'file:///a/b.ts'],
    ['broadcast', 'broadcast'],
  ] as const)
    it(`is shown without arguments: ${asked}`, () => assert.equal(shownName(asked), shown))
})
