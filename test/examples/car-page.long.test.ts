import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import type { BrowserContextOptions, Page } from 'playwright-core'
import {
  DESKTOP,
  PHONE_CONTEXT,
  screenshot,
  skipWithoutBrowser,
  suiteBrowser,
  UNREACHABLE,
  watched,
} from '../support/browser.ts'
import { launch, root } from '../support/cli.ts'
import { becomes, Peer, serve, until } from '../support/peer.ts'
import { freePort } from '../support/port.ts'

const CAR = join(root, 'examples/car')
async function connected(page: Page): Promise<void> {
  await until(async () => (await page.locator('#status').textContent()) === 'connected', 'a connection')
}

/** The state of the car that the page shows. */
async function shown(page: Page) {
  const [speed, heading, x, y, driver] = await page.locator('#speed, #heading, #x, #y, #driver').allTextContents()
  return { speed: Number(speed), heading: Number(heading), x: Number(x), y: Number(y), driver }
}

async function see(page: Page, what: string, condition: (car: Awaited<ReturnType<typeof shown>>) => boolean) {
  await until(async () => condition(await shown(page)), what).catch(async error => {
    assert.fail(`${error.message}, saw ${JSON.stringify(await shown(page))}`)
  })
}

const atRest = (page: Page) => see(page, 'a car at rest', ({ speed, driver }) => speed === 0 && driver === 'none')

/** The center of the joystick, and the radius of its knob, in pixels. */
async function stickOf(page: Page) {
  const box = (await page.locator('#stick').boundingBox())!
  return { x: box.x + box.width / 2, y: box.y + box.height / 2, reach: box.width * 0.29 }
}

const wall = (page: Page) =>
  page.getByRole('status').filter({ hasText: 'At a wall. Drive away from it, or press Reset.' })

/** The drawn field. */
const picture = (page: Page) => page.evaluate<string>(`document.querySelector('#field').toDataURL()`)

const DISABLED = ':is(#stick, .pad button)[aria-disabled=true]'

/** Defines `isEmpty()`: no car and no trail between the lower wall and the middle, where they are not now. */
const KNOW_THE_EMPTY_FIELD = `{
  const canvas = document.querySelector('#field')
  const place = () => String(canvas.getContext('2d')
    .getImageData(canvas.width * 0.47, canvas.height * 0.71, canvas.width * 0.06, canvas.height * 0.06).data)
  const empty = place()
  window.isEmpty = () => place() === empty
}`
/** Sets `wasEmpty` to false if a later frame shows the car or its trail there. */
const WATCH_THE_WAY_BACK = `{
  window.wasEmpty = true
  const look = () => {
    wasEmpty &&= isEmpty()
    requestAnimationFrame(look)
  }
  look()
}`

/** Opacities along the trail of a car that drives up, right of the dots of the field. */
const SHADES_OF_THE_TRAIL = `(() => {
  const canvas = document.querySelector('#field')
  const scale = canvas.width / 4
  const top = Math.round((Number(document.querySelector('#y').textContent) + 0.3) * scale)
  const { data } = canvas.getContext('2d').getImageData(Math.round(2.011 * scale), top, 1, Math.round(scale * 0.2))
  return Array.from({ length: data.length / 4 }, (_, index) => data[index * 4 + 3])
})()`

/** Values that are wider than their place. */
const CUT_VALUES = `[...document.querySelectorAll('dl div')].filter(place => {
  const range = document.createRange()
  range.selectNodeContents(place)
  return range.getBoundingClientRect().right > place.getBoundingClientRect().right
}).map(({ textContent }) => textContent)`

describe('examples/car: the page', { skip: skipWithoutBrowser }, () => {
  const chromium = suiteBrowser()

  /** Opens pages; each call is another viewer. */
  function viewers(t: TestContext) {
    return async (
      url: string,
      how: BrowserContextOptions = { viewport: DESKTOP },
      expected?: RegExp,
    ): Promise<Page> => {
      const page = watched(t, await chromium().newPage(how), expected)
      t.after(() => page.close())
      await page.goto(url.replace('ws:', 'http:'))
      await connected(page)
      return page
    }
  }

  /** A server with the car, and a function that opens a page. A slow car is long on its way to a wall. */
  async function start(t: TestContext, options: Record<string, unknown> = {}) {
    const open = viewers(t)
    const { url } = await serve(t, {
      filters: [join(CAR, 'car.ts'), 'pages'],
      pagesRoot: join(CAR, 'public'),
      pagesMount: ['/theme=../../theme'],
      ...options,
    })
    return Object.assign((how?: BrowserContextOptions) => open(url, how), { url })
  }

  /** A page, and a client whose messages reach it as those of another filter do. */
  async function withPeer(t: TestContext) {
    const open = viewers(t)
    const { url } = await serve(t, {
      filters: ['broadcast', 'pages'],
      pagesRoot: join(CAR, 'public'),
      pagesMount: ['/theme=../../theme'],
    })
    return { page: await open(url), peer: await Peer.open(url) }
  }

  it('drives by the joystick, and every other page sees it', async t => {
    const show = await start(t)
    const [ann, bob] = [await show(), await show()]
    const before = await picture(bob)
    const { x, y, reach } = await stickOf(ann)
    await ann.mouse.move(x, y)
    await ann.mouse.down()
    await ann.mouse.move(x, y - reach * 0.2, { steps: 4 })
    await see(bob, 'a car that drives up at 3/15 of its speed', car => car.speed === 0.3 && car.y < 1.2)
    await see(bob, 'its driver', ({ driver }) => driver === 'someone')
    await see(ann, 'its driver', ({ driver }) => driver === 'you')
    assert.equal((await shown(bob)).x, 2)
    await ann.mouse.move(x + reach, y - reach, { steps: 4 })
    await see(bob, 'a car that turns right', ({ heading }) => heading > 20 && heading < 180)
    assert.notEqual(await picture(bob), before)
    await screenshot(ann, 'car')
    await ann.mouse.up()
    await atRest(bob)
    await atRest(ann)
    assert.deepEqual(await shown(bob), await shown(ann))
  })

  it('ignores the messages of other filters', async t => {
    const show = await start(t, { filters: [join(CAR, 'car.ts'), 'broadcast', 'pages'] })
    const [ann, bob] = [await show(), await show()]
    await ann.keyboard.down('ArrowLeft')
    await see(bob, 'a car that drives', ({ speed }) => speed === 0.6)
    await ann.keyboard.up('ArrowLeft')
    await atRest(bob)
  })

  it('drives by arrow keys, also two at a time, and stops when they are released', async t => {
    const show = await start(t, { carSpeed: 2 })
    const page = await show()
    await page.keyboard.down('ArrowDown')
    await see(page, 'a car that backs', ({ speed, y, driver }) => speed === -0.2 && y > 1.3 && driver === 'you')
    await page.keyboard.up('ArrowDown')
    await atRest(page)
    await page.keyboard.down('ArrowUp')
    await page.keyboard.down('ArrowLeft')
    await see(page, 'a car that turns left', ({ heading, speed }) => heading < 340 && heading > 180 && speed > 0.1)
    await page.keyboard.up('ArrowLeft')
    await see(page, 'a car that goes on', ({ speed, driver }) => speed > 0.1 && driver === 'you')
    await page.keyboard.up('ArrowUp')
    await atRest(page)
  })

  it('drives by its buttons, with a pointer or a key; a click without either lasts a second', async t => {
    const show = await start(t, { carSpeed: 3 })
    const page = await show()
    const forward = page.getByRole('button', { name: 'Forward' })
    await forward.hover()
    await page.mouse.down()
    await see(page, 'a car that drives', ({ speed }) => speed === 0.3)
    await page.mouse.up()
    await atRest(page)
    await page.getByRole('button', { name: 'Backward' }).focus()
    await page.keyboard.down(' ')
    await see(page, 'a car that backs', ({ speed }) => speed === -0.3)
    await page.keyboard.up(' ')
    await atRest(page)
    const { y } = await shown(page)
    await forward.dispatchEvent('click')
    await see(page, 'a car that has driven', car => car.y < y - 0.1)
    await atRest(page)
  })

  it('stops when the button that a key holds loses the focus', async t => {
    const show = await start(t, { carSpeed: 3 })
    const page = await show()
    await page.getByRole('button', { name: 'Forward' }).focus()
    await page.keyboard.down(' ')
    await see(page, 'a car that drives', ({ speed }) => speed === 0.3)
    await page.locator('#stick').focus()
    await atRest(page)
  })

  it('stops the car of another driver by its stop button', async t => {
    const show = await start(t, { carHold: 60 })
    const [ann, bob] = [await Peer.open(show.url), await show()]
    // Not by a page, which repeats the command of a held key.
    ann.send('{"command": "left"}')
    await see(bob, 'a car that drives', ({ speed, driver }) => speed === 0.6 && driver === 'someone')
    await bob.getByRole('button', { name: 'Stop' }).click()
    await atRest(bob)
  })

  it('says on every page that the car is at a wall, until it drives away or is reset', async t => {
    const show = await start(t, { carSpeed: 4 })
    const [ann, bob] = [await show(), await show()]
    const before = await picture(bob)
    await bob.evaluate(KNOW_THE_EMPTY_FIELD)
    await ann.keyboard.down('ArrowUp')
    for (const page of [ann, bob]) await wall(page).waitFor()
    await ann.keyboard.up('ArrowUp')
    await atRest(ann)
    assert.ok(await wall(ann).isVisible())
    await ann.keyboard.down('ArrowDown')
    await wall(bob).waitFor({ state: 'detached' })
    // At the lower wall.
    await wall(bob).waitFor()
    await ann.keyboard.up('ArrowDown')
    await until(() => bob.evaluate<boolean>('isEmpty()'), 'the end of the trail')
    await bob.evaluate(WATCH_THE_WAY_BACK)
    await bob.getByRole('button', { name: 'Reset' }).click()
    for (const page of [ann, bob]) await wall(page).waitFor({ state: 'detached' })
    await atRest(bob)
    assert.deepEqual(await shown(bob), { speed: 0, heading: 0, x: 2, y: 1.25, driver: 'none' })
    await until(async () => (await picture(bob)) === before, 'a car in the middle')
    assert.equal(await bob.evaluate('wasEmpty'), true)
  })

  it('draws a trail without seams', async t => {
    const show = await start(t, { carSpeed: 9 })
    const page = await show()
    await page.keyboard.down('ArrowUp')
    await see(page, 'a car that has left a trail', ({ y }) => y < 0.7)
    const shades = await page.evaluate<number[]>(SHADES_OF_THE_TRAIL)
    assert.ok(shades.length > 30, `${shades.length} pixels`)
    assert.deepEqual(
      shades,
      shades.toSorted((a, b) => b - a),
    )
    await page.keyboard.up('ArrowUp')
  })

  it('announces the connection, walls and the driver, and no value that changes all the time', async t => {
    const show = await start(t)
    const page = await show()
    const announced = await page.getByRole('status').evaluateAll(places => places.map(({ id }) => id))
    assert.deepEqual(announced, ['status', 'wall', 'driver'])
  })

  it('shows texts and errors of other filters for some seconds, and ignores other JSON', async t => {
    const { page, peer } = await withPeer(t)
    await page.clock.install()
    const notice = page.getByRole('alert')
    for (const [text, shown] of [
      ['slow down', 'slow down'],
      ['{"error": "too many messages"}', 'too many messages'],
      ['<b>no HTML</b>', '<b>no HTML</b>'],
      [`long ${'x'.repeat(300)}`, `long ${'x'.repeat(300)}`],
    ] as const) {
      for (const ignored of ['null', '5', '[]', '{"from": "ann"}']) peer.send(ignored)
      peer.send(text)
      await until(async () => (await notice.textContent({ timeout: 3000 })) === shown, `a notice of ${text}`)
      await page.clock.runFor(9000)
      assert.equal(await notice.textContent(), '')
    }
  })

  for (const [width, height] of [
    [390, 844],
    [360, 640],
    [320, 568],
    [844, 390],
    [667, 375],
    [568, 320],
    [1024, 600],
    [1280, 800],
  ] as const) {
    it(`fits a window of ${width} x ${height}`, async t => {
      const show = await start(t)
      const page = await show({ viewport: { width, height } })
      assert.equal(await page.evaluate('document.documentElement.scrollWidth'), width)
      assert.deepEqual(await page.evaluate(CUT_VALUES), [])
      const small = `[...document.querySelectorAll('button, #stick')].map(e => e.getBoundingClientRect())
        .filter(({ width, height }) => Math.min(width, height) < 44).length`
      assert.equal(await page.evaluate(small), 0)
      // The field and the stick are visible together.
      for (const id of ['#field', '#stick']) {
        const { y, height: size } = (await page.locator(id).boundingBox())!
        assert.ok(y >= 0 && y + size <= height, `${id} ends at ${y + size}`)
      }
    })
  }

  it('keeps the places of its values while they change', async t => {
    const show = await start(t, { carSpeed: 2 })
    const [ann, page] = [await show(), await show(PHONE_CONTEXT)]
    const places = () => page.locator('dt').evaluateAll(names => names.map(name => name.getBoundingClientRect().x))
    const before = await places()
    await ann.keyboard.down('ArrowDown')
    await see(page, 'long values', ({ speed, driver }) => speed === -0.2 && driver === 'someone')
    assert.deepEqual(await places(), before)
    await ann.keyboard.up('ArrowDown')
  })

  it('stops the car when its window is left or closed', async t => {
    const show = await start(t)
    const [ann, bob] = [await show(), await show()]
    await ann.keyboard.down('ArrowLeft')
    await see(bob, 'a car that drives', ({ speed }) => speed === 0.6)
    await ann.evaluate(`window.dispatchEvent(new Event('blur'))`)
    await atRest(bob)
    await ann.keyboard.up('ArrowLeft')
    await ann.keyboard.down('ArrowLeft')
    await see(bob, 'a car that drives', ({ speed }) => speed === 0.6)
    await ann.close()
    await atRest(bob)
  })

  it('drives by touch, and fits a phone', async t => {
    const show = await start(t)
    const page = await show(PHONE_CONTEXT)
    const widths = `['html', 'dl'].map(name => document.querySelector(name)).map(e => e.scrollWidth - e.clientWidth)`
    assert.deepEqual(await page.evaluate(widths), [0, 0])
    const { x, y, reach } = await stickOf(page)
    const touches = await page.context().newCDPSession(page)
    const touch = (type: string, ...points: { x: number; y: number }[]) =>
      touches.send('Input.dispatchTouchEvent', { type: type as 'touchStart', touchPoints: points })
    await touch('touchStart', { x, y })
    await touch('touchMove', { x: x - reach, y: y - reach })
    await see(page, 'a car that turns left', car => car.heading > 180 && car.heading < 335 && car.driver === 'you')
    await screenshot(page, 'car-phone')
    assert.equal(await page.evaluate('scrollY'), 0)
    await touch('touchEnd')
    await atRest(page)
  })

  it('keeps the car moving longer than --car-hold while the key is down', async t => {
    const show = await start(t, { carHold: 4 })
    const page = await show()
    await page.keyboard.down('ArrowLeft')
    await see(page, 'a car that drives', ({ speed }) => speed === 0.6)
    const since = Date.now()
    await see(page, 'six seconds', ({ driver }) => {
      assert.equal(driver, 'you')
      return Date.now() - since > 6000
    })
    await page.keyboard.up('ArrowLeft')
    await atRest(page)
  })

  it('reconnects when the server is killed and restarted', async t => {
    const port = await freePort()
    const command = ['-c', join(CAR, 'config.json'), '-p', String(port)]
    const open = viewers(t)
    const server = await launch(t, command)
    const show = () => open(server.url, undefined, UNREACHABLE)
    const [ann, bob] = [await show(), await show()]
    await ann.keyboard.down('ArrowUp')
    await see(bob, 'a car that drives', ({ y }) => y < 1.2)
    await server.kill()
    for (const page of [ann, bob])
      await until(async () => (await page.locator('#status').textContent()) === 'offline, trying again', 'a loss')
    for (const page of [ann, bob]) {
      assert.deepEqual(await page.locator('dd').allTextContents(), ['– m/s', '–°', '–, – m', '–'])
      assert.equal(await page.locator(DISABLED).count(), 7)
    }
    const observer = await (await launch(t, command)).connect()
    await Promise.all([connected(ann), connected(bob)])
    await becomes(() => bob.locator(DISABLED).count(), 0)
    await bob.keyboard.down('ArrowDown')
    // Longer than the interval at which the page repeats a held command.
    await see(ann, 'a car that backs', ({ y, driver }) => y > 2 && driver === 'someone')
    await bob.keyboard.up('ArrowDown')
    await atRest(ann)
    // The key that ann still holds was pressed for the previous car.
    const drivers = observer.received.map(text => JSON.parse(String(text)).driver).filter(id => id !== null)
    assert.equal(new Set(drivers).size, 1)
    observer.ws.terminate()
  })

  it('draws at the resolution of the screen', async t => {
    const show = await start(t)
    const page = await show(PHONE_CONTEXT)
    const [drawn, seen] = await page.evaluate<[number, number]>(
      `[document.querySelector('#field').width, document.querySelector('#field').clientWidth]`,
    )
    assert.equal(drawn, seen * 2)
  })
})
