import assert from 'node:assert/strict'
import { chmodSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { describe, it } from 'node:test'
import { atExit, Program, splitWords } from '../../src/kit/program.ts'
import { RateLimitedLog } from '../../src/kit/rate-limited-log.ts'
import { folder, type Test } from '../support/cli.ts'
import { isAlive } from '../support/is-alive.ts'
import { collectedLog } from '../support/log.ts'
import { until } from '../support/peer.ts'

describe('splitWords', () => {
  for (const [line, words] of [
    ['./shout.py', ['./shout.py']],
    ['  a\tb\n c ', ['a', 'b', 'c']],
    [`./x --prefix 'a b'`, ['./x', '--prefix', 'a b']],
    [`a "b 'c' d"e`, ['a', "b 'c' de"]],
    [String.raw`a "b \" \\ \n"`, ['a', String.raw`b " \ \n`]],
    [String.raw`a '\' b\ c`, ['a', '\\', 'b c']],
    [`a '' ""`, ['a', '', '']],
    ['a $HOME ; * | b', ['a', '$HOME', ';', '*', '|', 'b']],
  ] as const)
    it(`splits ${JSON.stringify(line)}`, () => assert.deepEqual(splitWords(line), words))

  for (const [line, message] of [
    ['', 'a command line needs a program, received none'],
    [' \n', 'a command line needs a program, received none'],
    [`'' a`, 'a command line needs a program, received none'],
    [`a 'secret`, "a quote (') that is not closed in word 2 of the command line"],
    ['"secret', 'a quote (") that is not closed in word 1 of the command line'],
    ['a b\\', 'a backslash at the end in word 2 of the command line'],
    ['a b\0', 'a NUL character in word 2 of the command line'],
  ] as const)
    it(`refuses ${JSON.stringify(line)}`, () => {
      assert.throws(() => splitWords(line), { code: 'ERR_OPTION', message })
    })
})

/** Starts a program; it is killed after the test. */
async function start(t: Test, words: readonly string[], env?: Record<string, string>, base = '/') {
  const { log, logged } = collectedLog()
  const program = await Program.start({ words, base, log: new RateLimitedLog(log, 100), ...(env && { env }) })
  t.after(() => program.kill())
  let output = ''
  program.stdout.setEncoding('utf8').on('data', text => {
    output += text
  })
  const lines = () => logged.map(({ line }) => line)
  return {
    program,
    output: () => output,
    logged,
    lines,
    shows: (text: string) => until(() => output.includes(text), text),
  }
}

describe('Program', () => {
  it('reads standard input, writes standard output, and ends when its input is closed', async t => {
    const { program, output } = await start(t, ['cat'])
    program.stdin.write('a\n')
    await program.stop(30_000)
    assert.deepEqual([output(), await program.ended, program.hasEnded], ['a\n', 'exited with code 0', true])
  })

  it('runs relative programs in their folder, with the given variables and without those of the server', async t => {
    const base = folder(t, { 'bin/x': '#!/bin/sh\necho "$1 $PWD $A $FWS_SECRET."' })
    chmodSync(join(base, 'bin/x'), 0o755)
    process.env.FWS_SECRET = 'secret'
    t.after(() => {
      delete process.env.FWS_SECRET
    })
    const { program, output } = await start(t, ['bin/x', 'a b'], { A: '1' }, base)
    await program.ended
    assert.equal(output(), `a b ${base} 1 .\n`)
  })

  it('gets only the named variables of the server', async t => {
    process.env.FWS_EXAMPLE = 'given'
    t.after(() => {
      delete process.env.FWS_EXAMPLE
    })
    const { log } = collectedLog()
    const inherits = ['FWS_EXAMPLE', 'PATH']
    const program = await Program.start({
      words: ['env'],
      base: '/',
      log: new RateLimitedLog(log),
      inherits,
      env: { A: '1' },
    })
    const output = await new Response(program.stdout as never).text()
    assert.deepEqual(output.split('\n').sort(), ['', 'A=1', 'FWS_EXAMPLE=given', `PATH=${process.env.PATH}`])
  })

  it('sends the given signals one after the other', async t => {
    const script = 'trap "echo INT" INT; trap "echo TERM; exit 4" TERM; echo ready; while :; do sleep 0.1; done'
    const { program, output, shows } = await start(t, ['sh', '-c', script])
    await shows('ready')
    await program.stop(0, ['SIGINT', 'SIGTERM'])
    assert.deepEqual([await program.ended, output()], ['exited with code 4', 'ready\nINT\nTERM\n'])
  })

  it('is read to its end, however slow the reader is', async () => {
    const { log } = collectedLog()
    const words = ['sh', '-c', 'head -c 180000 /dev/zero']
    const program = await Program.start({ words, base: '/', log: new RateLimitedLog(log) })
    let bytes = 0
    program.stdout.on('data', chunk => {
      bytes += chunk.length
      program.stdout.pause()
      setTimeout(() => program.stdout.resume(), 400)
    })
    await program.ended
    assert.equal(bytes, 180_000)
  })

  it('reports how it ended', async t => {
    const { program } = await start(t, ['sh', '-c', 'exit 3'])
    assert.equal(await program.ended, 'exited with code 3')
    const { program: killed } = await start(t, ['sleep', '60'])
    killed.kill()
    assert.equal(await killed.ended, 'was ended by SIGKILL')
  })

  it('refuses a program that cannot be started, without its arguments', async t => {
    const base = folder(t, { plain: 'x', lost: '#!/no/interpreter\n' })
    chmodSync(join(base, 'lost'), 0o755)
    mkdirSync(join(base, 'sub'))
    for (const [program, message] of [
      ['./none', `cannot start ./none: ${base}/none does not exist`],
      ['no-such-program', 'cannot start no-such-program: it is not in PATH; write ./ before a file of the folder'],
      ['./plain', `cannot start ./plain: ${base}/plain is not executable; use chmod +x`],
      ['./lost', `cannot start ./lost: the interpreter in the first line of ${base}/lost does not exist`],
      ['./sub', `cannot start ./sub: ${base}/sub is a folder`],
    ] as const) {
      await assert.rejects(start(t, [program, 'secret'], {}, base), { code: 'ERR_OPTION', message })
      const check = () => Program.check({ words: [program, 'secret'], base })
      // Only a start reads the first line of a file.
      if (program === './lost') check()
      else assert.throws(check, { code: 'ERR_OPTION', message })
    }
    await assert.rejects(start(t, ['cat'], {}, '/no/folder'), {
      message: 'cannot start cat: the folder /no/folder does not exist',
    })
  })

  it('sends SIGTERM to its group after the grace time', async t => {
    const { program, output, shows } = await start(t, ['sh', '-c', 'sleep 60 & echo $!; wait'])
    await shows('\n')
    await program.stop(0)
    assert.equal(await program.ended, 'was ended by SIGTERM')
    await until(() => !isAlive(Number(output())), 'the end of the child')
  })

  it('kills a program that ignores SIGTERM, 2 seconds later', async t => {
    const { program, shows } = await start(t, ['sh', '-c', 'trap "" TERM; echo ready; while :; do sleep 0.1; done'])
    await shows('ready')
    await program.stop(0)
    assert.equal(await program.ended, 'was ended by SIGKILL')
  })

  it('ends with processes that keep its output open', async t => {
    const { program, output, shows } = await start(t, ['sh', '-c', 'sleep 60 & echo $!'])
    await shows('\n')
    assert.equal(await program.ended, 'exited with code 0')
    await until(() => !isAlive(Number(output())), 'the end of the child')
  })

  it('logs the lines of its standard error, with control characters visible', async t => {
    const script = String.raw`printf 'one\033[2J\n' >&2; head -c 9000 /dev/zero | tr '\0' x >&2; printf '\nrest' >&2`
    const { program, lines, logged } = await start(t, ['sh', '-c', script])
    await program.ended
    assert.deepEqual(lines(), ['one\\x1b[2J', '(a line of more than 8192 bytes)', 'rest'])
    const { level, program: name, pid, msg } = logged[0]!
    assert.deepEqual(
      { level, name, pid, msg },
      { level: 40, name: 'sh', pid: program.pid, msg: 'standard error of a program' },
    )
  })

  it('limits the lines of its standard error', async t => {
    const since = performance.now()
    const { program, lines } = await start(t, ['sh', '-c', 'yes x | head -n 10000 >&2'])
    await program.ended
    const seconds = (performance.now() - since) / 1000
    assert.ok(lines().length <= 200 + 100 * seconds, `${lines().length} lines in ${seconds} s`)
  })
})

describe('atExit', () => {
  it('adds one listener to the process for any number of programs, and removes it', () => {
    const before = process.listenerCount('exit')
    const end = () => {}
    const releases = Array.from({ length: 20 }, () => atExit(end))
    assert.equal(process.listenerCount('exit'), before + 1)
    for (const release of releases.slice(1)) release()
    assert.equal(process.listenerCount('exit'), before + 1)
    releases[0]!()
    assert.equal(process.listenerCount('exit'), before)
  })
})
