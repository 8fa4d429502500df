import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { browser, screenshot, skipWithoutBrowser, watched } from './browser.ts'
import { NO_CHROMIUM } from './chromium-binary.ts'
import { folder, root, runModule, type Test } from './cli.ts'
import { serve, until } from './peer.ts'

/** A test whose `after` hooks run when the caller says so. */
function fakeTest(): Test & { run(): Promise<void> } {
  const ends: (() => void | Promise<void>)[] = []
  return {
    after: end => void ends.push(end),
    async run() {
      for (const end of ends) await end()
    },
  }
}

const child = async (code: string, env: Readonly<Record<string, string>>) => (await runModule(code, env)).stderr

describe('a browser of the tests', { skip: skipWithoutBrowser }, () => {
  it('shows a page and takes its screenshot, which is written only on request', async t => {
    delete process.env.UPDATE_SCREENSHOTS
    const page = watched(t, await (await browser(t)).newPage())
    await page.setContent('<h1>hello</h1><p style="width: 50%; background: teal">world</p>')
    assert.equal(await page.locator('h1').textContent(), 'hello')
    await screenshot(page, 'never-written')
    assert.equal(existsSync(join(root, 'docs/images/never-written.png')), false)
  })

  it('refuses a blank screenshot', async t => {
    const page = await (await browser(t)).newPage()
    await page.setContent('<p style="color: white">nothing to see</p>')
    await assert.rejects(screenshot(page, 'blank'), { message: 'picture blank is blank' })
  })

  it('grants pages a microphone', async t => {
    const page = watched(t, await (await browser(t)).newPage())
    // The microphone needs a secure context.
    await page.route('http://localhost/', route => route.fulfill({ contentType: 'text/html', body: '<p>page</p>' }))
    await page.goto('http://localhost/')
    const kinds = `navigator.mediaDevices.getUserMedia({ audio: true }).then(s => s.getTracks().map(({ kind }) => kind))`
    assert.deepEqual(await page.evaluate(kinds), ['audio'])
  })

  it('is closed after its test', async () => {
    const test = fakeTest()
    const started = await browser(test)
    await test.run()
    assert.equal(started.isConnected(), false)
  })

  it('ignores errors of a page after the body of its test, when the server is stopped first', async t => {
    const page = await (await browser(t)).newPage()
    let errors = 0
    page.on('console', () => errors++)
    await t.test('a test whose page reconnects', async inner => {
      const server = await serve(inner, { filters: ['echo'], origins: ['*'] })
      inner.after(() => until(() => errors > 0, 'an error of the page'))
      watched(inner, page)
      await page.evaluate(`new Promise(opened => {
        const connect = () => {
          const socket = new WebSocket('${server.url}')
          socket.onopen = opened
          socket.onclose = () => setTimeout(connect, 10)
        }
        connect()
      })`)
    })
  })

  const wrong = [
    ['logs an error', `console.error('broken')`, /broken/],
    ['throws', `setTimeout(() => { throw new Error('uncaught') })`, /uncaught/],
    [
      'does what its policy forbids',
      `document.body.innerHTML = '<p style="color: red">red</p>'`,
      /Content Security Policy/,
    ],
  ] as const
  for (const [what, script, message] of wrong) {
    it(`fails the test of a page that ${what}, unless it is expected`, async t => {
      const [test, forgiving] = [fakeTest(), fakeTest()]
      const page = watched(test, await (await browser(t)).newPage())
      watched(forgiving, page, message)
      const body = `<meta http-equiv="Content-Security-Policy" content="style-src 'none'"><body></body>`
      await page.route('http://localhost/', route => route.fulfill({ contentType: 'text/html', body }))
      await page.goto('http://localhost/')
      await test.run()
      await page.evaluate(`{ ${script} }`)
      await until(
        () =>
          test.run().then(
            () => false,
            error => message.test(error.message),
          ),
        'a failure',
      )
      await forgiving.run()
    })
  }
})

describe('without Chromium', () => {
  const provide = `import './scripts/find-chromium.mjs'`

  it('tests that need it report what to do', async () => {
    const code = `import { browser } from './test/support/browser.ts'; await browser({ after() {} }).catch(e => console.error(e.message))`
    assert.equal(await child(code, { PATH: '/nonexistent' }), `${NO_CHROMIUM}\n`)
  })

  it('the tests print what to do before they start, if it cannot be installed', async t => {
    assert.equal(await child(provide, { PATH: folder(t) }), `${NO_CHROMIUM}\n`)
  })

  it('CHROMIUM_PATH is used, and an invalid one is reported', async () => {
    assert.equal(await child(provide, { PATH: '/nonexistent', CHROMIUM_PATH: process.execPath }), '')
    assert.equal(
      await child(provide, { PATH: '/nonexistent', CHROMIUM_PATH: '/no/chromium' }),
      'CHROMIUM_PATH is not an executable file, received "/no/chromium"\n',
    )
  })

  it('it is installed before the tests, if possible', {
    skip: process.getuid?.() === 0 ? false : 'needs root',
  }, async t => {
    const bin = folder(t)
    const installed = `printf '#!/bin/sh\\n' > ${bin}/chromium; /bin/chmod 755 ${bin}/chromium`
    await writeFile(
      join(bin, 'apt-get'),
      `#!/bin/sh\necho "apt-get $*"; if [ "$1" = install ]; then ${installed}; fi\n`,
    )
    await chmod(join(bin, 'apt-get'), 0o755)
    assert.deepEqual((await child(provide, { PATH: bin })).split('\n'), [
      'no chromium on the PATH: installing the Debian package',
      'apt-get update',
      'apt-get install -y --no-install-recommends chromium',
      '',
    ])
    assert.equal(await child(provide, { PATH: bin }), '')
  })
})
