import assert from 'node:assert/strict'
import { readFileSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { browser, skipWithoutBrowser, UNREACHABLE, watched } from '../support/browser.ts'
import { centrifuge } from '../support/centrifuge.ts'
import { folder, launch, root, run } from '../support/cli.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { until } from '../support/peer.ts'

const text = readFileSync(join(root, 'docs/guide/centrifuge.md'), 'utf8')
/** The files that the page shows; the first line of each is a comment with its name. */
const files = Object.fromEntries(
  [...text.matchAll(/^```(?:js|jsonc|html)\n((?:\/\/|<!--) ([\w.-]+\w)[^\n]*\n[\s\S]*?)^```$/gm)].map(
    ([, content, name]) => [name!, content!],
  ),
)
/** The words of the commands that it shows, without `npx fws-server`. */
const [argv, withMembers] = [...text.matchAll(/^npx fws-server (.*)$/gm)].map(([, words]) =>
  Array.from(words!.matchAll(/"([^"]*)"|\S+/g), ([word, quoted]) => quoted ?? word),
) as [string[], string[]]
const SECRET = 'a secret of more than 32 bytes, for tests'

function site(t: TestContext): string {
  const pages = ['index.html', 'chat.js', 'here.html', 'here.js'].map(name => [`site/${name}`, files[name]!])
  const cwd = folder(t, { ...Object.fromEntries(pages), 'token.mjs': files['token.mjs']! })
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
      let isSubscribed = false
      page.on('websocket', socket =>
        socket.on('framereceived', ({ payload }) => {
          if (payload.includes('"subscribe":')) isSubscribed = true
        }),
      )
      await page.goto(`http://127.0.0.1:${port}`)
      await until(() => isSubscribed, 'a subscription')
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

  it('shows a page that lists the members, with tokens of a script', { skip: skipWithoutBrowser }, async t => {
    const cwd = site(t)
    const env = { FWS_JWT_SECRET: SECRET }
    const server = await launch(t, [...withMembers, '-p', '0', '--presence-grace', '0'], { cwd, env })
    const started = await browser(t)
    const enter = async (sub: string, name: string) => {
      const { stdout } = await run([sub, name], { command: ['token.mjs'], cwd, env })
      const page = watched(t, await started.newPage(), UNREACHABLE)
      await page.goto(`${server.url.replace('ws', 'http').replace(/\/$/, '')}/here.html#${stdout.trim()}`)
      await page.locator('li', { hasText: name }).waitFor()
      return page
    }
    const ann = await enter('ann', 'Ann')
    const bob = await enter('bob', 'Bob')
    await ann.locator('li', { hasText: 'Bob' }).waitFor()
    await bob.locator('li', { hasText: 'Ann' }).waitFor()
    await bob.close()
    await ann.locator('li', { hasText: 'Bob' }).waitFor({ state: 'detached' })
    assert.deepEqual(await ann.locator('li').allTextContents(), ['Ann'])
  })

  it('shows the config of a namespace of Centrifugo', async t => {
    const cwd = folder(t, { 'fws.json': files['fws.json']!, 'token.mjs': files['token.mjs']! })
    symlinkSync(join(root, 'node_modules'), join(cwd, 'node_modules'))
    const env = { FWS_JWT_SECRET: SECRET, FWS_CENTRIFUGE_API_KEY: 'a key of Centrifugo'.replaceAll(' ', '-') }
    const server = await launch(t, ['-c', 'fws.json', '-p', '0', '--drain', '1'], { cwd, env })
    const { stdout } = await run(['ann', 'Ann'], { command: ['token.mjs'], cwd, env })
    const client = centrifuge(t, server.url, { token: stdout.trim() })
    client.connect()
    const chat = client.newSubscription('chat:1')
    chat.subscribe()
    await chat.ready()
    await chat.publish({ text: 'hello' })
    const { publications } = await chat.history({ limit: 10 })
    assert.deepEqual(
      publications.map(({ data, offset }) => [data, offset]),
      [[{ text: 'hello' }, 1]],
    )
    assert.deepEqual(await chat.presenceStats(), { numClients: 1, numUsers: 1 })
    const other = client.newSubscription('news')
    const ended = new Promise<{ code: number }>(resolve => other.once('unsubscribed', resolve))
    other.subscribe()
    assert.equal((await ended).code, 103)
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
