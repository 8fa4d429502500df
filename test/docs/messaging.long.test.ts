import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { pathToFileURL } from 'node:url'
import { WebSocket } from 'ws'
import { browser, skipWithoutBrowser, watched } from '../support/browser.ts'
import { folder, launch, root } from '../support/cli.ts'
import { Peer, until } from '../support/peer.ts'
import { needsPython, PythonPeer } from '../support/python-peer.ts'

const page = readFileSync(join(root, 'docs/guide/messaging.md'), 'utf8')
const wire = readFileSync(join(root, 'docs/reference/messaging-wire.md'), 'utf8')
const [, ground] = /^```ts\n(\/\/ ground\.ts\n[\s\S]*?)^```$/m.exec(page)!
const [, script] = /^```js\n(\/\/ page\.js\n[\s\S]*?)^```$/m.exec(page)!
const [, copter] = /^```js\n(\/\/ copter\.mjs\n[\s\S]*?)^```$/m.exec(page)!
const [, html] = /^```html\n([\s\S]*?)^```$/m.exec(page)!
const [, pageScript] = /^```js\n(\/\/ public\/page\.js\n[\s\S]*?)^```$/m.exec(page)!
const [, both] = /`(fws-server -f pages \.\/ground\.ts [^`]*)`/.exec(page)!
const commands = [...page.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, text]) => text!.trim())
const texts = [...wire.matchAll(/^\| `(\{.*?\})` \|/gm)].map(([, text]) => text!)

/** Starts a command of the page on free ports. */
async function started(t: Parameters<typeof launch>[0], command: string) {
  const argv = command.replace('25000', '0').split(' ').slice(1)
  const server = await launch(t, [...argv, '-p', '0'], { cwd: folder(t, { 'ground.ts': ground! }) })
  const { url } = server.logged().find(({ msg }) => String(msg).startsWith('messaging listens on')) as { url: string }
  return { url: server.url, port: Number(new URL(url).port) }
}

describe('docs/guide/messaging.md and docs/reference/messaging-wire.md', () => {
  it('shows commands, a filter and JSON messages', () => {
    assert.deepEqual([commands.length, texts.length], [2, 4])
  })

  for (const command of commands)
    it(`shows a command that starts: ${command}`, async t => {
      await Peer.open((await started(t, command)).url)
    })

  it('shows a ground station that greets copters, calls them and lands them', needsPython, async t => {
    const { url, port } = await started(t, commands[0]!)
    const [one, two] = [await PythonPeer.open(t, port, 'copter1'), await PythonPeer.open(t, port, 'other')]
    const green = { action: 'led_fill', args: [0, 255, 0], kwargs: {} }
    assert.deepEqual([...(await one.get(1)), ...(await two.get(1))], [green, green])
    const { ask } = await import(pathToFileURL(join(folder(t, { 'page.mjs': script! }), 'page.mjs')).href)
    const { WebSocket: given } = globalThis
    t.after(() => void Object.assign(globalThis, { WebSocket: given }))
    Object.assign(globalThis, { WebSocket })
    assert.deepEqual(await ask(url, 'copter*'), {
      response: 'telemetry',
      id: '1',
      value: { copter1: { battery: [null, null], mode: 'полёт' } },
    })
    const browser = await Peer.open(url, {}, ['messaging'])
    browser.send('{"action": "land"}')
    await until(() => one.heard.length === 2 && two.heard.length === 2)
    assert.deepEqual(one.heard[1], { action: 'land', args: [], kwargs: {} })
  })

  it('shows a copter in Node, and a page that calls it and lands it', { skip: skipWithoutBrowser }, async t => {
    const files = { 'ground.ts': ground!, 'public/index.html': html!, 'public/page.js': pageScript! }
    const server = await launch(t, [...both!.replace('25000', '0').split(' ').slice(1), '-p', '0'], {
      cwd: folder(t, files),
    })
    const { url } = server.logged().find(({ msg }) => String(msg).startsWith('messaging listens on')) as { url: string }
    const program = copter!.replace('tcp://127.0.0.1:25000', url)
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], { cwd: root })
    t.after(() => void child.kill('SIGKILL'))
    let said = ''
    child.stdout.setEncoding('utf8').on('data', text => {
      said += text
    })
    await until(() => said !== '', 'a green light')
    assert.equal(said, 'led 0 255 0\n')
    const shown = watched(t, await (await browser(t)).newPage(), /favicon/)
    await shown.goto(server.url.replace('ws:', 'http:'))
    // Not waitForFunction, which polls with eval: the page's Content-Security-Policy forbids it.
    await until(async () => (await shown.textContent('output')) !== '', 'an answer')
    assert.equal(await shown.textContent('output'), '{"copter1":{"battery":12.1}}')
    if (child.exitCode === null) await once(child, 'exit')
    assert.equal(child.exitCode, 0)
  })

  it('shows JSON messages that are valid', async t => {
    const { url } = await started(t, commands[1]!)
    const [ann, bob] = [await Peer.open(url, {}, ['messaging']), await Peer.open(url)]
    for (const text of texts) ann.send(text)
    assert.deepEqual(await bob.get(1), ['{"action":"land","args":[],"kwargs":{}}'])
    const [answer] = await ann.get(1)
    const { response, id, value } = JSON.parse(String(answer))
    assert.deepEqual([response, id, typeof value], ['time', '0001', 'number'])
    assert.equal(ann.closed, undefined)
  })
})
