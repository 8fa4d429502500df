import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { promisify } from 'node:util'
import { browser, skipWithoutBrowser, watched } from '../support/browser.ts'
import { folder, launch, root, run } from '../support/cli.ts'
import { Peer, until } from '../support/peer.ts'
import { Client2, hello, official, SECRET } from '../support/wslink.ts'

const page = readFileSync(join(root, 'docs/guide/wslink.md'), 'utf8')
/** The files that the page shows; the first line of each is a comment with its name. */
const files = Object.fromEntries(
  [...page.matchAll(/^```(?:[jt]s|html)\n((?:\/\/|<!--) ([\w.-]+)[^\n]*\n[\s\S]*?)^```$/gm)].map(([, text, name]) => [
    name!,
    text!,
  ]),
)
const commands = [...page.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, text]) => text!.trim())

/** A server with one of the files and the secret of the tests. */
async function serving(t: TestContext, name: string): Promise<string> {
  const flags = ['-p', '0', '-f', `./${name}`, '--wslink-secret', SECRET]
  return (await launch(t, flags, { cwd: folder(t, { [name]: files[name]! }) })).url
}

describe('docs/guide/wslink.md', () => {
  it('shows a command and files', () => {
    assert.equal(commands.length, 1)
    const names = ['procedures.ts', 'index.html', 'page.js', 'types.ts', 'listen.js', 'parts.ts']
    assert.deepEqual(Object.keys(files), names)
  })

  it('shows a page that calls and subscribes, and the command that serves it', {
    skip: skipWithoutBrowser,
  }, async t => {
    const cwd = folder(t, {
      'procedures.ts': files['procedures.ts']!,
      'site/index.html': files['index.html']!,
      'site/page.js': files['page.js']!,
    })
    cpSync(join(root, 'node_modules/wslink/dist'), join(cwd, 'node_modules/wslink/dist'), { recursive: true })
    const tab = watched(t, await (await browser(t)).newPage(), /favicon/)
    const [program, ...args] = commands[0]!.split(/\s+/)
    assert.equal(program, 'fws-server')
    const { url } = await launch(t, [...args, '-p', '0'], { cwd })
    const logged: string[] = []
    tab.on('console', message => {
      if (message.type() === 'log') logged.push(message.text())
    })
    await tab.goto(url.replace('ws:', 'http:'))
    await until(() => logged.length >= 3, 'three lines')
    assert.deepEqual(logged.toSorted(), ['2 + 3 = 5', '3 times 2 = 6', 'somebody said hello'])
    await tab.close()
  })

  it('shows procedures of every kind', async t => {
    const program = `const { call, collect } = await enter()
      const steps = collect('demo.count.progress')
      return [
        await call('demo.count', [3]),
        await steps.next(3),
        [...(await bytesOf((await call('demo.image')).pixels))],
        await call('demo.fail').catch(error => error),
      ]`
    assert.deepEqual(await official('wslink', await serving(t, 'procedures.ts'), program), [
      'counted to 3',
      [1, 2, 3],
      [22, 138, 148, 255],
      { code: -32_001, message: 'Exception raised', data: { method: 'demo.fail', exception: 'out of tea' } },
    ])
  })

  it('shows the line that subscribes a client to no other topic', async t => {
    const program = `const { connection, call, collect } = await enter()
      const session = connection.getSession()
      const shown = []
      const show = data => shown.push(data.text)
      const steps = collect('demo.count.progress')
      ${files['listen.js']}
      await call('demo.count', [2])
      await call('demo.say', ['hello'])
      while (shown.length === 0) await new Promise(done => setTimeout(done, 2))
      return [shown, steps.received]`
    assert.deepEqual(await official('wslink', await serving(t, 'procedures.ts'), program), [['hello'], []])
  })

  it('shows a topic with parts, of which each client gets its own', async t => {
    const program = `const { call, collect } = await enter()
      const parts = collect('demo.parts')
      await call('wslink.subscribe', ['demo.parts', { part: 'engine' }])
      await call('demo.move', ['wheel', 1])
      await call('demo.move', ['engine', 2])
      return parts.next(2)`
    assert.deepEqual(await official('wslink', await serving(t, 'parts.ts'), program), [
      ['engine', 'wheel'],
      { part: 'engine', by: 2 },
    ])
  })

  it('shows TypeScript that compiles', async t => {
    const sources = Object.entries(files).filter(([name]) => name.endsWith('.ts'))
    const config = {
      extends: join(root, 'tsconfig.check.json'),
      compilerOptions: {
        rootDir: '/',
        typeRoots: [join(root, 'node_modules/@types')],
        paths: {
          'filtered-websocket': [join(root, 'src/index.ts')],
          'filtered-websocket/filters/*': [join(root, 'filters/*.ts')],
        },
      },
      include: ['*.ts'],
    }
    const cwd = folder(t, {
      ...Object.fromEntries(sources),
      'package.json': '{ "type": "module" }',
      'tsconfig.json': JSON.stringify(config),
    })
    const tsc = join(root, 'node_modules/typescript/bin/tsc')
    const check = () => promisify(execFile)(process.execPath, [tsc, '-p', cwd], { cwd })
    await check().catch(error => assert.fail(error.stdout))
    writeFileSync(join(cwd, 'types.ts'), files['types.ts']!.replace('=> a + b', '=> String(a + b)'))
    await assert.rejects(check, ({ stdout }) => stdout.includes("Type 'string' is not assignable to type 'number'"))
  })

  it('shows the actual error messages', async t => {
    // A required file that the page does not show.
    const unsayable = "demo: {\n      unsayable: () => () => 'a function',"
    const cwd = folder(t, { 'procedures.ts': files['procedures.ts']!.replace('demo: {', unsayable) })
    const { url } = await launch(t, ['-p', '0', '-f', './procedures.ts', '--wslink-secret', SECRET], { cwd })
    const rows = [...page.matchAll(/^\| [^|]+ \| (-32\d{3}) \| `([^`]+)` \| ([^|]*)\|$/gm)]
    const documented = rows.map(([, code, message, data]) => [Number(code), message!, data!.trim() !== ''])
    const client = await Client2.enter(url)
    const stranger = new Client2(await Peer.open(url))
    stranger.send(hello('wrong'))
    stranger.call('demo.add', [1, 2])
    client.send({ ...hello(), method: 'other' })
    client.call('no.such')
    client.call('demo.fail')
    client.call('demo.unsayable')
    await Promise.all([stranger.peer.get(2), client.peer.get(5)])
    const actual = [...stranger.messages, ...client.messages.slice(1)].map(({ error: { code, message, data } }) => [
      code,
      message,
      data !== undefined,
    ])
    assert.deepEqual(actual, documented)
  })

  it('states that a server without authentication does not start', async t => {
    const cwd = folder(t, { 'procedures.ts': files['procedures.ts']! })
    const { code, stderr } = await run(['-p', '0', '-f', './procedures.ts'], { cwd })
    assert.equal(code, 2)
    const ways = 'set --wslink-secret, put jwt before it, or set --wslink-open'
    assert.ok(stderr.includes(`no client can authenticate: ${ways}`), stderr)
    await launch(t, ['-p', '0', '-f', './procedures.ts', '--wslink-open'], { cwd })
  })
})
