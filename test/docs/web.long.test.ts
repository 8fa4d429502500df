import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { browser, skipWithoutBrowser, watched } from '../support/browser.ts'
import { folder, launch, root } from '../support/cli.ts'
import { envelope, opened, vector } from '../support/media.ts'
import { Peer, until } from '../support/peer.ts'

const page = readFileSync(join(root, 'docs/guide/pages-and-media.md'), 'utf8')
/** The files that the page shows; the first line of each is a comment with its name. */
const files = Object.fromEntries(
  [...page.matchAll(/^```(?:[jt]s|html)\n((?:\/\/|<!--) ([\w.-]+)[^\n]*\n[\s\S]*?)^```$/gm)].map(([, text, name]) => [
    name!,
    text!,
  ]),
)
/** The files that the commands of the page need. */
const SITE = {
  'agent.ts': files['agent.ts']!,
  'site/index.html': files['index.html']!,
  'site/footer.html': 'footer of {{ title }}',
}
const commands = [...page.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, text]) => text!.replaceAll('\\\n', ' '))

/** The arguments of a command of this page, as a shell parses them. */
const words = (command: string) => [...command.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare!)

describe('docs/guide/pages-and-media.md', () => {
  it('shows commands and files', () => {
    assert.equal(commands.length, 7)
    assert.deepEqual(Object.keys(files), ['index.html', 'agent.ts', 'page.js'])
  })

  for (const command of commands.filter(command => !command.includes('nano_llm')))
    it(`shows a command that starts: ${command.trim()}`, async t => {
      const [program, ...args] = words(command)
      assert.equal(program, 'fws-server')
      const server = await launch(t, [...args, '-p', '0'], { cwd: folder(t, SITE) })
      await Peer.open(server.url)
    })

  it('shows a template that renders its variables', async t => {
    const command = commands.find(command => command.includes('--pages-var'))!
    const { url } = await launch(t, [...words(command).slice(1), '-p', '0'], { cwd: folder(t, SITE) })
    const text = await (await fetch(url.replace('ws:', 'http:'))).text()
    assert.match(text, /<h1>Kitchen<\/h1>\n<body data-room="7">footer of Kitchen<\/body>/)
  })

  it('shows the command for the pages of NanoLLM', async t => {
    const command = commands.find(command => command.includes('nano_llm'))!
    const cwd = folder(t, {
      'agent.ts': files['agent.ts']!,
      'nano_llm/web/templates/index.html':
        '<title>{{ title }}</title><script src="/static/a.js"></script>{{ ws_port }}',
      'nano_llm/web/static/a.js': 'a()',
    })
    const { url } = await launch(t, words(command.replace('-p 49000', '-p 0')).slice(1), { cwd })
    const http = url.replace('ws:', 'http:')
    assert.equal(await (await fetch(http)).text(), '<title>Agent</title><script src="/static/a.js"></script>49000')
    assert.equal(await (await fetch(new URL('/static/a.js', http))).text(), 'a()')
  })

  it('shows a filter that answers, greets, and broadcasts images', async t => {
    const { url } = await launch(t, ['-p', '0', '-f', './agent.ts'], { cwd: folder(t, SITE) })
    const [ann, bob] = [await Peer.open(url), await Peer.open(url)]
    const [welcome] = await bob.get(1)
    assert.match(opened(welcome).said.alert.message, /^welcome, you are one of 2$/)
    ann.send(vector('c2s/image png'))
    const png = vector('c2s/image png').subarray(32)
    for (const peer of [ann, bob]) {
      const { said, metadata } = opened((await peer.get(2))[1])
      assert.deepEqual([said, metadata], [png, 'png'])
    }
    ann.send(envelope(0, '{"role": "user"}'))
    assert.deepEqual(opened((await ann.get(3))[2]).said, { chat_history: [{ role: 'user' }] })
  })

  it('shows a page that sends and displays all media', { skip: skipWithoutBrowser }, async t => {
    const cwd = folder(t, {
      ...SITE,
      'site/index.html': '<script src="/globals.js"></script><script type="module" src="/page.js"></script>',
      'site/page.js': files['page.js']!,
      'site/globals.js': `
        const shown = [], bars = []
        const show = blob => shown.push(blob.type)
        const bar = part => bars.push(part)
        const png = ${JSON.stringify([...vector('c2s/image png').subarray(32)])}
        const file = new File([Uint8Array.from(png)], 'dot.png')`,
    })
    const server = await launch(
      t,
      ['-p', '0', '-f', './agent.ts', 'broadcast', 'pages', '--pages-root', 'site', '--media-uploads', 'uploads'],
      { cwd },
    )
    const listener = await Peer.open(server.url)
    const tab = watched(t, await (await browser(t)).newPage(), /favicon/)
    const logged: string[] = []
    tab.on('console', message => void logged.push(message.text()))
    await tab.goto(server.url.replace('ws:', 'http:'))
    await until(async () => (await tab.evaluate<number>('bars.at(-1)')) === 1, 'an upload')
    const types = () => listener.received.map(opened).map(({ type }) => type)
    // The audio of the microphone is bytes to `broadcast`.
    await until(() => types().filter(type => type === 2).length > 3 && types().filter(type => type === 5).length > 2)
    assert.equal(await tab.evaluate('shown[0]'), 'image/png')
    assert.ok(logged.includes('success welcome, you are one of 2'), logged.join('\n'))
    assert.equal(opened(listener.received.find(message => opened(message).type === 1)).said, 'hello')
    assert.ok(existsSync(join(cwd, 'uploads')))
  })
})
