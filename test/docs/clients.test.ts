import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { folder, launch, root, run } from '../support/cli.ts'

const page = readFileSync(join(root, 'docs/guide/clients.md'), 'utf8')
const [, ...argv] = Array.from(
  /^```sh\n(.*)$/m.exec(page)![1]!.matchAll(/"([^"]*)"|\S+/g),
  ([word, quoted]) => quoted ?? word,
)
const program = [...page.matchAll(/^```js\n([\s\S]*?)^```$/gm)]
  .map(([, text]) => text!)
  .find(text => text.includes('connectTopics'))!

describe('docs/guide/clients.md', () => {
  it('shows a topic with its history, messages and people', async t => {
    const { url } = await launch(t, [...argv, '-p', '0'])
    const library = import.meta.resolve('../../client/node.js')
    const code = program
      .replace('filtered-websocket/client', library)
      .replace('ws://127.0.0.1:9000', url)
      .concat('\nsetTimeout(() => topics.close(), 300)')
    for (const messages of [1, 2]) {
      const { stdout, stderr } = await run(['-e', code], { command: ['--input-type=module'], cwd: folder(t) })
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
