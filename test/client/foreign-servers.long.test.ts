import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { skipWithoutBrowser, suiteBrowser, watched } from '../support/browser.ts'
import { folder, run } from '../support/cli.ts'
import { FOREIGN, foreignServer } from '../support/foreign-servers.ts'
import { serve } from '../support/peer.ts'

/** Resolves with the failed attempts and the echo of a message, or with the code of the last close. */
const EXCHANGE = `(connect, url) => new Promise(resolve => {
  const connection = connect(url, { firstDelay: 20, timeout: 3000, attempts: 4 })
  let attempts
  connection.on('open', ({ attempt }) => { attempts = attempt })
  connection.on('message', text => { connection.close(); resolve([attempts, text]) })
  connection.on('close', ({ code, retryIn }) => { if (retryIn === undefined) resolve([code]) })
  connection.send('hello')
})`

describe('the client library in Chromium', { skip: skipWithoutBrowser }, () => {
  const chromium = suiteBrowser()

  for (const [what, options, failing] of FOREIGN)
    it(`opens to another server that ${what}`, async t => {
      const [library, url] = await Promise.all([
        serve(t, { filters: ['pages'], pagesRoot: folder(t) }),
        foreignServer(t, options),
      ])
      const page = watched(
        t,
        await chromium().newPage(),
        /WebSocket connection to .* failed: Error during WebSocket handshake/,
      )
      await page.goto(url.replace('ws', 'http'))
      const source = `${library.url.replace('ws', 'http')}/fws/client.js`
      const result = await page.evaluate(`import('${source}').then(({ connect }) => (${EXCHANGE})(connect, '${url}'))`)
      assert.deepEqual(result, [failing, 'hello'])
    })
})

describe('the client library with the WebSocket of Node', () => {
  // The one of Node 20 and 22 has no close event after a failed handshake.
  const command = ['--experimental-websocket', '--no-warnings', '--input-type=module']
  const exchange = (url: string) => `import { connect } from '${import.meta.resolve('../../client/client.js')}'
    console.log(JSON.stringify(await (${EXCHANGE})(connect, '${url}')))`

  for (const [what, options, failing] of FOREIGN)
    it(`opens to another server that ${what}`, async t => {
      const { stdout } = await run(['-e', exchange(await foreignServer(t, options))], { command })
      assert.deepEqual(JSON.parse(stdout), [failing, 'hello'])
    })

  it('is closed after the last attempt to a port without a server', async () => {
    const { stdout } = await run(['-e', exchange('ws://127.0.0.1:1')], { command })
    assert.deepEqual(JSON.parse(stdout), [1006])
  })
})
