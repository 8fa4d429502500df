import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { browser, skipWithoutBrowser, watched } from '../support/browser.ts'
import { launch, root } from '../support/cli.ts'

const theme = readFileSync(join(root, 'examples/theme/theme.css'), 'utf8')
const EXAMPLES = ['car', 'chat', 'fleet', 'media', 'wslink']

describe('the theme of the examples', { skip: skipWithoutBrowser }, () => {
  it('is the only file with its colors and the header', () => {
    const [, colors] = /:root \{([\s\S]*?)\}/.exec(theme)!
    const shared = [...colors!.matchAll(/(--[\w-]+): (light-dark\(.*\));/g)].map(([, , value]) => value!)
    assert.ok(shared.length > 8)
    for (const name of EXAMPLES) {
      const file = `${name}/public/page.css`
      const style = readFileSync(join(root, 'examples', file), 'utf8')
      const repeated = [...shared, '#status {', 'box-sizing'].filter(text => style.includes(text))
      assert.deepEqual(repeated, [], file)
    }
  })

  for (const name of EXAMPLES) {
    for (const colorScheme of ['light', 'dark'] as const) {
      it(`applies to ${name} after the command of its README, ${colorScheme}`, async t => {
        const readme = readFileSync(join(root, 'examples', name, 'README.md'), 'utf8')
        const [, command] = /^npx fws-server (.*)$/m.exec(readme)!
        const { url } = await launch(t, [...command!.split(' '), '-p', '0'], { env: { FWS_MESSAGING_PORT: '0' } })
        const page = watched(t, await (await browser(t)).newPage({ colorScheme }))
        await page.goto(url.replace('ws:', 'http:'))
        await page.waitForSelector('.online', { state: 'attached' })
        const [background, display] = await page.evaluate<[string, string]>(`[
          getComputedStyle(document.body).backgroundColor, getComputedStyle(document.querySelector('header')).display]`)
        assert.equal(background, colorScheme === 'light' ? 'rgb(244, 245, 243)' : 'rgb(20, 24, 26)')
        assert.equal(display, 'flex')
      })
    }
  }
})
