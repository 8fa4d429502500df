import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { pino } from 'pino'
import { serveUploads } from '../../../filters/media/serve.ts'
import { folder } from '../../support/cli.ts'
import { PNG } from '../../support/uploads.ts'

const SECRET = 'top secret'

/** Serves a folder of uploads next to secret files. Returns a function that requests a path without normalizing it. */
async function site(t: TestContext) {
  const base = folder(t, {
    'secret.txt': SECRET,
    'uploads-2/secret.txt': SECRET,
    'uploads/a.txt': 'hello',
    'uploads/a.txt.gz': SECRET,
    'uploads/.part-1': SECRET,
    'uploads/.part-a.png': SECRET,
    'uploads/sub/b.txt': SECRET,
    'uploads/a "b\r\n.txt': 'odd',
  })
  const uploads = join(base, 'uploads')
  for (const name of ['a.png', 'a.webm', 'a.wav', 'a.mp3', 'a.pdf', 'a.json', 'a.html', 'a.svg', 'a'])
    writeFileSync(join(uploads, name), PNG)
  symlinkSync(join(base, 'secret.txt'), join(uploads, 'link.txt'))
  symlinkSync(base, join(uploads, 'out'))
  mkdirSync(join(uploads, 'folder.png'))
  const serve = serveUploads({ folder: uploads, url: '/uploads', log: pino({ level: 'silent' }) })
  const server = createServer((req, res) => {
    if (serve(req, res) === undefined) res.writeHead(426).end()
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.after(() => void server.close())
  const { port } = server.address() as AddressInfo
  return async (path: string, method = 'GET', headers: Record<string, string> = {}) => {
    const req = request({ port, path, method, headers, host: '127.0.0.1', agent: false }).end()
    const [res] = (await once(req, 'response')) as [IncomingMessage]
    let body = ''
    for await (const chunk of res.setEncoding('latin1')) body += chunk
    return { status: res.statusCode, headers: res.headers, body }
  }
}

describe('a file of a client', () => {
  it('is cached by browsers and runs no script', async t => {
    const get = await site(t)
    const { status, headers, body } = await get('/uploads/a.png?v=1')
    assert.equal(status, 200)
    assert.equal(body, PNG.toString('latin1'))
    const { date, etag, 'last-modified': modified, connection, ...rest } = headers
    assert.deepEqual(rest, {
      'accept-ranges': 'bytes',
      'cache-control': 'public, max-age=31536000, immutable',
      'content-length': String(PNG.length),
      'content-security-policy':
        "sandbox; default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'",
      'content-type': 'image/png',
      'cross-origin-resource-policy': 'same-origin',
      'referrer-policy': 'no-referrer',
      vary: 'Accept-Encoding',
      'x-content-type-options': 'nosniff',
    })
  })

  it('is an attachment unless it is an image, sound or video', async t => {
    const get = await site(t)
    const of = async (path: string) => (await get(path)).headers['content-disposition']
    for (const name of ['a.png', 'a.webm', 'a.wav', 'a.mp3'])
      assert.equal(await of(`/uploads/${name}`), undefined, name)
    for (const name of ['a.txt', 'a.pdf', 'a.json', 'a.html', 'a.svg', 'a'])
      assert.equal(await of(`/uploads/${name}`), `attachment; filename="${name}"`)
    assert.equal(await of('/uploads/a%20%22b%0d%0a.txt'), 'attachment')
  })

  it('supports HEAD, ranges and conditions; a compressed copy is not sent', async t => {
    const get = await site(t)
    const head = await get('/uploads/a.txt', 'HEAD')
    assert.deepEqual([head.status, head.headers['content-length'], head.body], [200, '5', ''])
    assert.equal((await get('/uploads/a.txt', 'GET', { Range: 'bytes=1-2' })).body, 'el')
    const beyond = await get('/uploads/a.txt', 'GET', { Range: 'bytes=9-' })
    assert.deepEqual([beyond.status, beyond.headers['content-disposition']], [416, undefined])
    assert.equal((await get('/uploads/a.txt', 'GET', { 'If-None-Match': head.headers.etag! })).status, 304)
    assert.equal((await get('/uploads/a.txt', 'GET', { 'Accept-Encoding': 'gzip' })).body, 'hello')
  })

  it('is read-only', async t => {
    const get = await site(t)
    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'MKCOL']) {
      const { status, headers, body } = await get('/uploads/a.txt', method)
      assert.deepEqual([status, headers.allow, body], [405, 'GET, HEAD', 'GET and HEAD only\n'], method)
    }
    assert.equal((await get('/uploads/a.txt')).body, 'hello')
  })
})

describe('any other path', () => {
  it('is not found: parts, folders, files in folders, links, files outside', async t => {
    const get = await site(t)
    for (const path of [
      '',
      '/',
      '/.part-1',
      '/%2epart-1',
      '/.part-a.png',
      '/none.png',
      '/folder.png',
      '/folder.png/',
      '/a.png/',
      '/sub',
      '/sub/b.txt',
      '/link.txt',
      '/out/secret.txt',
      '/../secret.txt',
      '/%2e%2e/secret.txt',
      '/../uploads-2/secret.txt',
      '/./a.png/..',
      `/${'a'.repeat(5000)}`,
      '/%',
      '/%ff',
      '/a%00.png',
      '/..%2fsecret.txt',
      '/..%5csecret.txt',
      '/%2fetc%2fpasswd',
    ]) {
      const { status, body, headers } = await get(`/uploads${path}`)
      assert.deepEqual([status, body], [404, 'not found\n'], path)
      assert.equal(headers['cache-control'], undefined)
    }
  })

  it('is not found: other spellings of the URL, which another filter may decode', async t => {
    const get = await site(t)
    for (const path of ['//uploads/a.png', '/%75ploads/a.png', '/%75ploads//a.png', '/uploads%2fa.png', '/upload%73']) {
      const { status, headers } = await get(path)
      assert.equal(status, 404, path)
      assert.match(String(headers['content-security-policy']), /^sandbox/)
    }
  })

  it('outside of the URL is not handled', async t => {
    const get = await site(t)
    for (const path of [
      '/',
      '/upload',
      '/uploads-2/secret.txt',
      '/uploadsa.png',
      '/x/uploads/a.png',
      '/%uploads/a.png',
    ])
      assert.equal((await get(path)).status, 426, path)
  })
})
