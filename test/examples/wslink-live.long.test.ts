import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { browser, PHONE, screenshot, skipWithoutBrowser, UNREACHABLE } from '../support/browser.ts'
import { until } from '../support/peer.ts'
import { freePort } from '../support/port.ts'
import { call, enter, one, pictures, rate, start, traffic } from '../support/wslink-page.ts'

describe('examples/wslink: the page, live', { skip: skipWithoutBrowser }, () => {
  it('draws a stream of images of 1 MiB until no client is subscribed', async t => {
    const chromium = await browser(t)
    const { http } = await start(t)
    const page = await chromium.newPage()
    const seen = traffic(page)
    await page.goto(http)
    await pictures(page, 10)
    await until(async () => /^[1-9]\d* images\/s, [1-9]\d* MB\/s$/.test(await rate(page)), 'a rate')
    const images = (checked: boolean) => page.getByRole('switch', { name: 'Images', exact: true, checked })
    assert.equal(await images(true).innerText(), 'Images on')
    await page.click('#images')
    assert.equal(await images(false).innerText(), 'Images off')
    assert.equal(await rate(page), 'images are off')
    // A reply follows earlier images.
    await call(page, 'demo.add')
    const before = seen.images
    await call(page, 'demo.slow', '1')
    assert.equal(seen.images, before)
    await page.click('#images')
    assert.equal(await images(true).innerText(), 'Images on')
    await pictures(page, 5)
    assert.ok(seen.images > before)
  })

  it('turns the globe by keys and by dragging, and changes it for all clients', async t => {
    const chromium = await browser(t)
    const { http } = await start(t)
    const other = await enter(t, chromium, http)
    await other.click('#images')
    const page = await chromium.newPage()
    const seen = traffic(page)
    await page.goto(http)
    await page.waitForSelector('.online')
    await page.locator('label', { hasText: 'ember' }).click()
    await other.locator('[value=ember]:checked').waitFor({ state: 'attached' })
    await page.fill('#speed', '0')
    await until(async () => (await other.inputValue('#speed')) === '0', 'the speed')
    await page.focus('#image')
    await page.keyboard.press('ArrowRight')
    await until(() => seen.turns === 1, 'a turn')
    await page.dragAndDrop('#image', '#image', {
      sourcePosition: { x: 150, y: 150 },
      targetPosition: { x: 250, y: 180 },
    })
    await until(() => seen.turns > 1, 'more turns')
    assert.equal((await call(page, 'demo.add')).name, 'done')
  })

  it('reconnects when the server is killed and restarted, and ends running calls', async t => {
    const chromium = await browser(t)
    const port = `${await freePort()}`
    const { server, http } = await start(t, { port })
    const page = await enter(t, chromium, http, UNREACHABLE)
    await page.fill('form[data-method="demo.slow"] input', '60')
    await page.click('form[data-method="demo.slow"] button')
    await page.locator('#answers progress').waitFor()
    await server.kill()
    await page.locator('#status', { hasText: 'offline, trying again' }).waitFor()
    assert.equal(await page.textContent('#answers output'), 'the connection was lost')
    await until(async () => (await rate(page)) === 'no images in the last second', 'the rate')
    for (const setting of await page.locator('#settings input').all()) assert.ok(await setting.isDisabled())
    await start(t, { port })
    await page.waitForSelector('#settings:enabled')
    assert.deepEqual((await call(page, 'demo.add', '1', '1')).texts, ['demo.add(1, 1)', '2'])
    await pictures(page, 5)
  })

  it('looks like the screenshots, and fits a phone', async t => {
    // A stream of 30 MB/s leaves a slow machine no time for clicks.
    const { page } = await one(t, { fps: process.env.UPDATE_SCREENSHOTS ? '30' : '5' })
    await call(page, 'demo.add', '2', '3')
    await call(page, 'demo.slow', '0.1')
    await call(page, 'demo.fail', 'out of tea')
    await page.setViewportSize({ width: 1040, height: 600 })
    await pictures(page, 10)
    await until(async () => (await rate(page)).endsWith('MB/s'), 'a rate')
    await screenshot(page, 'wslink')
    await page.setViewportSize(PHONE)
    assert.ok(await page.evaluate('document.documentElement.scrollWidth <= innerWidth'))
    await screenshot(page, 'wslink-phone')
  })
})
