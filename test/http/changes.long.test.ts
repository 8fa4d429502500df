import assert from 'node:assert/strict'
import { text } from 'node:stream/consumers'
import { describe, it } from 'node:test'
import { DROP, type FilterModule } from '../../src/index.ts'
import { browser, skipWithoutBrowser } from '../support/browser.ts'
import { folder, type Test } from '../support/cli.ts'
import { serve } from '../support/peer.ts'

const PAGE = `<!doctype html><title>page</title><form method="post"><input name="a" value="b"></form>`

/** A server of pages with a filter that handles each POST before them. */
async function site(t: Test, origins: string[] = []) {
  const posts: string[] = []
  const upload: FilterModule = {
    request: async (req, res) => {
      if (req.method !== 'POST') return
      posts.push(`${req.headers.origin} ${await text(req)}`)
      res.setHeader('Content-Type', 'text/html')
      res.end('<!doctype html><title>posted</title>')
      return DROP
    },
  }
  const root = folder(t, { 'index.html': PAGE })
  const server = await serve(t, {
    filters: [upload, 'pages'],
    pagesRoot: root,
    hosts: ['app.example', 'evil.example'],
    origins,
    pagesCsp: "default-src 'self' 'unsafe-inline'; connect-src *; form-action *",
  })
  return { posts, port: new URL(server.url).port, counters: server.counters }
}

describe('requests of pages in Chromium', { skip: skipWithoutBrowser }, () => {
  // Browsers send Sec-Fetch-Site to localhost and over TLS only.
  for (const host of ['localhost', 'app.example']) {
    it(`that come from the own page at http://${host} are handled: fetch and a form`, async t => {
      const { posts, port } = await site(t)
      const started = await browser(t, '--host-resolver-rules=MAP *.example 127.0.0.1')
      const page = await started.newPage()
      const own = `http://${host}:${port}`
      await page.goto(`${own}/`)
      const status = await page.evaluate(`fetch('/', { method: 'POST', body: 'hello' }).then(({ status }) => status)`)
      await Promise.all([page.waitForNavigation(), page.evaluate(`document.forms[0].submit()`)])
      assert.deepEqual([status, await page.title(), posts], [200, 'posted', [`${own} hello`, `${own} a=b`]])
    })

    it(`that come from a foreign page to http://${host} are refused: fetch, a beacon and a form`, async t => {
      const { posts, port, counters } = await site(t)
      const evil = await site(t)
      const started = await browser(t, '--host-resolver-rules=MAP *.example 127.0.0.1')
      const page = await started.newPage()
      const target = JSON.stringify(`http://${host}:${port}/`)
      await page.goto(`http://evil.example:${evil.port}/`)
      await page.evaluate(`fetch(${target}, { method: 'POST', mode: 'no-cors', body: 'csrf' })`)
      await page.evaluate(`navigator.sendBeacon(${target}, 'csrf')`)
      const [response] = await Promise.all([
        page.waitForNavigation(),
        page.evaluate(`document.forms[0].action = ${target}, document.forms[0].submit()`),
      ])
      assert.deepEqual([response!.status(), posts], [403, []])
      assert.ok(counters.refusals[403]! >= 2, JSON.stringify(counters.refusals))
    })
  }
})
