import assert from 'node:assert/strict'
import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { Globe } from '../../examples/wslink/globe.ts'
import { browser, PHONE_CONTEXT, skipWithoutBrowser, watched } from '../support/browser.ts'
import { folder, launch, root } from '../support/cli.ts'
import { borderContrast } from '../support/contrast.ts'
import { official } from '../support/wslink.ts'
import { call, one, open, start } from '../support/wslink-page.ts'

describe('examples/wslink: the page', { skip: skipWithoutBrowser }, () => {
  it('calls a procedure, and shows the reply', async t => {
    const { page } = await one(t)
    assert.deepEqual(await call(page, 'demo.add', '40', '2.5'), { name: 'done', texts: ['demo.add(40, 2.5)', '42.5'] })
  })

  it('shows an error of a procedure with its code, as text', async t => {
    const { page } = await one(t)
    const markup = `<img src=x onerror="alert('1')">`
    assert.deepEqual(await call(page, 'demo.fail', markup), {
      name: 'failed',
      texts: [`demo.fail(${JSON.stringify(markup)})`, `-32001: Exception raised: ${markup}`],
    })
  })

  it('shows the progress of a slow procedure', async t => {
    const { page } = await one(t)
    await page.evaluate(`{
      window.parts = []
      new MutationObserver(() => {
        const bar = document.querySelector('#answers progress')
        if (bar && parts.at(-1) !== bar.value) parts.push(bar.value)
      }).observe(document.getElementById('answers'), { subtree: true, childList: true, attributes: true })
    }`)
    assert.deepEqual((await call(page, 'demo.slow', '0.4')).texts, ['demo.slow(0.4)', '"done in 0.4 s"'])
    const parts = await page.evaluate<number[]>('parts')
    assert.ok(parts.length >= 5, `${parts}`)
    assert.deepEqual(
      parts,
      parts.toSorted((a, b) => a - b),
    )
  })

  it('reports a wrong secret, and connects with the right one', async t => {
    const chromium = await browser(t)
    const { http } = await start(t, { secret: 's3cret' })
    const page = await open(t, chromium, http, /Connection error/)
    await page.locator('#status', { hasText: 'refused' }).waitFor()
    assert.match((await page.getByRole('alert').textContent())!, /^The secret is wrong/)
    assert.equal(await page.locator('main').isVisible(), false)
    await page.goto(`${http}/#s3cret`)
    await page.waitForSelector('.online')
  })

  it('takes a secret with % from the address, encoded or not', async t => {
    const chromium = await browser(t)
    const { http } = await start(t, { secret: '100%' })
    const page = await open(t, chromium, 'about:blank', /Connection error/)
    for (const [hash, status] of [
      ['#%', 'refused'],
      ['#%zz', 'refused'],
      ['#%E0%A4%A', 'refused'],
      ['#100%2', 'refused'],
      ['#100%', 'online'],
      ['#100%25', 'online'],
    ]) {
      await page.goto(`${http}/${hash}`)
      await page.locator('#status', { hasText: status! }).waitFor()
      await page.goto('about:blank')
    }
  })

  it('names its controls, with their units and values', async t => {
    const { page } = await one(t)
    const about =
      'The server draws this globe and sends its images to all open pages. Drag it, or use the arrow keys, to turn it.'
    await page.getByText(about).waitFor()
    await page.getByRole('application', { name: 'Globe', description: about }).waitFor()
    await page.getByRole('group', { name: 'Palette' }).getByRole('radio', { name: 'ocean', checked: true }).waitFor()
    const speed = page.getByRole('slider', { name: 'Speed' })
    for (const value of ['0', '0.5', '2', '7.5', '10']) {
      await speed.fill(value)
      assert.equal(await speed.getAttribute('aria-valuetext'), `${value} turns per minute`)
      assert.equal(await page.textContent('#turns'), `${value} turns/min`)
    }
    const calls = page.getByRole('region', { name: 'Procedures of the server' })
    for (const name of ['a', 'b', 'seconds']) await calls.getByRole('spinbutton', { name, exact: true }).waitFor()
    await calls.getByRole('textbox', { name: 'reason' }).waitFor()
    for (const name of ['add', 'slow', 'fail']) await calls.getByRole('button', { name: `Call demo.${name}` }).waitFor()
    await calls.getByRole('button', { name: 'Call demo.slow' }).click()
    await calls.getByRole('progressbar', { name: 'Progress of demo.slow' }).waitFor()
  })

  it('keeps the focus of the keyboard on a button while its call runs, and runs one call of it at a time', async t => {
    const { page } = await one(t)
    await page.fill('form[data-method="demo.slow"] input', '3')
    await page.focus('form[data-method="demo.slow"] button')
    const focused = 'document.activeElement.closest("form")?.dataset.method'
    for (let count = 1; count <= 2; count++) {
      await page.keyboard.press('Enter')
      await page.locator('#answers progress').waitFor()
      await page.keyboard.press('Enter')
      assert.equal(await page.evaluate(focused), 'demo.slow')
      await page.locator('#answers li:first-child.done').waitFor()
      assert.equal(await page.evaluate(focused), 'demo.slow')
      assert.equal(await page.locator('#answers li').count(), count)
    }
  })

  for (const colorScheme of ['light', 'dark'] as const) {
    it(`has controls that are large and distinct, ${colorScheme}`, async t => {
      const chromium = await browser(t)
      const { http } = await start(t)
      const page = watched(t, await (await chromium.newContext({ ...PHONE_CONTEXT, colorScheme })).newPage())
      await page.goto(http)
      await page.waitForSelector('#settings:enabled')
      assert.ok((await borderContrast(page, '#calls input, button, .palette')) >= 3)
      for (const control of await page.locator('#calls input, [type=range], button, .palette label').all()) {
        const { width, height } = (await control.boundingBox())!
        assert.ok(width >= 44 && height >= 44)
      }
    })
  }

  it('reports that the official client is not installed', async t => {
    const chromium = await browser(t)
    // There is no node_modules in the folder or above it.
    const copy = folder(t)
    for (const part of ['wslink', 'theme']) cpSync(join(root, 'examples', part), join(copy, part), { recursive: true })
    const server = await launch(t, ['-c', join(copy, 'wslink/config.json'), '-p', '0'])
    const page = watched(t, await chromium.newPage(), /wslink\.js/)
    await page.goto(server.url.replace('ws:', 'http:'))
    await page.getByRole('alert').filter({ hasText: 'The official client is not installed.' }).waitFor()
    assert.equal(await page.textContent('#status'), 'not connected')
    assert.equal(await page.locator('main').isVisible(), false)
    const warning = 'the official client is not installed: run npm install wslink, and restart'
    assert.ok(server.logged().some(({ msg }) => msg === warning))
  })
})

describe('examples/wslink: its procedures', () => {
  it('refuse invalid settings', async t => {
    const { server } = await start(t)
    const program = `const { call } = await enter('wslink-secret')
      const said = error => error.data.exception
      return Promise.all([call('view.set', [], { palette: 'mud' }), call('view.set', [], { speed: 'fast' }), call('view.turn', ['x', 1])]
        .map(one => one.catch(said)))`
    assert.deepEqual(await official('wslink', server.url, program), [
      'a palette is one of ocean, ember, meadow, received mud',
      'speed is a number from -20 to 20, in turns per minute, received fast',
      'an angle is a number, received x',
    ])
  })
  for (const generation of ['wslink', 'wslink-1'] as const)
    it(`publish images to ${generation === 'wslink' ? 'a client of 2.x' : 'a client of 1.x'} that never subscribes`, async t => {
      const { server } = await start(t)
      const program = `const { collect } = await enter('wslink-secret')
        const images = await collect('view.image').next(2)
        const digests = await Promise.all(images.map(({ pixels }) => digest(pixels)))
        return [(await bytesOf(images[0].pixels)).length, digests[0] === digests[1]]`
      assert.deepEqual(await official(generation, server.url, program), [512 * 512 * 4, false])
    })
})

describe('examples/wslink: the globe', () => {
  const drawn = (right: number, down: number) => {
    const globe = new Globe(64)
    globe.turn(right, down)
    globe.draw('ocean')
    return globe.pixels
  }
  const different = (a: Uint8Array, b: Uint8Array) => a.filter((part, i) => part !== b[i]).length / a.length

  it('is a disc on a transparent background', () => {
    const pixels = drawn(0, 0)
    assert.deepEqual([pixels[3], pixels[4 * (32 * 64 + 32) + 3]], [0, 255])
  })
  it('looks the same after a full turn, and different after a partial turn', () => {
    const before = drawn(0, 0)
    assert.ok(different(drawn(2 * Math.PI, -2 * Math.PI), before) < 0.01)
    assert.ok(different(drawn(1, 0), before) > 0.3)
    assert.ok(different(drawn(0, 1), before) > 0.3)
  })
})
