import assert from 'node:assert/strict'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { gzipSync } from 'node:zlib'
import { testServer } from '../../../src/testing/index.ts'
import { browser, skipWithoutBrowser } from '../../support/browser.ts'
import { folder } from '../../support/cli.ts'
import { door } from '../../support/messaging.ts'
import { pushed } from '../../support/messaging-files.ts'
import { serve, until } from '../../support/peer.ts'

type Options = Readonly<Record<string, unknown>>

const HOSTILE = '{{ name }}{{ range.constructor("return process.pid")() }}<script>evil()</script>'
const MESSAGING = { messagingOpen: true, messagingPort: 0 }
/** A stylesheet or script with each extension that browsers load as one. */
const LOADED = ['js', 'mjs', 'css', 'wasm', 'ecma']

/** A site, with folders of clients inside and outside of it. */
function tree(t: TestContext): string {
  const base = folder(t, {
    'site/index.html': '<h1>{{ name }}</h1>',
    'site/app.js': 'app()',
    'site/in/deep/er/.keep': '',
    'site/media/.keep': '',
    'apart/.keep': '',
  })
  symlinkSync('site/in', join(base, 'alias'))
  for (const path of ['site/in', 'site/in/deep/er', 'site/media', 'apart', 'site']) {
    writeFileSync(join(base, path, 'evil.html'), HOSTILE)
    for (const extension of LOADED) writeFileSync(join(base, path, `evil.${extension}`), 'evil()')
  }
  return base
}

async function started(t: TestContext, filters: readonly string[], options: Options): Promise<string> {
  const { url } = await serve(t, { filters, pagesVar: ['name=ann'], ...options })
  return url.replace('ws:', 'http:')
}

async function assertUntrusted(url: URL, status = 200): Promise<void> {
  const answer = await fetch(url)
  assert.deepEqual([answer.status, await answer.text()], [status, HOSTILE], url.pathname)
  assert.match(answer.headers.get('content-security-policy')!, /^sandbox; default-src 'none'/, url.pathname)
  assert.equal(answer.headers.get('x-content-type-options'), 'nosniff')
}

async function assertInert(http: string, prefix: string): Promise<void> {
  await assertUntrusted(new URL(`${prefix}evil.html`, http))
  for (const extension of LOADED) {
    const { headers } = await fetch(new URL(`${prefix}evil.${extension}`, http))
    assert.equal(headers.get('content-type'), 'text/plain; charset=utf-8', extension)
    assert.match(headers.get('content-security-policy')!, /^sandbox;/)
  }
}

describe('untrusted content in pages', () => {
  for (const [what, filters, prefix, options] of [
    ['the folder of messaging in the root', ['pages', 'messaging'], '/in/', { messagingRoot: 'site/in' }],
    ['the same with messaging first', ['messaging', 'pages'], '/in/', { messagingRoot: 'site/in' }],
    ['a folder in it', ['pages', 'messaging'], '/in/deep/er/', { messagingRoot: 'site/in' }],
    ['a deeper folder of messaging', ['pages', 'messaging'], '/in/deep/er/', { messagingRoot: 'site/in/deep' }],
    ['a folder that is named by a link', ['pages', 'messaging'], '/in/', { messagingRoot: 'alias' }],
    ['a root that messaging has too', ['pages', 'messaging'], '/', { messagingRoot: 'site' }],
    ['a root in the folder of messaging', ['pages', 'messaging'], '/', { messagingRoot: '.' }],
    ['a mount', ['pages', 'messaging'], '/files/', { messagingRoot: 'apart', pagesMount: ['/files=../apart'] }],
    [
      'a mount around it',
      ['pages', 'messaging'],
      '/all/site/in/',
      { messagingRoot: 'site/in', pagesMount: ['/all=..'] },
    ],
    ['uploads of media in the root', ['pages', 'media'], '/media/', { mediaUploads: 'site/media' }],
    ['the same with media first', ['media', 'pages'], '/media/', { mediaUploads: 'site/media' }],
    ['a folder that --pages-untrusted names', ['pages'], '/in/', { pagesUntrusted: ['in'] }],
  ] as const)
    it(`is neither rendered nor executed: ${what}`, async t => {
      const base = tree(t)
      const { messagingRoot, mediaUploads, ...more } = options as Record<string, string>
      const http = await started(t, filters, {
        pagesRoot: join(base, 'site'),
        ...(messagingRoot !== undefined && { messagingRoot: join(base, messagingRoot), ...MESSAGING }),
        ...(mediaUploads !== undefined && { mediaUploads: join(base, mediaUploads) }),
        ...more,
      })
      await assertInert(http, prefix)
    })

  it('does not affect files next to its folder', async t => {
    const base = tree(t)
    const options = { pagesRoot: join(base, 'site'), messagingRoot: join(base, 'site/in'), ...MESSAGING }
    const http = await started(t, ['pages', 'messaging'], options)
    const page = await fetch(http)
    assert.equal(await page.text(), '<h1>ann</h1>')
    assert.match(page.headers.get('content-security-policy')!, /^default-src 'self'/)
    const { headers } = await fetch(new URL('/app.js', http))
    assert.equal(headers.get('content-type'), 'text/javascript; charset=utf-8')
  })

  it('is sandboxed as index, as 404.html, and with --pages-spa', async t => {
    for (const [path, status, options] of [
      ['/', 200, {}],
      ['/index.html', 200, {}],
      ['/deep/', 200, {}],
      ['/nothing', 404, {}],
      ['/users/7', 200, { pagesSpa: true }],
      ['/nothing.js', 404, { pagesSpa: true }],
      ['/', 200, { pagesIndex: 'evil.html' }],
    ] as const) {
      const root = folder(t)
      mkdirSync(join(root, 'deep'))
      for (const name of ['index.html', '404.html', 'evil.html', 'deep/index.html'])
        writeFileSync(join(root, name), HOSTILE)
      const all = { pagesRoot: root, messagingRoot: root, ...MESSAGING, ...options }
      await assertUntrusted(new URL(path, await started(t, ['pages', 'messaging'], all)), status)
    }
  })

  it('is sandboxed behind a link of the operator', async t => {
    const base = tree(t)
    for (const name of ['index.html', '404.html']) {
      const site = join(base, `linked-${name}`)
      mkdirSync(join(site, 'in'), { recursive: true })
      writeFileSync(join(site, 'in/evil.html'), HOSTILE)
      symlinkSync('in/evil.html', join(site, name))
      const options = { pagesRoot: site, messagingRoot: join(site, 'in'), ...MESSAGING }
      const http = await started(t, ['pages', 'messaging'], options)
      await assertUntrusted(new URL(name === 'index.html' ? '/' : '/nothing', http), name === 'index.html' ? 200 : 404)
    }
  })

  it('cannot be included by a template, with any tag or link', async t => {
    const base = tree(t)
    const site = join(base, 'site')
    symlinkSync('in/evil.html', join(site, 'alias.html'))
    symlinkSync('in', join(site, 'linked'))
    const options = { pagesRoot: site, messagingRoot: join(site, 'in'), ...MESSAGING }
    const http = await started(t, ['pages', 'messaging'], options)
    for (const tag of ['include', 'render', 'layout'])
      for (const name of ['in/evil.html', 'alias.html', 'linked/evil.html', 'in/deep/er/evil.html', './in/evil.html']) {
        writeFileSync(join(site, 'index.html'), `{% ${tag} "${name}" %}`)
        const answer = await fetch(http)
        assert.deepEqual([answer.status, await answer.text()], [500, 'internal error\n'], `${tag} ${name}`)
      }
  })

  it('is never sent as compressed copy', async t => {
    const base = tree(t)
    const site = join(base, 'site')
    writeFileSync(join(site, 'in/a.txt'), 'plain')
    writeFileSync(join(site, 'in/app.js.gz'), gzipSync('evil()'))
    writeFileSync(join(site, 'in/a.txt.gz'), gzipSync('evil'))
    symlinkSync('in/app.js.gz', join(site, 'app.js.gz'))
    symlinkSync('in/app.js.gz', join(site, 'app.js.br'))
    const options = { pagesRoot: site, messagingRoot: join(site, 'in'), ...MESSAGING }
    const http = await started(t, ['pages', 'messaging'], options)
    for (const [path, text] of [
      ['/app.js', 'app()'],
      ['/in/a.txt', 'plain'],
    ] as const) {
      const answer = await fetch(new URL(path, http), { headers: { 'Accept-Encoding': 'gzip, br' } })
      assert.deepEqual([answer.headers.get('content-encoding'), await answer.text()], [null, text])
    }
  })

  it('uploaded by a client of messaging does not run in a page of the operator', {
    skip: skipWithoutBrowser,
  }, async t => {
    const pagesRoot = folder(t, { 'in/.keep': '' })
    const { server, peer } = await door(t, ['pages'], {
      pagesRoot,
      messagingRoot: join(pagesRoot, 'in'),
      messagingOpen: true,
      pagesVar: ['name=ann'],
    })
    const ann = await peer()
    for (const extension of ['js', 'mjs', 'css']) ann.send(pushed(`evil.${extension}`, EVIL[extension]!))
    ann.send(pushed('evil.html', HOSTILE), pushed('frame.html', '<script>document.title = "ran"</script>'))
    writeFileSync(
      join(pagesRoot, 'index.html'),
      `<link rel="stylesheet" href="/in/evil.css"><script src="/in/evil.js"></script>
<script type="module" src="/in/evil.mjs"></script><script type="module" src="/app.js"></script><body>`,
    )
    writeFileSync(
      join(pagesRoot, 'app.js'),
      `const failed = []
const worker = new Worker('/in/evil.js')
worker.onerror = () => failed.push('worker')
worker.onmessage = () => { window.evil = 'worker' }
import('/in/evil.mjs').catch(() => failed.push('import'))
window.failed = failed`,
    )
    const http = server.url.replace('ws:', 'http:')
    await until(async () => (await fetch(new URL('/in/frame.html', http))).status === 200, 'the files')
    await assertUntrusted(new URL('/in/evil.html', http))
    const page = await (await browser(t)).newPage()
    await page.goto(http)
    await until(async () => (await page.evaluate<number>('failed.length')) === 2, 'a worker and a module that fail')
    assert.equal(await page.evaluate('window.evil'), undefined)
    assert.notEqual(await page.evaluate('getComputedStyle(document.body).color'), 'rgb(255, 0, 0)')
    await page.goto(new URL('/in/frame.html', http).href)
    assert.equal(await page.title(), '')
    await page.close()
  })

  for (const [what, options, warnings] of [
    ['apart', { 'messaging-root': 'apart', 'media-uploads': 'site-2' }, []],
    [
      'messaging in the root',
      { 'messaging-root': 'site/in' },
      ['--pages-root BASE/site contains --messaging-root BASE/site/in'],
    ],
    [
      'the root in that of messaging',
      { 'messaging-root': '.' },
      ['--pages-root BASE/site is in --messaging-root BASE'],
    ],
    ['both the same', { 'messaging-root': 'site' }, ['--pages-root BASE/site is also --messaging-root BASE/site']],
    ['by a link', { 'messaging-root': 'alias' }, ['--pages-root BASE/site contains --messaging-root BASE/site/in']],
    [
      'a mount',
      { 'media-uploads': 'apart', 'pages-mount': ['/files=../apart'] },
      ['--pages-mount BASE/apart is also --media-uploads BASE/apart'],
    ],
    [
      'a folder of the mount, two filters',
      { 'messaging-root': 'site/in/deep', 'media-uploads': 'site/media', 'pages-mount': ['/in=in'] },
      [
        '--pages-root BASE/site contains --media-uploads BASE/site/media',
        '--pages-root BASE/site contains --messaging-root BASE/site/in/deep',
        '--pages-mount BASE/site/in contains --messaging-root BASE/site/in/deep',
      ],
    ],
    ['a folder of the operator', { 'pages-untrusted': ['in'] }, []],
  ] as const)
    for (const order of [1, -1])
      it(`logs a warning at start: ${what}${order === 1 ? '' : ', pages last'}`, async t => {
        const base = tree(t)
        mkdirSync(join(base, 'site-2'))
        const given: Options = options
        const paths = ['messaging-root', 'media-uploads'].filter(name => name in given)
        const absolute = Object.fromEntries(paths.map(name => [name, join(base, String(given[name]))]))
        const filters = ['pages', ...paths.map(name => name.split('-')[0]!)]
        const server = await testServer(order === 1 ? filters : filters.toReversed(), {
          'pages-root': join(base, 'site'),
          ...('messaging-root' in given && { 'messaging-open': true, 'messaging-port': 0 }),
          ...given,
          ...absolute,
        })
        t.after(() => server.stop())
        const tail =
          ': files of clients are served from there, sandboxed and never as templates; use folders that do not overlap'
        const logged = server.logged.map(({ msg }) => String(msg)).filter(msg => msg.startsWith('--pages'))
        assert.deepEqual(
          logged.map(msg => msg.replaceAll(base, 'BASE')).sort(),
          warnings.map(warning => warning + tail).sort(),
        )
      })
})

const EVIL: Readonly<Record<string, string>> = {
  js: 'self.evil = "script"; self.postMessage?.("ran")',
  mjs: 'window.evil = "module"',
  css: 'body { color: rgb(255, 0, 0) }',
}
