import assert from 'node:assert/strict'
import { readFileSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { browser, skipWithoutBrowser, UNREACHABLE, watched } from '../support/browser.ts'
import { centrifuge } from '../support/centrifuge.ts'
import { folder, launch, root } from '../support/cli.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'

const text = readFileSync(join(root, 'docs/guide/centrifuge.md'), 'utf8')
/** The files that the page shows; the first line of each is a comment with its name. */
const files = Object.fromEntries(
  [...text.matchAll(/^```(?:js|html)\n((?:\/\/|<!--) ([\w.-]+)[^\n]*\n[\s\S]*?)^```$/gm)].map(([, content, name]) => [
    name!,
    content!,
  ]),
)
/** The words of the command that it shows, without `npx fws-server`. */
const [, , ...argv] = Array.from(
  /^```sh\n(.*)$/m.exec(text)![1]!.matchAll(/"([^"]*)"|\S+/g),
  ([word, quoted]) => quoted ?? word,
)

function site(t: TestContext): string {
  const cwd = folder(t, { 'site/index.html': files['index.html']!, 'site/chat.js': files['chat.js']! })
  symlinkSync(join(root, 'node_modules'), join(cwd, 'node_modules'))
  return cwd
}

describe('docs/guide/centrifuge.md', () => {
  it('shows a chat that misses nothing while it is offline', { skip: skipWithoutBrowser }, async t => {
    const server = await launch(t, [...argv, '-p', '0'], { cwd: site(t) })
    const started = await browser(t)
    const proxy = await startFaultProxy({ host: '127.0.0.1', port: Number(new URL(server.url).port) })
    t.after(() => proxy.stop())
    const open = async (port: number | string) => {
      const page = watched(t, await started.newPage(), UNREACHABLE)
      await page.goto(`http://127.0.0.1:${port}`)
      return page
    }
    const [ann, bob] = [await open(new URL(server.url).port), await open(proxy.port)]
    const say = async (words: string) => {
      await ann.locator('input').fill(words)
      await ann.locator('input').press('Enter')
      await ann.locator('li', { hasText: words }).waitFor()
    }
    await say('one')
    await bob.locator('li', { hasText: 'one' }).waitFor()
    proxy.refuse()
    await say('two')
    await say('three')
    await proxy.accept()
    await bob.locator('li', { hasText: 'three' }).waitFor()
    assert.deepEqual(await bob.locator('li').allTextContents(), ['one', 'two', 'three'])
  })

  it('shows procedures', async t => {
    const cwd = folder(t, { 'procedures.js': files['procedures.js']! })
    const server = await launch(t, ['-p', '0', '-f', 'centrifuge', './procedures.js'], { cwd })
    const client = centrifuge(t, server.url)
    client.connect()
    await client.ready()
    assert.deepEqual(await client.rpc('add', { a: 1, b: 2 }), { data: 3 })
    await assert.rejects(client.rpc('add', {}), { code: 1000, message: 'two numbers, please' })
  })
})
