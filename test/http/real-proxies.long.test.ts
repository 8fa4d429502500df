import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import https from 'node:https'
import { connect } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { describe, it, type TestContext } from 'node:test'
import { WebSocket } from 'ws'
import type { FilterModule, ServerOptions } from '../../src/index.ts'
import { selfSignedFiles } from '../support/certificates.ts'
import { folder, root } from '../support/cli.ts'
import { onPath } from '../support/debian.ts'
import { becomes, serve, until } from '../support/peer.ts'
import { freePort } from '../support/port.ts'

const DOCS = readFileSync(join(root, 'docs/operations/deployment.md'), 'utf8')

/** The first code block of a language in the docs. */
const snippet = (language: string): string => new RegExp(`\`\`\`${language}\n(.*?)\`\`\``, 's').exec(DOCS)![1]!
const needs = (program: string) => ({ skip: onPath(program, process.env) === undefined && `needs ${program}` })

/** Sends its address, and refuses `/private`. */
const filter: FilterModule = {
  connect: client => (client.handshake!.url.pathname === '/private' ? client.refuse(401, 'sign in') : undefined),
  open: client => client.send(client.remote),
}

/** A server for `example.com` behind a proxy. */
function upstream(t: TestContext, options: ServerOptions = {}) {
  const pagesRoot = folder(t, { 'index.html': 'the page', 'sub/index.html': 'the folder' })
  const proxied = { hosts: ['example.com'], trustProxy: ['loopback'], healthPath: '/up' }
  return serve(t, { filters: [filter, 'pages'], pagesRoot, ...proxied, ...options })
}

/** Runs a proxy until the end of the test; resolves when it listens. */
async function runProxy(t: TestContext, port: number, program: string, args: readonly string[]): Promise<void> {
  const child = spawn(program, args, { env: { ...process.env, HOME: folder(t) }, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', chunk => {
      output += chunk
    })
  t.after(async () => {
    if (child.exitCode === null && child.kill()) await once(child, 'exit')
  })
  await until(async () => {
    const socket = connect(port, '127.0.0.1')
    const isUp = await once(socket, 'connect').then(
      () => true,
      () => false,
    )
    socket.destroy()
    return isUp || child.exitCode !== null
  }, program)
  assert.equal(child.exitCode, null, output)
}

/** nginx with the snippet of the docs, edited; resolves with its port. */
async function runNginx(
  t: TestContext,
  target: string,
  edit: (config: string) => string = config => config,
): Promise<number> {
  const [port, { files }, path] = [await freePort(), await selfSignedFiles(t), folder(t)]
  const site = edit(snippet('nginx'))
    .replace('listen 443 ssl', `listen 127.0.0.1:${port} ssl`)
    .replace('/etc/ssl/example.com.pem', files.cert)
    .replace('/etc/ssl/example.com.key', files.key)
    .replace('http://127.0.0.1:9000', target)
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    kind => `${kind}_temp_path ${path}/${kind};`,
  )
  writeFileSync(
    join(path, 'nginx.conf'),
    // The user owns the folder of a Unix socket.
    `user root; daemon off; pid ${path}/pid; error_log stderr; events {}
    http { access_log off; ${temporary.join(' ')}\n${site} }`,
  )
  await runProxy(t, port, 'nginx', ['-e', 'stderr', '-c', join(path, 'nginx.conf')])
  return port
}

/** The status of a handshake over TLS, and the body of a refusal or the first message. */
async function handshake(
  port: number,
  { origin, path = '/', host = `example.com:${port}` }: Partial<Record<'origin' | 'path' | 'host', string>> = {},
) {
  const headers = { Host: host }
  const ws = new WebSocket(`wss://127.0.0.1:${port}${path}`, {
    rejectUnauthorized: false,
    headers,
    origin: origin ?? `https://${host}`,
  })
  ws.on('error', () => {})
  const refused = once(ws, 'unexpected-response').then(async ([, res]) => [res.statusCode, await text(res)])
  const opened = once(ws, 'message').then(([data]) => [101, `${data}`])
  try {
    return (await Promise.race([refused, opened])) as [number, string]
  } finally {
    ws.terminate()
  }
}

async function get(port: number, path: string, host = 'example.com', method = 'GET') {
  const req = https.request(`https://127.0.0.1:${port}${path}`, {
    method,
    headers: { Host: host },
    rejectUnauthorized: false,
    agent: false,
  })
  const [res] = (await once(req.end(), 'response')) as [IncomingMessage]
  return [res.statusCode, res.headers.location ?? (await text(res))]
}

describe('behind nginx', needs('nginx'), () => {
  it('with the config of the docs pages connect, whatever the port', async t => {
    const server = await upstream(t)
    const port = await runNginx(t, server.url.replace('ws', 'http'))
    assert.deepEqual(await handshake(port), [101, '127.0.0.1'])
    assert.deepEqual(await handshake(port, { host: 'example.com' }), [101, '127.0.0.1'])
    assert.deepEqual(await handshake(port, { path: '/private' }), [401, 'sign in\n'])
    assert.equal((await handshake(port, { origin: 'https://evil.example' }))[0], 403)
    assert.equal((await handshake(port, { origin: 'https://example.com' }))[0], 403)
    assert.match((await handshake(port, { host: 'other.example' }))[1], /^host other\.example is not served here/)
    assert.deepEqual(await get(port, '/'), [200, 'the page'])
    assert.deepEqual(await get(port, '/up', 'other.example', 'OPTIONS'), [200, 'ok\n'])
  })

  const passHost = 'if a proxy replaced Host, pass it on (nginx: proxy_set_header Host $http_host), or see --origins\n'
  for (const [what, line, replacement, status, body] of [
    ['no Host', /.*proxy_set_header Host.*\n/, '', 403, /its host is not that of the Host header, 127\.0\.0\.1:\d+; /],
    ['$host', '$http_host', '$host', 403, /its port is not that of the Host header, example\.com; /],
    ['no Upgrade', /.*proxy_set_header Upgrade.*\n/, '', 200, /^the page$/],
    ['no Connection', /.*proxy_set_header Connection.*\n/, '', 200, /^the page$/],
    ['HTTP/1.0', /.*proxy_http_version.*\n/, '', 400, /^a WebSocket handshake is HTTP\/1\.1, received HTTP\/1\.0\n$/],
  ] as const)
    it(`a config with ${what} shows what to correct`, async t => {
      const server = await upstream(t)
      const port = await runNginx(t, server.url.replace('ws', 'http'), config =>
        config.replace(line, () => replacement),
      )
      const [received, answer] = await handshake(port)
      assert.equal(received, status)
      assert.match(answer, body)
      assert.equal(answer.endsWith(passHost), status === 403)
    })

  it('a location may remove a prefix of the path', async t => {
    const server = await upstream(t)
    const edit = (config: string) => config.replace('location /', 'location /app/').replace(':9000;', ':9000/;')
    const port = await runNginx(t, server.url.replace('ws', 'http'), edit)
    assert.deepEqual(await handshake(port, { path: '/app/' }), [101, '127.0.0.1'])
    assert.deepEqual(await get(port, '/app/sub'), [301, './sub/'])
    assert.deepEqual(await get(port, '/app/sub/'), [200, 'the folder'])
    assert.deepEqual(await get(port, '/app/up'), [200, 'ok\n'])
  })

  it('a Unix socket serves any Host, and the addresses of X-Forwarded-For', async t => {
    const socket = join(folder(t), 'fws.sock')
    await upstream(t, { host: socket, hosts: [], trustProxy: ['unix'] })
    const port = await runNginx(t, `http://unix:${socket}`)
    assert.deepEqual(await handshake(port, { host: 'other.example' }), [101, '127.0.0.1'])
    assert.deepEqual(await get(port, '/up'), [200, 'ok\n'])
  })
})

describe('behind Caddy', needs('caddy'), () => {
  it('with the config of the docs pages connect', async t => {
    const server = await upstream(t)
    const [port, { files }, path] = [await freePort(), await selfSignedFiles(t), folder(t)]
    const site = snippet('caddyfile')
      .replace(
        'example.com {',
        `https://example.com:${port}, https://127.0.0.1:${port} {\n  tls ${files.cert} ${files.key}`,
      )
      .replace('127.0.0.1:9000', new URL(server.url).host)
    writeFileSync(join(path, 'Caddyfile'), `{\n  admin off\n  auto_https disable_redirects\n}\n${site}`)
    await runProxy(t, port, 'caddy', ['run', '--adapter', 'caddyfile', '--config', join(path, 'Caddyfile')])
    assert.deepEqual(await handshake(port), [101, '127.0.0.1'])
    assert.equal((await handshake(port, { origin: 'https://evil.example' }))[0], 403)
    assert.deepEqual(await get(port, '/up', `example.com:${port}`), [200, 'ok\n'])
  })
})

describe('behind HAProxy', needs('haproxy'), () => {
  it('is checked by the health path, and gets handshakes', async t => {
    const server = await upstream(t)
    const { host } = new URL(server.url)
    const [port, stats, { pems }, path] = [await freePort(), await freePort(), await selfSignedFiles(t), folder(t)]
    const checks = ['GET /up', 'OPTIONS /up', 'HEAD /up', '/', '']
    writeFileSync(join(path, 'both.pem'), `${pems.cert}\n${pems.key}`)
    writeFileSync(
      join(path, 'haproxy.cfg'),
      `defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout check 10s
  option forwardfor
listen main
  bind 127.0.0.1:${port} ssl crt ${join(path, 'both.pem')}
  server one ${host}
frontend stats
  bind 127.0.0.1:${stats}
  stats enable
  stats uri /
${checks.map((check, i) => `backend check${i}\n  option httpchk ${check}\n  server one ${host} check inter 1s`).join('\n')}
`,
    )
    await runProxy(t, port, 'haproxy', ['-f', join(path, 'haproxy.cfg')])
    assert.deepEqual(await handshake(port), [101, '127.0.0.1'])
    assert.equal((await handshake(port, { origin: 'https://evil.example' }))[0], 403)
    // Columns 36 and 37 of the CSV; `*` marks a check that runs.
    const results = async () => {
      const csv = await (await fetch(`http://127.0.0.1:${stats}/;csv`)).text()
      const rows = csv.split('\n').map(row => row.split(','))
      return checks.map((_, i) =>
        rows
          .find(([name, row]) => name === `check${i}` && row === 'one')!
          .slice(36, 38)
          .join(' ')
          .replace('* ', ''),
      )
    }
    await becomes(results, ['L7OK 200', 'L7OK 200', 'L7OK 200', 'L7STS 403', 'L7STS 403'])
  })
})
