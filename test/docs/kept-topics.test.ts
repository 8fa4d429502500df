import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { folder, launch, root, run } from '../support/cli.ts'
import { Peer } from '../support/peer.ts'
import { skipWithoutOwn, startRedis } from '../support/redis.ts'

const page = readFileSync(join(root, 'docs/guide/kept-topics.md'), 'utf8')
/** The files that the page shows; the first line of each is a comment with its name. */
const files = Object.fromEntries(
  [...page.matchAll(/^```js\n(\/\/ ([\w.-]+)\n[\s\S]*?)^```$/gm)].map(([, text, name]) => [name!, text!]),
)
/** The words of the command that it shows, without `npx fws-server`. */
const [, , ...argv] = Array.from(
  /^```sh\n(.*)$/m.exec(page)![1]!.matchAll(/"([^"]*)"|\S+/g),
  ([word, quoted]) => quoted ?? word,
)

const serve = (t: TestContext, env: Record<string, string> = {}) =>
  launch(t, [...argv, '-p', '0', '--drain', '1'], { cwd: folder(t, { 'room.js': files['room.js']! }), env })

interface Said {
  readonly position: { readonly epoch: string; readonly offset: number }
  readonly text?: string
  readonly lost?: string
}

/** A client of the room. */
async function enter(url: string, after?: object) {
  const peer = await Peer.open(url)
  peer.send(JSON.stringify({ room: 'a', after }))
  const get = async (n: number) => (await peer.get(n)).map(text => JSON.parse(String(text)) as Said)
  return { peer, get, say: (text: string) => peer.send(JSON.stringify({ say: text })) }
}

const shown = (said: readonly Said[]) => said.map(({ position, text, lost }) => [position.offset, text ?? lost])

describe('docs/guide/kept-topics.md', () => {
  it('shows rooms, to which a client returns behind its last message', async t => {
    const { url } = await serve(t)
    const [ann, bob] = [await enter(url), await enter(url)]
    await ann.get(1)
    const [{ position }] = (await bob.get(1)) as [Said]
    assert.deepEqual(Object.keys(position), ['epoch', 'offset'])
    ann.say('hello')
    assert.deepEqual(shown(await bob.get(2)), [
      [0, undefined],
      [1, 'hello'],
    ])
    bob.peer.ws.terminate()
    for (const text of ['two', 'three']) ann.say(text)
    await ann.get(4)
    const back = await enter(url, { ...position, offset: 1 })
    assert.deepEqual(shown(await back.get(3)), [
      [2, 'two'],
      [3, 'three'],
      [3, undefined],
    ])
  })

  it('shows rooms, to which a client returns on another node with Redis', { skip: skipWithoutOwn }, async t => {
    const redis = await startRedis()
    t.after(() => redis.stop())
    const env = { STORAGE_OBJECT_MODULE: 'redis', FWS_REDIS_URL: redis.url }
    const [here, there] = [await serve(t, env), await serve(t, env)]
    const [ann, bob] = [await enter(here.url), await enter(there.url)]
    const [{ position }] = (await ann.get(1)) as [Said]
    await bob.get(1)
    for (const text of ['one', 'two', 'three']) ann.say(text)
    assert.deepEqual(shown(await bob.get(4)).slice(1), [
      [1, 'one'],
      [2, 'two'],
      [3, 'three'],
    ])
    ann.peer.ws.terminate()
    const back = await enter(there.url, { ...position, offset: 1 })
    assert.deepEqual(shown(await back.get(3)), [
      [2, 'two'],
      [3, 'three'],
      [3, undefined],
    ])
  })

  it('describes what a client learns that cannot get what it missed', async t => {
    const { url } = await serve(t)
    const ann = await enter(url)
    const [{ position }] = (await ann.get(1)) as [Said]
    for (let i = 1; i <= 300; i++) ann.say(`message ${i}`)
    await ann.get(301)
    for (const [after, reason] of [
      [{ ...position, offset: 1 }, 'trimmed'],
      [{ ...position, offset: 301 }, 'ahead'],
      [{ epoch: 'another', offset: 1 }, 'epoch'],
    ] as const)
      assert.deepEqual(shown(await (await enter(url, after)).get(2)), [
        [300, reason],
        [300, undefined],
      ])
  })

  it('and writing-filters.md show a filter that keeps a topic itself, and sends what is kept', async t => {
    const guide = readFileSync(join(root, 'docs/guide/writing-filters.md'), 'utf8')
    const [, text] = /^```js\n(\/\/ keep-notices\.js\n[\s\S]*?)^```$/m.exec(guide)!
    const cwd = folder(t, { 'keep-notices.js': text! })
    const { url } = await launch(t, ['-p', '0', '-f', './keep-notices.js'], { cwd })
    const ann = await Peer.open(url)
    ann.send('tea')
    ann.send('cake')
    assert.deepEqual(await ann.get(5), ['0 notices', 'tea', 'notice 1', 'cake', 'notice 2'])
    const bob = await Peer.open(url)
    assert.deepEqual(await bob.get(3), ['tea', 'cake', '2 notices'])
  })

  it('shows a page that returns by itself', async t => {
    const { url } = await serve(t)
    const program = `import { listen } from './listen.js'
      const shown = []
      let socket
      const show = text => {
        console.log(text)
        shown.push(text)
        if (shown.length === 1) {
          socket.close()
          other.send('{"say":"two"}')
        }
        if (shown.length === 2) process.exit()
      }
      const other = new WebSocket(${JSON.stringify(url)})
      other.onopen = () => other.send('{"room":"a"}')
      other.onmessage = () => {
        other.onmessage = null
        socket = listen(${JSON.stringify(url)}, 'a', show)
        socket.addEventListener('message', () => other.send('{"say":"one"}'), { once: true })
      }`
    const cwd = folder(t, {
      'listen.js': files['listen.js']!,
      'package.json': '{ "type": "module" }',
      'page.js': program,
    })
    const { stdout, stderr } = await run([], { cwd, command: ['--experimental-websocket', 'page.js'] })
    assert.equal(stdout, 'one\ntwo\n', stderr)
  })
})
