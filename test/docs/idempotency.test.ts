import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { it } from 'node:test'
import { folder, launch, root } from '../support/cli.ts'
import { Peer } from '../support/peer.ts'

it('writing-filters.md shows a filter that runs a request once', async t => {
  const guide = readFileSync(join(root, 'docs/guide/writing-filters.md'), 'utf8')
  const [, text] = /^```js\n(\/\/ orders\.js\n[\s\S]*?)^```$/m.exec(guide)!
  const { url } = await launch(t, ['-p', '0', '-f', './orders.js'], { cwd: folder(t, { 'orders.js': text! }) })
  const order = async (key: string) => {
    const client = await Peer.open(url)
    client.send(JSON.stringify({ key, item: 'tea' }))
    const [answer] = await client.get(1)
    return JSON.parse(String(answer))
  }
  const first = { key: 'a', order: 1, item: 'tea', repeated: false }
  assert.deepEqual([await order('a'), await order('a')], [first, first])
  assert.deepEqual(await order('b'), { ...first, key: 'b', order: 2 })
})
