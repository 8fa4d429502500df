import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, statSync, writeFileSync } from 'node:fs'
import { connect, createServer as createTcp } from 'node:net'
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { createServer } from '../../src/index.ts'
import { folder, launch, run } from '../support/cli.ts'
import { Peer, serve, until } from '../support/peer.ts'
import { upgradeStatus } from '../support/upgrade.ts'

const hasIpv6 = Object.values(networkInterfaces()).some(list => list?.some(({ address }) => address === '::1'))
const echo = 'echo'
const addressOf = { open: (client: { send(text: string): void; remote: string }) => client.send(client.remote) }

describe('--host as an IPv6 address', { skip: !hasIpv6 && 'needs IPv6' }, () => {
  for (const host of ['::1', '[::1]', '0:0:0:0:0:0:0:1', '[0:0:0:0:0:0:0:1]', '[::ffff:127.0.0.1]']) {
    it(`listens on ${host}`, async t => {
      const { url } = await serve(t, { host, filters: [echo] })
      const peer = await Peer.open(url)
      peer.send('hello')
      assert.deepEqual(await peer.get(1), ['hello'])
    })
  }
  for (const host of ['[', '[]', '[::1', '::1]', '[localhost]', '[::1]:9000']) {
    it(`${host} is refused`, async () => {
      const starting = createServer({ host, port: 0, filters: [echo], logLevel: 'silent' })
      await assert.rejects(starting, { code: 'ERR_LISTEN' })
    })
  }
})

describe('--host as the path of a Unix socket', () => {
  for (const prefix of ['', 'unix:']) {
    it(`listens there with mode 0660, and removes it: ${prefix}`, async t => {
      const path = join(folder(t), 'fws.sock')
      const server = await serve(t, { host: prefix + path, filters: [echo, addressOf] })
      assert.equal(server.url, `ws+unix:${path}`)
      assert.equal(statSync(path).mode & 0o777, 0o660)
      const peer = await Peer.open(server.url)
      peer.send('hello')
      assert.deepEqual(await peer.get(2), ['unix', 'hello'])
      await server.close()
      assert.equal(existsSync(path), false)
    })
  }

  it('serves any Host, as behind a proxy, unless --hosts names some', async t => {
    const path = join(folder(t), 'fws.sock')
    const server = await serve(t, { host: path, filters: [echo] })
    for (const host of ['chat.example', 'localhost', '10.0.0.1:80', '[::1]', 'a.b.c'])
      await Peer.open(server.url, { headers: { host } })
    const strict = await serve(t, { host: `${path}.2`, hosts: ['chat.example'], filters: [echo] })
    await Peer.open(strict.url, { headers: { host: 'chat.example' } })
    assert.equal(await upgradeStatus(strict.url, { headers: { host: 'evil.example' } }), 403)
  })

  it('has the client of X-Forwarded-For only with --trust-proxy unix', async t => {
    const headers = { 'X-Forwarded-For': '192.0.2.1, 192.0.2.7' }
    for (const [trustProxy, remote] of [
      [[], 'unix'],
      [['loopback'], 'unix'],
      [['unix'], '192.0.2.7'],
      [['unix', '192.0.2.7'], '192.0.2.1'],
      [['192.0.2.7', 'unix'], '192.0.2.1'],
    ] as const) {
      const path = join(folder(t), 'fws.sock')
      const { url } = await serve(t, { host: path, trustProxy: [...trustProxy], filters: [addressOf] })
      const peer = await Peer.open(url, { headers })
      assert.deepEqual(await peer.get(1), [remote])
    }
  })

  it('does not trust a TCP client that says it is a Unix socket', async t => {
    const { url } = await serve(t, { trustProxy: ['unix'], filters: [addressOf] })
    const peer = await Peer.open(url, { headers: { 'X-Forwarded-For': 'unix, 192.0.2.1' } })
    assert.deepEqual(await peer.get(1), ['127.0.0.1'])
  })

  it('gives a data filter the address too', async t => {
    const seen: string[] = []
    const path = join(folder(t), 'fws.sock')
    const data = (_: Buffer, peer: { remote: string }) => void seen.push(peer.remote)
    const { url } = await serve(t, { host: path, filters: [{ data }, echo] })
    await Peer.open(url)
    assert.equal(seen[0], 'unix')
  })

  it('replaces the socket of a server that was killed', async t => {
    const path = join(folder(t), 'fws.sock')
    const server = await launch(t, ['-f', 'echo', '--host', path])
    server.child.kill('SIGKILL')
    await once(server.child, 'exit')
    assert.equal(existsSync(path), true)
    const { url } = await serve(t, { host: path, filters: [echo] })
    await Peer.open(url)
  })

  for (const [what, place] of [
    [
      'a server listens',
      (path: string) =>
        once(
          createTcp(socket => socket.destroy())
            .listen(path)
            .unref(),
          'listening',
        ),
    ],
    ['there is a file', async (path: string) => writeFileSync(path, 'precious')],
  ] as const) {
    it(`is refused where ${what}, which stays`, async t => {
      const path = join(folder(t), 'fws.sock')
      await place(path)
      const { code, stderr } = await run(['-f', 'echo', '--host', path])
      assert.deepEqual(
        [code, stderr],
        [
          1,
          `fws-server: cannot listen on ${path}: another server listens there, or the file is not a socket; choose another path with --host\n`,
        ],
      )
      assert.equal(existsSync(path), true)
    })
  }

  it('is refused in one sentence if the path is too long, or its folder does not exist', async t => {
    const base = folder(t)
    for (const [path, problem] of [
      [join(base, 'x'.repeat(120)), /: the path of a socket has at most 107 bytes, this one \d{3}$/],
      [join(base, 'none/fws.sock'), /: the folder .*none does not exist$/],
    ] as const) {
      const starting = createServer({ host: path, filters: [echo], logLevel: 'silent' })
      await assert.rejects(starting, { code: 'ERR_LISTEN', message: problem })
    }
  })
})

describe('--health-path', () => {
  /** Sends bytes and reads the answer up to its body. */
  async function answerTo(port: number, bytes: string): Promise<string> {
    const socket = connect(port, '127.0.0.1')
    let text = ''
    socket.setEncoding('latin1').on('data', chunk => {
      text += chunk
    })
    socket.write(bytes)
    await until(() => text.includes('\r\n\r\n'), 'an answer')
    socket.destroy()
    return text
  }

  it('is off by default, and is no WebSocket endpoint', async t => {
    const { url } = await serve(t, { filters: [echo] })
    assert.match(
      await answerTo(Number(new URL(url).port), 'GET / HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n'),
      /^HTTP\/1.1 403 /,
    )
  })

  it('answers ok to load balancers, whatever their Host, and nothing else', async t => {
    const asked: string[] = []
    const server = await serve(t, { healthPath: '/up', filters: [{ request: req => void asked.push(req.url!) }, echo] })
    const port = Number(new URL(server.url).port)
    for (const bytes of [
      'OPTIONS /up HTTP/1.0\r\n\r\n',
      'GET /up HTTP/1.0\r\n\r\n',
      'GET /up HTTP/1.1\r\nHost: 10.0.0.1:9000\r\n\r\n',
      'GET /up HTTP/1.1\r\nHost: anything.example\r\nUser-Agent: ELB-HealthChecker/2.0\r\n\r\n',
      'GET /up?probe=1 HTTP/1.1\r\nHost: \r\n\r\n',
      'GET http://10.0.0.1/up HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n',
    ])
      assert.match(await answerTo(port, bytes), /^HTTP\/1.1 200 OK\r\n.*\r\n\r\nok\n$/s, bytes)
    assert.match(
      await answerTo(port, 'HEAD /up HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n'),
      /^HTTP\/1.1 200 OK\r\n.*\r\n\r\n$/s,
    )
    assert.deepEqual([asked, { ...server.counters.refusals }], [[], {}])
    for (const [bytes, status] of [
      ['POST /up HTTP/1.1\r\nHost: 10.0.0.1\r\nContent-Length: 0\r\n\r\n', 403],
      ['GET /upper HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n', 403],
      ['GET /up/ HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n', 403],
      ['GET /%75p HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n', 403],
      ['GET / HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n', 403],
      ['GET /UP HTTP/1.1\r\nHost: localhost\r\n\r\n', 426],
    ] as const)
      assert.match(await answerTo(port, bytes), new RegExp(`^HTTP/1.1 ${status} `), bytes)
  })

  it('may be the root', async t => {
    const { url } = await serve(t, { healthPath: '/', filters: [echo] })
    assert.match(await answerTo(Number(new URL(url).port), 'GET / HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n'), /\r\n\r\nok\n$/)
    await Peer.open(url)
  })

  for (const healthPath of ['up', '/up?', '/a b', '/%75p', 'http://localhost/up']) {
    it(`refuses ${JSON.stringify(healthPath)}`, async () => {
      await assert.rejects(createServer({ port: 0, healthPath, filters: [echo] }), {
        code: 'ERR_OPTION',
        message: `--health-path takes a path such as /healthz, received ${JSON.stringify(healthPath)}`,
      })
    })
  }
})

describe('--hosts', () => {
  for (const host of [
    'chat.example:9000',
    'Chat.Example:9000',
    'chat.example:443',
    'chat.example.',
    'chat.example:65535',
  ]) {
    it(`${host} serves chat.example with any port`, async t => {
      const { url } = await serve(t, { hosts: [host], filters: [echo] })
      for (const header of ['chat.example:9000', 'chat.example', 'CHAT.example:80'])
        await Peer.open(url, { headers: { host: header } })
      assert.equal(await upgradeStatus(url, { headers: { host: 'other.example:9000' } }), 403)
    })
  }

  for (const [host, hint] of [
    ['https://chat.example', '; the Host header of that is chat.example'],
    ['wss://chat.example:9000/x', '; the Host header of that is chat.example:9000'],
    ['chat.example/', '; the Host header of that is chat.example'],
    ['müller.example', '; the Host header of that is xn--mller-kva.example'],
    ['ada@chat.example', '; the Host header of that is chat.example'],
    ['*.chat.example', ''],
    ['chat.example:70000', ''],
    ['chat example', ''],
    ['', ''],
  ] as const) {
    it(`refuses ${JSON.stringify(host)}, which no Host header can match`, async () => {
      await assert.rejects(createServer({ port: 0, hosts: [host], filters: [echo] }), {
        code: 'ERR_OPTION',
        message: `--hosts takes host names and addresses, received ${JSON.stringify(host)}${hint}`,
      })
    })
  }
})
