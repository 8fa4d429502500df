import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { connect } from '../../client/node.ts'
import { folder, launch, root, run } from '../support/cli.ts'
import { Peer, until } from '../support/peer.ts'
import { SECRET, sign } from '../support/tokens.ts'
import { upgrade } from '../support/upgrade.ts'

const env = { FWS_JWT_SECRET: SECRET }
const page = readFileSync(join(root, 'docs/guide/authentication.md'), 'utf8')
/** The files that the page shows; the first line of each is a comment with its name. */
const files = Object.fromEntries(
  [...page.matchAll(/^```[jt]s\n(\/\/ ([\w.-]+)\n[\s\S]*?)^```$/gm)].map(([, text, name]) => [name!, text!]),
)
const bearer = (token: string) => ({ headers: { authorization: `Bearer ${token}` } })

/** Runs a program that connects with the WebSocket of browsers; returns its output. */
async function inPage(t: TestContext, program: string): Promise<string> {
  const cwd = folder(t, { ...files, 'package.json': '{ "type": "module" }', 'page.js': program })
  const { code, stdout, stderr } = await run([], { cwd, command: ['--experimental-websocket', 'page.js'] })
  assert.equal(code, 0, stderr)
  return stdout
}

describe('docs/guide/authentication.md', () => {
  it('shows a page that connects with a token among its subprotocols', async t => {
    const server = await launch(t, ['-p', '0', '-f', 'jwt', 'echo'], { env })
    const token = (await run(['token', '--sub', 'ann'], { env })).stdout.trim()
    const printed = await inPage(
      t,
      `import { connect } from './subprotocol.js'
      const socket = connect(${JSON.stringify(server.url)}, ${JSON.stringify(token)})
      socket.onopen = () => socket.send('hello')
      socket.onmessage = ({ data }) => {
        console.log(socket.protocol, data)
        socket.close()
      }`,
    )
    assert.equal(printed, 'bearer hello\n')
  })

  it('shows a page that sends its token first, and renews it before it expires', async t => {
    const server = await launch(t, ['-p', '0', '-f', 'jwt', 'echo', '--jwt-first-message'], { env })
    const exp = Math.floor(Date.now() / 1000) + 1
    const tokens = [sign({ sub: 'ann', exp }), sign({ sub: 'ann' })]
    const printed = await inPage(
      t,
      `import { connect } from './first-message.js'
      const tokens = ${JSON.stringify(tokens)}
      let given = 0
      const getToken = async () => {
        console.log('token', ++given)
        if (given === 2) setImmediate(() => socket.send('hello'))
        return tokens[Math.min(given, 2) - 1]
      }
      const socket = connect(${JSON.stringify(server.url)}, getToken, data => {
        console.log('message', data)
        socket.close()
      })
      socket.addEventListener('close', ({ code }) => console.log('closed', code))`,
    )
    // Its timer and the warning of the server nearly coincide here; by default they are half a minute apart.
    assert.match(printed, /^token 1\ntoken 2\n(token 3\n)?message hello\nclosed 1005\n$/)
  })

  it('describes how the client library reconnects with a new token', async t => {
    const server = await launch(t, ['-p', '0', '-f', 'jwt', 'echo', '--jwt-grace', '0'], { env })
    const tokens = [sign({ sub: 'ann', exp: Math.floor(Date.now() / 1000) + 1 }), sign({ sub: 'ann' })]
    const connection = connect(server.url, { token: async () => tokens.shift()!, firstDelay: 10 })
    t.after(() => connection.close())
    const seen: unknown[] = []
    connection.on('open', ({ protocol }) => seen.push(protocol))
    connection.on('close', ({ code, reason }) => seen.push([code, reason]))
    connection.on('message', text => seen.push(text))
    await until(() => seen.length === 3, 'an expiry, and a second connection')
    connection.send('hello')
    await until(() => seen.length === 4, 'an answer')
    assert.deepEqual(seen, ['', [4401, 'token expired'], '', 'hello'])
  })

  it('shows a filter that greets authenticated clients, also after a first message', async t => {
    const cwd = folder(t, files)
    const server = await launch(t, ['-p', '0', '-f', 'jwt', './greet.ts', '--jwt-first-message'], { env, cwd })
    const { peer } = await upgrade(server.url, bearer(sign({ sub: 'ann' })))
    assert.deepEqual(await peer!.get(1), ['hello ann'])
    const { peer: late } = await upgrade(server.url)
    late!.send(JSON.stringify({ auth: sign({ sub: 'bob' }) }))
    assert.ok((await late!.get(2)).includes('hello bob'))
  })

  it('shows a protocol with its own token message, and with tokens for a topic', async t => {
    const cwd = folder(t, files)
    const server = await launch(t, ['-p', '0', '-f', 'jwt', './notes.ts'], { env, cwd })
    const ann = await Peer.open(new URL('/notes', server.url).href)
    for (const text of ['open it', `hello ${sign({ sub: 'ann' })}`, `open ${sign({ sub: 'bob', note: 'a' })}`])
      ann.send(text)
    ann.send(`open ${sign({ sub: 'ann', note: 'b' })}`)
    assert.deepEqual(await ann.get(2), ['error no token', 'opened b'])
  })

  it('shows a filter that revokes: it closes with 4403, refuses connects, and logs the reason', async t => {
    const cwd = folder(t, files)
    const argv = ['-p', '0', '-f', 'jwt', './ban.ts', 'broadcast', '--log-level', 'debug']
    const server = await launch(t, argv, { env, cwd })
    const token = sign({ sub: 'eve' })
    const { peer: eve } = await upgrade(server.url, bearer(token))
    const { peer: bob } = await upgrade(server.url, bearer(sign({ sub: 'bob' })))
    const { peer: ann } = await upgrade(server.url, bearer(sign({ sub: 'ann', role: 'admin' })))
    bob!.send('/ban ann')
    assert.deepEqual(await ann!.get(1), ['/ban ann'])
    ann!.send('/ban eve')
    assert.deepEqual((await ann!.get(2))[1], 'eve is out')
    assert.deepEqual(await eve!.end(), { code: 4403, reason: 'revoked' })
    const { status, body } = await upgrade(server.url, bearer(token))
    assert.deepEqual([status, body], [401, 'token refused: revoked\n'])
    const isSaid = () => server.logged().some(({ reason }) => reason === 'token refused: revoked')
    await until(isSaid, 'a line in the log')
    assert.ok(!server.stderr.includes(token.split('.')[1]!))
  })
})
