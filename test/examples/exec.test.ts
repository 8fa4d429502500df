import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { env } from 'node:process'
import { describe, it } from 'node:test'
import type { ServerOptions } from '../../src/index.ts'
import { Refused } from '../../src/testing/index.ts'
import { folder, root, type Test } from '../support/cli.ts'
import { onPath } from '../support/debian.ts'
import { until } from '../support/peer.ts'
import { startTestServer } from '../support/test-server.ts'

const examples = join(root, 'examples/exec')
const needs = (program: string) => (onPath(program, env) === undefined ? { skip: `needs ${program}` } : {})

async function start(t: Test, command: string, ...behind: NonNullable<ServerOptions['filters']>) {
  return startTestServer(t, [command, ...behind])
}

/** Messages that one client sends, and those that it gets back. */
async function exchange(t: Test, command: string, sent: readonly (string | Buffer)[]) {
  const ann = await (await start(t, command, 'echo')).connect()
  for (const payload of sent) await ann.say(payload)
  return ann.received
}

describe('examples/exec', () => {
  for (const [file, program] of [
    ['shout.py', 'python3'],
    ['shout.sh', 'jq'],
  ] as const)
    it(`${file} rewrites messages`, needs(program), async t => {
      const bytes = Buffer.from('x')
      assert.deepEqual(await exchange(t, `exec:${examples}/${file}`, ['hi', '"\n', bytes]), ['HI', '"\n', bytes])
    })

  for (const [name, program] of [
    ['mawk -W interactive', 'mawk'],
    ['gawk', 'gawk'],
  ] as const)
    it(`block.awk drops messages, with ${program}`, needs(program), async t => {
      const command = `exec:${name} -v word=spam -f ${examples}/block.awk`
      assert.deepEqual(await exchange(t, command, ['a', 'my spam', 'b']), ['a', 'b'])
    })

  it('block.c drops messages', needs('cc'), async t => {
    const out = join(folder(t), 'block')
    execFileSync('cc', ['-O2', '-Wall', '-Werror', '-o', out, join(examples, 'block.c')])
    assert.deepEqual(await exchange(t, `exec:${out} spam`, ['a', 'my spam', 'b']), ['a', 'b'])
  })

  it('rooms.rb has rooms', needs('ruby'), async t => {
    const server = await start(t, `exec:${examples}/rooms.rb`)
    const [ann, bob, eve] = [await server.connect(), await server.connect(), await server.connect()]
    for (const client of [ann, bob]) await client.say('/join chess')
    await eve.say('not in a room')
    await ann.say('e4')
    await until(() => {
      server.flush()
      return bob.received.length > 0
    })
    assert.deepEqual([ann.received, bob.received, eve.received], [['e4'], ['e4'], []])
  })

  it('auth.go checks a token', needs('go'), async t => {
    const out = join(folder(t), 'auth')
    execFileSync('go', ['build', '-o', out, join(examples, 'auth.go')])
    const server = await start(t, `exec-guard:${out}`)
    await assert.rejects(server.connect({ url: '/?token=wrong' }), Refused)
    assert.equal((await server.connect({ url: '/?token=token-of-ann' })).client.identity, 'ann')
  })

  it('shout.py is the program that the guide shows', () => {
    const guide = readFileSync(join(root, 'docs/guide/pipes.md'), 'utf8')
    assert.ok(guide.includes(readFileSync(join(examples, 'shout.py'), 'utf8')))
  })
})
