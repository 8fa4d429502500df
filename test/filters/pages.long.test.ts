import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync, readlinkSync, renameSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { Agent, createServer, type IncomingMessage, request } from 'node:http'
import { request as requestTls } from 'node:https'
import { connect } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { brotliCompressSync, gzipSync } from 'node:zlib'
import { pino } from 'pino'
import { selfSigned } from '../support/certificates.ts'
import { folder, launch, refusal } from '../support/cli.ts'
import { Peer, serve, until } from '../support/peer.ts'
import { whileSwapping } from '../support/swap.ts'

type Test = Parameters<typeof folder>[0]

interface Answer {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

/** Like `fetch`, but sends the path unchanged. */
async function get(
  base: string,
  path: string,
  headers: Record<string, string> = {},
  method = 'GET',
  agent: Agent | false = false,
): Promise<Answer> {
  const { hostname, port } = new URL(base)
  const req = request({ hostname, port, path, headers, method, agent }).end()
  const [res] = (await once(req, 'response')) as [IncomingMessage]
  let body = ''
  for await (const chunk of res.setEncoding('latin1')) body += chunk
  return { status: res.statusCode!, headers: res.headers, body }
}

/** The target of a file descriptor of this process. */
function targetOf(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`)
  } catch {
    return ''
  }
}

const TEXT = '0123456789'.repeat(100)
const SECRET = 'top secret'

/** A root with the files of the tests, and a secret next to it. */
function site(t: Test): string {
  const base = folder(t, {
    'secret.txt': SECRET,
    'root-of-another/secret.txt': SECRET,
    'root/index.html': '<h1>home</h1>',
    'root/app.js': 'app()',
    'root/text.txt': TEXT,
    'root/packed.txt': TEXT,
    'root/ünïcode + space.txt': 'odd',
    'root/sub/index.html': '<h1>sub</h1>',
    'root/empty/.keep': '',
    'root/.env': SECRET,
    'root/.git/config': SECRET,
    'root/.well-known/security.txt': 'mail',
    'root/uploads/evil.html': '{{ name }}<script>evil()</script>',
  })
  const root = join(base, 'root')
  writeFileSync(join(root, 'packed.txt.br'), brotliCompressSync(TEXT))
  writeFileSync(join(root, 'packed.txt.gz'), gzipSync(TEXT))
  symlinkSync(join(base, 'secret.txt'), join(root, 'link.txt'))
  symlinkSync(base, join(root, 'up'))
  symlinkSync(join(root, 'text.txt'), join(root, 'inner.txt'))
  return root
}

async function pages(t: Test, options: Record<string, unknown> = {}) {
  const root = site(t)
  const { url } = await serve(t, { filters: ['pages', 'echo'], pagesRoot: root, ...options })
  return { root, ws: url, http: url.replace('ws:', 'http:') }
}

describe('pages', () => {
  let http: string
  let ws: string
  const ends: (() => void | Promise<void>)[] = []
  before(async () => {
    const made = await pages({ after: end => void ends.push(end) } as Test)
    http = made.http
    ws = made.ws
  })
  after(async () => {
    for (const end of ends.toReversed()) await end()
  })

  it('serves files with their type, and the index of a folder, on the port of the WebSocket', async () => {
    for (const [path, type, body] of [
      ['/', 'text/html; charset=utf-8', '<h1>home</h1>'],
      ['/index.html?x=1', 'text/html; charset=utf-8', '<h1>home</h1>'],
      ['/sub/', 'text/html; charset=utf-8', '<h1>sub</h1>'],
      ['/app.js', 'text/javascript; charset=utf-8', 'app()'],
      ['/%C3%BCn%C3%AFcode%20+%20space.txt', 'text/plain; charset=utf-8', 'odd'],
      ['/.well-known/security.txt', 'text/plain; charset=utf-8', 'mail'],
      ['/inner.txt', 'text/plain; charset=utf-8', TEXT],
    ] as const) {
      const answer = await get(http, path)
      assert.deepEqual([answer.status, answer.headers['content-type'], answer.body], [200, type, body], path)
    }
    const peer = await Peer.open(ws)
    peer.send('hello')
    assert.deepEqual(await peer.get(1), ['hello'])
  })

  it('redirects a folder to its path with a slash, never to another server, also behind a prefix', async t => {
    const { root, http } = await pages(t)
    for (const name of ['deep/er', 'a:b', 'http:', 'evil.example', 'ü b', 'a?b', '.well-known'])
      mkdirSync(join(root, name), { recursive: true })
    for (const [path, location] of [
      ['/sub', './sub/'],
      ['/sub?x=1&y=/z', './sub/?x=1&y=/z'],
      ['/deep/er', './er/'],
      ['/a:b', './a:b/'],
      ['/http:', './http:/'],
      ['//evil.example', './evil.example/'],
      ['///sub', './sub/'],
      ['/sub/../http:', undefined],
      ['/%C3%BC%20b', './%C3%BC%20b/'],
      ['/a%3Fb', './a%3Fb/'],
      ['/.well-known', './.well-known/'],
    ] as const) {
      const { status, headers } = await get(http, path)
      assert.deepEqual([status, headers.location], location === undefined ? [404, undefined] : [301, location], path)
      if (location === undefined) continue
      const [pathname, ...search] = path.split('?')
      const expected = `http://proxy.example/app${pathname}/${search.length > 0 ? `?${search}` : ''}`
      assert.equal(new URL(location, `http://proxy.example/app${path}`).href, expected)
    }
  })

  it('redirects a browser behind a proxy that removes a prefix of the path', async t => {
    const proxy = createServer((req, res) => {
      const { hostname, port } = new URL(http)
      const path = req.url!.replace(/^\/app/, '')
      request({ hostname, port, path }, answer => {
        res.writeHead(answer.statusCode!, answer.headers)
        answer.pipe(res)
      }).end()
    })
    await once(proxy.listen(0, '127.0.0.1'), 'listening')
    t.after(() => void proxy.close().closeAllConnections())
    const { port } = proxy.address() as { port: number }
    const answer = await fetch(`http://127.0.0.1:${port}/app/sub?x=1`)
    assert.deepEqual([answer.url, await answer.text()], [`http://127.0.0.1:${port}/app/sub/?x=1`, '<h1>sub</h1>'])
  })

  it('answers HEAD like GET without a body, other methods with 405, missing files with 404', async () => {
    const head = await get(http, '/text.txt', {}, 'HEAD')
    assert.deepEqual([head.status, head.headers['content-length'], head.body], [200, String(TEXT.length), ''])
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH']) {
      const { status, headers } = await get(http, '/text.txt', {}, method)
      assert.deepEqual([status, headers.allow], [405, 'GET, HEAD'], method)
    }
    for (const path of ['/nothing', '/empty/', '/text.txt/', '/index.html/', '/nothing.html', '/sub/nothing'])
      assert.deepEqual([(await get(http, path)).status, path], [404, path])
  })

  it('sends restrictive security headers', async () => {
    for (const path of ['/', '/app.js', '/nothing']) {
      const { headers } = await get(http, path)
      assert.match(String(headers['content-security-policy']), /^default-src 'self'; .*frame-ancestors 'none'$/)
      assert.equal(headers['x-content-type-options'], 'nosniff')
      assert.equal(headers['referrer-policy'], 'same-origin')
    }
  })

  it('answers 304 to a matching validator', async () => {
    const { headers } = await get(http, '/text.txt')
    assert.equal(headers['cache-control'], 'no-cache')
    assert.equal((await get(http, '/text.txt', { 'If-None-Match': headers.etag! })).status, 304)
    assert.equal((await get(http, '/text.txt', { 'If-Modified-Since': headers['last-modified']! })).status, 304)
    assert.equal((await get(http, '/text.txt', { 'If-None-Match': '"other"' })).status, 200)
    assert.equal((await get(http, '/text.txt', { 'If-Match': '"other"' })).status, 412)
  })

  for (const [range, status, contentRange, body] of [
    ['bytes=0-9', 206, 'bytes 0-9/1000', TEXT.slice(0, 10)],
    ['bytes=990-', 206, 'bytes 990-999/1000', TEXT.slice(990)],
    ['bytes=-5', 206, 'bytes 995-999/1000', TEXT.slice(-5)],
    ['bytes=0-5000', 206, 'bytes 0-999/1000', TEXT],
    ['bytes=1000-', 416, 'bytes */1000', undefined],
    ['bytes=5-1', 416, 'bytes */1000', undefined],
    ['bytes=0-1,5-6', 200, undefined, TEXT],
    ['lines=0-1', 200, undefined, TEXT],
    ['nonsense', 200, undefined, TEXT],
  ] as const)
    it(`answers range ${range} with ${status}`, async () => {
      const answer = await get(http, '/text.txt', { Range: range })
      assert.equal(answer.status, status)
      assert.equal(answer.headers['content-range'], contentRange)
      if (body !== undefined) assert.equal(answer.body, body)
    })

  it('answers a range of another version with the complete file', async () => {
    const { headers } = await get(http, '/text.txt')
    const range = { Range: 'bytes=0-1', 'If-Range': headers['last-modified']! }
    assert.equal((await get(http, '/text.txt', range)).status, 206)
    const old = { Range: 'bytes=0-1', 'If-Range': 'Thu, 01 Jan 1970 00:00:00 GMT' }
    assert.equal((await get(http, '/text.txt', old)).status, 200)
  })

  for (const [accepts, coding] of [
    ['gzip, deflate, br', 'br'],
    ['gzip', 'gzip'],
    ['br;q=0, gzip;q=0.5', 'gzip'],
    ['br;q=0.0, gzip;q=0', undefined],
    ['identity', undefined],
    ['brotli', undefined],
    ['', undefined],
  ] as const)
    it(`sends ${coding ?? 'no'} copy for Accept-Encoding "${accepts}"`, async () => {
      const answer = await get(http, '/packed.txt', { 'Accept-Encoding': accepts })
      assert.equal(answer.headers['content-encoding'], coding)
      assert.equal(answer.headers['content-type'], 'text/plain; charset=utf-8')
      assert.equal(answer.headers.vary, 'Accept-Encoding')
      assert.equal(answer.body.length === TEXT.length, coding === undefined)
    })

  it('serves no path outside of the root', async () => {
    const ups = ['..', '%2e%2e', '.%2e', '%2E.', '..%00', '%c0%ae%c0%ae', '%252e%252e', '..;', '....', '%u002e%u002e']
    const slashes = ['/', '%2f', '\\', '%5c', '//', '/./', '%252f']
    const targets = ['secret.txt', 'root-of-another/secret.txt', 'etc/passwd']
    const payloads = ups.flatMap(up =>
      slashes.flatMap(slash => targets.flatMap(target => [1, 2, 8].map(n => `/${`${up}${slash}`.repeat(n)}${target}`))),
    )
    payloads.push(
      '/link.txt',
      '/up/secret.txt',
      '/up/up/secret.txt',
      '/.env',
      '/%2eenv',
      '/.git/config',
      '/sub/../.env',
    )
    payloads.push(
      '/root/../../secret.txt',
      '/sub/..%2f..%2fsecret.txt',
      '/%00',
      '/text.txt%00.html',
      '/%',
      '/%zz',
      '/con:',
    )
    payloads.push('http://127.0.0.1/secret.txt', `/${'a'.repeat(5000)}`, `/${'a/'.repeat(2000)}`, '/file:///etc/passwd')
    assert.ok(payloads.length >= 200, String(payloads.length))
    for (const path of payloads) {
      const { status, body } = await get(http, path)
      assert.ok([400, 404].includes(status), `${path}: ${status}`)
      assert.ok(!body.includes(SECRET) && !body.includes('root:'), path)
    }
  })

  it('ignores a compressed copy that is a link', async t => {
    const { root, http } = await pages(t)
    symlinkSync('../secret.txt', join(root, 'text.txt.br'))
    const { headers, body } = await get(http, '/text.txt', { 'Accept-Encoding': 'br' })
    assert.deepEqual([headers['content-encoding'], body], [undefined, TEXT])
  })

  it('serves neither hidden names nor pipes through a link', async t => {
    const { root, http } = await pages(t, { pagesMount: ['/m=sub'], pagesVar: ['name=ann'] })
    mkdirSync(join(root, 'sub/.hidden/deep'), { recursive: true })
    writeFileSync(join(root, 'sub/.hidden/deep/a.html'), SECRET)
    execFileSync('mkfifo', [join(root, 'pipe'), join(root, 'text.txt.gz')])
    for (const [target, link] of [
      ['.git', 'repo'],
      ['.git/config', 'settings.html'],
      ['.env', 'environment.txt'],
      ['.hidden/deep', 'sub/deep'],
      ['.hidden/deep/a.html', 'sub/a.html'],
      ['../.git', 'sub/repo'],
      ['pipe', 'pipe.txt'],
    ] as const)
      symlinkSync(target, join(root, link))
    for (const path of [
      '/repo/config',
      '/settings.html',
      '/environment.txt',
      '/sub/deep/a.html',
      '/m/deep/a.html',
      '/m/a.html',
      '/sub/repo/config',
      '/m/repo/config',
      '/pipe',
      '/pipe.txt',
    ])
      assert.deepEqual([(await get(http, path)).status, path], [404, path])
    writeFileSync(join(root, 'index.html'), '{% include "settings.html" %}')
    assert.equal((await get(http, '/')).status, 500)
    const { headers, body } = await get(http, '/text.txt', { 'Accept-Encoding': 'gzip' })
    assert.deepEqual([headers['content-encoding'], body], [undefined, TEXT])
    symlinkSync('.well-known', join(root, 'known'))
    assert.equal((await get(http, '/known/security.txt')).body, 'mail')
  })

  for (const [what, path, inside, target, others] of [
    ['a folder', '/race/in/a.txt', 'race/in', 'far/in', [404]],
    ['a folder above', '/race/in/a.txt', 'race', 'far', [404]],
    ['a file', '/race/in/a.txt', 'race/in/a.txt', 'far/in/a.txt', [404]],
    ['a copy', '/packed.txt', 'packed.txt.gz', 'far/in/a.txt.gz', [200]],
    ['the folder of a copy', '/race/in/packed.txt', 'race/in', 'far/in', [404]],
    ['an included file', '/including.html', 'race/in/part.html', 'far/in/part.html', [500]],
    ['the folder of an included file', '/including.html', 'race/in', 'far/in', [500]],
    ['a page that is a template', '/race/in/page.html', 'race/in/page.html', 'far/in/page.html', [404]],
  ] as const)
    it(`reads no file outside of the root while ${what} is swapped with a link`, async t => {
      const { root, http } = await pages(t, { pagesVar: ['name=ann'] })
      for (const [folder, text] of [
        [join(root, 'race/in'), TEXT],
        [join(root, '../far/in'), SECRET],
      ] as const) {
        mkdirSync(folder, { recursive: true })
        for (const name of ['a.txt', 'packed.txt', 'part.html', 'page.html']) writeFileSync(join(folder, name), text)
        for (const name of ['a.txt.gz', 'packed.txt.gz']) writeFileSync(join(folder, name), gzipSync(text))
      }
      writeFileSync(join(root, 'including.html'), '{% include "race/in/part.html" %}')
      const bodies = new Set([TEXT, gzipSync(TEXT).toString('latin1'), 'not found\n', 'internal error\n'])
      const agent = new Agent({ keepAlive: true, maxSockets: 8 })
      t.after(() => agent.destroy())
      const seen = new Map<string, number>()
      const foreign: string[] = []
      await whileSwapping(t, join(root, inside), join(root, '..', target), async () => {
        const ask = async () => {
          // Also until both states have occurred.
          for (let i = 0; i < 200 || (seen.size < 2 && i < 5000); i++) {
            const { status, headers, body } = await get(http, path, { 'Accept-Encoding': 'gzip' }, 'GET', agent)
            if (!bodies.has(body)) foreign.push(body)
            const kind = `${status} ${headers['content-encoding'] ?? ''}`
            seen.set(kind, (seen.get(kind) ?? 0) + 1)
          }
        }
        await Promise.all(Array.from({ length: 8 }, ask))
      })
      assert.deepEqual(foreign, [])
      assert.ok(seen.size > 1, JSON.stringify([...seen]))
      const allowed = new Set<number>([200, ...others])
      assert.deepEqual(
        [...seen.keys()].filter(kind => !allowed.has(Number.parseInt(kind, 10))),
        [],
      )
    })

  it('serves one version or the other while a rename replaces a file', async t => {
    const { root, http } = await pages(t)
    const agent = new Agent({ keepAlive: true, maxSockets: 4 })
    t.after(() => agent.destroy())
    let isDone = false
    const replace = async () => {
      for (let i = 0; !isDone; i++) {
        writeFileSync(join(root, 'next'), i % 2 === 0 ? 'even' : 'odd!')
        renameSync(join(root, 'next'), join(root, 'version.txt'))
        await new Promise(setImmediate)
      }
    }
    writeFileSync(join(root, 'version.txt'), 'even')
    const replacing = replace()
    for (let i = 0; i < 300; i++) {
      const { status, headers, body } = await get(http, '/version.txt', {}, 'GET', agent)
      assert.equal(status, 200)
      assert.equal(headers['content-type'], 'text/plain; charset=utf-8')
      assert.ok(['even', 'odd!'].includes(body), body)
    }
    isDone = true
    await replacing
  })

  it('answers pipelined requests in order, with one open file at a time', async t => {
    const { root, http } = await pages(t)
    writeFileSync(join(root, 'large.bin'), Buffer.alloc(20_000_000))
    const open = () => readdirSync('/proc/self/fd').filter(fd => targetOf(fd).endsWith('large.bin')).length
    const { hostname, port } = new URL(http)
    const socket = connect({ host: hostname, port: Number(port) })
    t.after(() => socket.destroy())
    socket.write('GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(30))
    await once(socket, 'readable')
    assert.equal(open(), 1)
    socket.destroy()
    await until(() => open() === 0)
    const again = connect({ host: hostname, port: Number(port) })
    t.after(() => again.destroy())
    let text = ''
    again.setEncoding('latin1').on('data', chunk => {
      text += chunk
    })
    for (const path of ['/app.js', '/nothing', '/', '/text.txt'])
      again.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
    await until(() => text.endsWith(TEXT))
    assert.deepEqual(
      [...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status),
      ['200', '404', '200', '200'],
    )
  })

  it('closes all files after any response', async t => {
    const { root, http } = await pages(t, { pagesVar: ['name=ann'] })
    writeFileSync(join(root, '404.html'), '<h1>lost</h1>')
    writeFileSync(join(root, 'broken.html'), '{% include "sub" %}')
    writeFileSync(join(root, 'empty.txt'), '')
    const { etag } = (await get(http, '/text.txt')).headers
    for (const [path, headers, method, status] of [
      ['/text.txt', {}, 'GET', 200],
      ['/text.txt', {}, 'HEAD', 200],
      ['/text.txt', { 'If-None-Match': etag! }, 'GET', 304],
      ['/text.txt', { 'If-Match': '"other"' }, 'GET', 412],
      ['/text.txt', { Range: 'bytes=0-9' }, 'GET', 206],
      ['/text.txt', { Range: 'bytes=1000-' }, 'GET', 416],
      ['/packed.txt', { 'Accept-Encoding': 'br' }, 'GET', 200],
      ['/packed.txt', { 'Accept-Encoding': 'br' }, 'HEAD', 200],
      ['/text.txt', { 'Accept-Encoding': 'br, gzip' }, 'GET', 200],
      ['/empty.txt', {}, 'GET', 200],
      ['/', {}, 'GET', 200],
      ['/broken.html', {}, 'GET', 500],
      ['/sub', {}, 'GET', 301],
      ['/text.txt/', {}, 'GET', 404],
      ['/nothing', {}, 'GET', 404],
      ['/repo/config', {}, 'GET', 404],
      ['/up/secret.txt', {}, 'GET', 404],
    ] as const)
      assert.deepEqual([(await get(http, path, headers, method)).status, path], [status, path])
    const open = () =>
      readdirSync('/proc/self/fd')
        .map(targetOf)
        .filter(target => target.startsWith(join(root, '..')))
    await until(() => open().length === 0, `the end of ${open()}`)
  })

  it('closes the connection if a file is truncated while it is sent', async t => {
    const { root, http } = await pages(t)
    writeFileSync(join(root, 'large.bin'), Buffer.alloc(50_000_000))
    const { hostname, port } = new URL(http)
    const socket = connect({ host: hostname, port: Number(port) })
    t.after(() => socket.destroy())
    let bytes = 0
    socket.write('GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(2))
    await once(socket, 'readable')
    truncateSync(join(root, 'large.bin'), 1_000_000)
    socket.on('data', chunk => {
      bytes += chunk.length
    })
    await once(socket, 'close')
    assert.ok(bytes < 50_000_000)
  })

  it('sends no headers of the file with 416 and 412', async () => {
    for (const [name, value, status] of [
      ['Range', 'bytes=1000-', 416],
      ['If-Match', '"other"', 412],
      ['If-Unmodified-Since', 'Thu, 01 Jan 1970 00:00:00 GMT', 412],
    ] as const) {
      const { headers, ...answer } = await get(http, '/text.txt', { [name]: value })
      assert.equal(answer.status, status)
      for (const header of ['content-type', 'etag', 'last-modified', 'cache-control'])
        assert.equal(headers[header], undefined, `${name}: ${header}`)
    }
  })

  it('logs paths without their queries', async t => {
    const server = await launch(t, ['-p', '0', '-f', 'pages', '--pages-root', '.', '--log-level', 'trace'], {
      cwd: folder(t, { 'a.txt': 'a' }),
    })
    assert.equal((await get(server.url.replace('ws', 'http'), '/a.txt?token=hidden')).status, 200)
    await until(() => server.logged().some(({ path }) => path === '/a.txt'))
    assert.ok(!server.stderr.includes('hidden'))
  })

  it('serves each client library as one small file, and its lazily loaded parts', async () => {
    const { status, headers } = await get(http, '/fws/client.js')
    assert.deepEqual([status, headers['content-type']], [200, 'text/javascript; charset=utf-8'])
    for (const [name, bytes, ...others] of [
      ['client', 6000],
      ['media', 20_000],
      ['messaging', 10_000, './messaging-files.js', './messaging-handlers.js'],
      ['messaging-files', 12_400, './messaging.js'],
      ['messaging-handlers', 6500, './messaging.js'],
    ] as const) {
      const { body } = await get(http, `/fws/${name}.js`)
      const imported = [...body.matchAll(/\b(?:from|import)\s*\(?["']([^"']+)/g)].map(([, path]) => path)
      assert.deepEqual([...new Set(imported)], others, `${name}.js`)
      assert.ok(body.length <= bytes, `${name}.js has ${body.length} bytes`)
    }
  })

  it('lets pages of all origins import the client libraries, and no other file', async t => {
    const { root, http } = await pages(t, { pagesMount: ['/fws/mine/=sub'] })
    writeFileSync(join(root, 'sub/client.js'), 'mine()')
    mkdirSync(join(root, 'fws'))
    writeFileSync(join(root, 'fws/own.js'), 'own()')
    const { etag } = (await get(http, '/fws/client.js')).headers
    for (const [path, headers, method, status, allowed] of [
      ['/fws/client.js', {}, 'GET', 200, '*'],
      ['/fws/media.js', { Origin: 'https://other.example' }, 'GET', 200, '*'],
      ['/fws/messaging.js', {}, 'HEAD', 200, '*'],
      ['/fws/microphone-worklet.js', {}, 'GET', 200, '*'],
      ['/fws/client.js', { 'If-None-Match': etag! }, 'GET', 304, '*'],
      ['/fws/client.js', { Range: 'bytes=0-9' }, 'GET', 206, '*'],
      ['/fws/missing.js', {}, 'GET', 404, undefined],
      ['/fws/mine/client.js', {}, 'GET', 200, undefined],
      ['/fws/own.js', {}, 'GET', 404, undefined],
      ['/fws', {}, 'GET', 301, undefined],
      ['/app.js', { Origin: 'https://other.example' }, 'GET', 200, undefined],
      ['/', {}, 'GET', 200, undefined],
    ] as const) {
      const answer = await get(http, path, headers, method)
      const received = [answer.status, answer.headers['access-control-allow-origin']]
      assert.deepEqual(received, [status, allowed], `${method} ${path}`)
    }
  })

  it('serves the module of the audio thread', async () => {
    const [, part] = /new URL\("\.\/([^"]+)",import\.meta\.url\)/.exec((await get(http, '/fws/media.js')).body)!
    const { status, headers } = await get(http, `/fws/${part}`)
    assert.deepEqual(
      [part, status, headers['content-type']],
      ['microphone-worklet.js', 200, 'text/javascript; charset=utf-8'],
    )
  })
})

describe('an icon that browsers request without a link', () => {
  for (const path of [
    '/favicon.ico',
    '/favicon.ico?v=2',
    '/apple-touch-icon.png',
    '/apple-touch-icon-precomposed.png',
    '/apple-touch-icon-120x120.png',
    '/apple-touch-icon-152x152-precomposed.png',
  ]) {
    it(`is an empty answer, not 404, if the site has none: ${path}`, async t => {
      const lines: Record<string, unknown>[] = []
      const log = pino({ level: 'debug' }, { write: line => void lines.push(JSON.parse(line)) })
      const { http, root } = await pages(t, { log })
      writeFileSync(join(root, '404.html'), 'lost')
      const { status, body, headers } = await get(http, path)
      assert.deepEqual([status, body, headers['cache-control']], [204, '', 'max-age=3600'])
      await until(() => lines.some(line => line.status === 204))
      assert.ok(!lines.some(line => line.status === 404))
    })
  }

  it('is the one of the site', async t => {
    const { http, root } = await pages(t)
    writeFileSync(join(root, 'favicon.ico'), 'icon')
    const { status, body } = await get(http, '/favicon.ico')
    assert.deepEqual([status, body], [200, 'icon'])
  })

  for (const path of [
    '/sub/favicon.ico',
    '/favicon.png',
    '/FAVICON.ICO',
    '/apple-touch-icon.gif',
    '/icon.ico',
    '/robots.txt',
  ]) {
    it(`is not ${path}, which is 404`, async t => {
      const { http } = await pages(t)
      assert.equal((await get(http, path)).status, 404)
    })
  }
})

describe('options of pages', () => {
  it('renders pages with escaped variables, and requires revalidation', async t => {
    const { root, http } = await pages(t, { pagesVar: ['title=<b>&', 'port=9000'] })
    writeFileSync(join(root, 'index.html'), '<h1>{{ title }}</h1>{% include "part.html" %}{{ missing }}')
    writeFileSync(join(root, 'part.html'), '<p>{{ port }}</p>')
    const page = await get(http, '/')
    assert.equal(page.body, '<h1>&lt;b&gt;&amp;</h1><p>9000</p>')
    assert.equal((await get(http, '/', { 'If-None-Match': `W/${page.headers.etag}` })).status, 304)
    assert.equal((await get(http, '/', {}, 'HEAD')).body, '')
    writeFileSync(join(root, 'index.html'), '{{ broken')
    const broken = await get(http, '/')
    assert.deepEqual([broken.status, broken.body], [500, 'internal error\n'])
  })

  for (const [template, page] of [
    ['{% if title == "Home" %}yes{% else %}no{% endif %}', 'yes'],
    ['{% for i in (1..3) %}{{ i }}{% unless forloop.last %}, {% endunless %}{% endfor %}', '1, 2, 3'],
    ['{% assign words = rooms | split: " " %}{% for word in words %}<{{ word }}>{% endfor %}', '<a><b>'],
    ['{% include "sub/part.html" %}', '[Home]'],
    ['{% render "sub/part.html" %}', '[Home]'],
    ['{% layout "frame.html" %}{% block body %}text{% endblock %}', '<main>text</main>'],
    ['{{ title | append: "<" | upcase }}', 'HOME&lt;'],
    ['{{ missing }}{{ missing.deep }}', ''],
  ] as const)
    it(`renders ${template}`, async t => {
      const { root, http } = await pages(t, { pagesVar: ['title=Home', 'rooms=a b'] })
      writeFileSync(join(root, 'sub/part.html'), '[{{ title }}]')
      writeFileSync(join(root, 'frame.html'), '<main>{% block body %}{% endblock %}</main>')
      writeFileSync(join(root, 'index.html'), template)
      const { status, body } = await get(http, '/')
      assert.deepEqual([status, body], [200, page])
    })

  it('gives templates no access to functions and objects of the process', async t => {
    const { root, http } = await pages(t, { pagesVar: ['title=Home'] })
    for (const [i, template] of [
      '{{ range.constructor("return process.pid")() }}',
      '{{ title.constructor }}{{ title.constructor.constructor }}',
      '{{ "x".constructor }}{{ "x"["constructor"] }}',
      '{{ title.__proto__ }}{{ title.__proto__.constructor }}',
      '{{ constructor }}{{ __proto__ }}{{ toString }}{{ hasOwnProperty }}',
      '{{ process.pid }}{{ globalThis.process.pid }}{{ require }}{{ this }}{{ self }}',
      '{{ title | map: "constructor" }}{{ title | where: "constructor" }}',
      '{% assign a = title | split: "" %}{{ a.constructor }}{{ a.map }}{{ a["filter"] }}',
      '{% for i in (1..2) %}{{ i.constructor }}{{ forloop.constructor }}{% endfor %}',
      '{% for i in (1..2) %}{{ forloop.__proto__.constructor.constructor }}{% endfor %}',
      '{% assign k = "constructor" %}{{ title[k] }}{{ title[k][k] }}',
      '{{ cycler.constructor.constructor("return process.pid")() }}',
    ].entries()) {
      writeFileSync(join(root, `${i}.html`), template)
      const { body } = await get(http, `/${i}.html`)
      assert.match(body, /^(?:internal error\n|\s*)$/, template)
    }
  })

  for (const template of [
    '{% for i in (1..1000000000) %}x{% endfor %}',
    '{% for i in (1..9000) %}{% for j in (1..9000) %}{% for k in (1..9000) %}{% endfor %}{% endfor %}{% endfor %}',
    '{% assign s = "xxxxxxxxxxxxxxxx" %}{% for i in (1..60) %}{% assign s = s | append: s %}{% endfor %}{{ s }}',
    '{% include "index.html" %}',
    '{% render "index.html" %}',
    '{% layout "index.html" %}',
    `{{ title }}${' '.repeat(4_194_305)}`,
  ])
    it(`stops an endless template: ${template.slice(0, 60).trim()}`, async t => {
      const { root, http } = await pages(t, { pagesVar: ['title=Home'] })
      writeFileSync(join(root, 'index.html'), template)
      const { status, body } = await get(http, '/')
      assert.deepEqual([status, body], [500, 'internal error\n'])
      assert.equal((await get(http, '/app.js')).body, 'app()')
    })

  it('includes no file outside of the root, hidden, or in a mount', async t => {
    const { root, http } = await pages(t, { pagesMount: ['/files=uploads'], pagesVar: ['name=ann'] })
    symlinkSync('uploads/evil.html', join(root, 'alias.html'))
    for (const tag of ['include', 'render', 'layout'])
      for (const name of [
        '../secret.txt',
        join(root, '../secret.txt'),
        'sub/../../secret.txt',
        'link.txt',
        'up/secret.txt',
        '.env',
        '.git/config',
        'uploads/evil.html',
        'sub/../uploads/evil.html',
        'alias.html',
        'sub',
        'nowhere.html',
      ]) {
        writeFileSync(join(root, 'index.html'), `{% ${tag} "${name}" %}`)
        const { status, body } = await get(http, '/')
        assert.deepEqual([status, body], [500, 'internal error\n'], `${tag} ${name}`)
      }
  })

  it('sandboxes documents of mounts and does not render them on any path, but sends their scripts and styles', async t => {
    const { root, http } = await pages(t, { pagesMount: ['/files=uploads'], pagesVar: ['name=ann'] })
    for (const path of ['/files/evil.html', '/uploads/evil.html']) {
      const { status, headers, body } = await get(http, path)
      assert.deepEqual([status, body], [200, '{{ name }}<script>evil()</script>'], path)
      assert.match(String(headers['content-security-policy']), /^sandbox; default-src 'none'/)
    }
    writeFileSync(join(root, 'uploads/library.js'), 'library()')
    assert.equal((await get(http, '/files/library.js')).headers['content-type'], 'text/javascript; charset=utf-8')
    mkdirSync(join(root, 'uploads/new'))
    writeFileSync(join(root, 'uploads/new/late.txt'), 'late')
    assert.equal((await get(http, '/files/new/late.txt')).body, 'late')
    assert.equal((await get(http, '/files/../secret.txt')).status, 404)
  })

  it('with --pages-spa answers unknown paths with the index, but not unknown files', async t => {
    const { http } = await pages(t, { pagesSpa: true })
    assert.equal((await get(http, '/users/7')).body, '<h1>home</h1>')
    assert.equal((await get(http, '/missing.js')).status, 404)
  })

  it('serves 404.html for missing files', async t => {
    const { root, http } = await pages(t)
    writeFileSync(join(root, '404.html'), '<h1>lost</h1>')
    const { status, body } = await get(http, '/nothing', { Range: 'bytes=0-1' })
    assert.deepEqual([status, body], [404, '<h1>lost</h1>'])
  })

  it('lets browsers cache files, but not pages', async t => {
    const { http } = await pages(t, { pagesMaxAge: 60 })
    assert.equal((await get(http, '/app.js')).headers['cache-control'], 'public, max-age=60')
    assert.equal((await get(http, '/')).headers['cache-control'], 'no-cache')
  })

  it('shares the port of the WebSocket with TLS too', async t => {
    const { key, cert } = await selfSigned()
    const files = folder(t, { 'key.pem': key, 'cert.pem': cert, 'page.html': 'safe' })
    const pem = { key: join(files, 'key.pem'), cert: join(files, 'cert.pem') }
    const { url } = await serve(t, { filters: ['pages', 'echo'], pagesRoot: files, pagesIndex: 'page.html', ...pem })
    assert.match(url, /^wss:/)
    const req = requestTls(url.replace('wss:', 'https:'), { rejectUnauthorized: false, agent: false }).end()
    const [res] = (await once(req, 'response')) as [IncomingMessage]
    assert.equal(String((await res.toArray())[0]), 'safe')
    const peer = await Peer.open(url, { rejectUnauthorized: false })
    peer.send('hello')
    assert.deepEqual(await peer.get(1), ['hello'])
  })

  it('reads variables from a config file, and resolves the root relative to it', async t => {
    const config = { filters: [['pages', { root: 'site', var: ['title=from the file', 'port=1'] }], 'echo'] }
    const cwd = folder(t, { 'site/index.html': '{{ title }} {{ port }}', 'fws.json': JSON.stringify(config) })
    const { url } = await launch(t, ['-p', '0', '-c', 'fws.json'], { cwd })
    assert.equal((await get(url.replace('ws:', 'http:'), '/')).body, 'from the file 1')
  })

  for (const [args, sentence] of [
    [[], /filter pages needs --pages-root: /],
    [['--pages-root', 'nowhere'], /--pages-root takes a folder, received ".*nowhere"/],
    [['--pages-root', '.', '--pages-mount', 'x'], /--pages-mount takes \/URL=DIR, received "x"/],
    [['--pages-root', '.', '--pages-mount', '/x=nowhere'], /--pages-mount takes a folder, received ".*nowhere"/],
    [['--pages-root', '.', '--pages-untrusted', 'nowhere'], /--pages-untrusted takes a folder, received ".*nowhere"/],
    [['--pages-root', '.', '--pages-var', '7=x'], /--pages-var takes NAME=VALUE, received "7=x"/],
  ] as const)
    it(`refuses to start with ${args.join(' ') || 'no root'}`, async t => {
      assert.match(await refusal(['-f', 'pages', ...args], { cwd: folder(t) }), sentence)
    })
})
