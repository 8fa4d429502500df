import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { connectTopics } from '../../client/node.ts'
import { browser, skipWithoutBrowser, watched } from '../support/browser.ts'
import { folder, launch, root, run } from '../support/cli.ts'

const page = readFileSync(join(root, 'docs/guide/clients.md'), 'utf8')
const [, , ...argv] = Array.from(
  /^```sh\n(.*)$/m.exec(page)![1]!.matchAll(/"([^"]*)"|\S+/g),
  ([word, quoted]) => quoted ?? word,
)
/** The files that the page shows; the first line of each is a comment with its name. */
const files = Object.fromEntries(
  [...page.matchAll(/^```(?:js|html)\n((?:\/\/|<!--) ([\w-]+\.\w+)[^\n]*\n[\s\S]*?)^```$/gm)].map(
    ([, content, name]) => [name!, content!],
  ),
)
const program = [...page.matchAll(/^```js\n([\s\S]*?)^```$/gm)]
  .map(([, text]) => text!)
  .find(text => text.includes('connectTopics'))!

const site = { 'site/index.html': files['index.html']!, 'site/log.js': files['log.js']! }

describe('docs/guide/clients.md', () => {
  it('shows a page that continues after a reload', { skip: skipWithoutBrowser }, async t => {
    const { url } = await launch(t, [...argv, '-p', '0'], { cwd: folder(t, site) })
    const topics = connectTopics(url)
    t.after(() => topics.close())
    const page = watched(t, await (await browser(t)).newPage())
    const publish = (...texts: string[]) => Promise.all(texts.map(text => topics.publish('chat/1', { text })))
    const shows = async (...texts: string[]) => {
      await page.locator('li', { hasText: texts.at(-1)! }).waitFor()
      assert.deepEqual(await page.locator('li').allTextContents(), texts)
    }
    await publish('one')
    await page.goto(url.replace('ws', 'http'))
    await shows('one')
    await page.goto('about:blank')
    await publish('two', 'three')
    await page.goto(url.replace('ws', 'http'))
    await shows('one', 'two', 'three')
  })

  it('shows a topic with its history, messages and people', async t => {
    const { url } = await launch(t, [...argv, '-p', '0'], { cwd: folder(t, site) })
    const library = import.meta.resolve('../../client/node.js')
    const code = program.replace('filtered-websocket/client', library).replace('ws://127.0.0.1:9000', url)
    for (const messages of [1, 2]) {
      const untilShown = `
        const [{ log }, missing] = [console, new Set(['here', ${messages}])]
        const complete = new Promise(resolve => {
          console.log = (...words) => {
            log(...words)
            missing.delete(/ here$/.test(words[0]) ? 'here' : words[0])
            if (missing.size === 0) resolve()
          }
        })
        ${code}
        await complete
        topics.close()`
      const { stdout, stderr } = await run(['-e', untilShown], { command: ['--input-type=module'], cwd: folder(t) })
      assert.equal(stderr, '')
      const lines = stdout.split('\n')
      const shown = lines.filter(line => line.endsWith("{ text: 'hello' }"))
      assert.deepEqual(
        shown,
        Array.from({ length: messages }, (_, i) => `${i + 1} { text: 'hello' }`),
      )
      assert.ok(
        lines.some(line => /^\d here \[/.test(line)),
        stdout,
      )
    }
  })
})
