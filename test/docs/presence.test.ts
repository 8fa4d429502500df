import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { it } from 'node:test'
import { folder, launch, root } from '../support/cli.ts'
import { Peer } from '../support/peer.ts'

const page = readFileSync(join(root, 'docs/guide/presence.md'), 'utf8')
const [, text] = /^```js\n(\/\/ here.js\n[\s\S]*?)^```$/m.exec(page)!
const [, , ...argv] = Array.from(
  /^```sh\n(.*)$/m.exec(page)![1]!.matchAll(/"([^"]*)"|\S+/g),
  ([word, quoted]) => quoted ?? word,
)

it('docs/guide/presence.md shows a room that lists its users, and announces joins and leaves', async t => {
  const { url } = await launch(t, [...argv, '-p', '0', '--presence-grace', '0'], {
    cwd: folder(t, { 'here.js': text! }),
  })
  const enter = async () => {
    const peer = await Peer.open(url)
    peer.send('{"room":"a"}')
    const [answer] = await peer.get(1)
    return { peer, here: JSON.parse(String(answer)).here as string[] }
  }
  const ann = await enter()
  assert.equal(ann.here.length, 1)
  const bob = await enter()
  assert.equal(bob.here.length, 2)
  const [user] = bob.here.filter(name => name !== ann.here[0])
  const change = { user, client: user }
  assert.deepEqual(JSON.parse(String((await ann.peer.get(2))[1])), { join: change })
  bob.peer.ws.close()
  assert.deepEqual(JSON.parse(String((await ann.peer.get(3))[2])), { leave: change })
})
