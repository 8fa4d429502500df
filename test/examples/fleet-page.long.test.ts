import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { connectMessaging } from '../../client/messaging/node.ts'
import { PHONE, PHONE_CONTEXT, screenshot, skipWithoutBrowser, suiteBrowser } from '../support/browser.ts'
import { DESKTOP, Fleet } from '../support/fleet.ts'
import { becomes, until } from '../support/peer.ts'

/** Telemetry of a copter, and values that change its row. */
const TELEMETRY = { mode: 'on the ground', armed: false, battery: 50, position: { x: 1, y: 1, z: 0 }, path: null }
const COPTERS: readonly { mode?: string; battery?: number | null; clock?: object; more?: string }[] = [
  { battery: 100, clock: { offset: 0.01, error: 0.1 } },
  { battery: 99.6, clock: { offset: -12345.67, error: 1 } },
  // Without an error the offset says nothing.
  { battery: 0, clock: { offset: 1, error: null } },
  { mode: `waiting for ${'a very long time '.repeat(5)}`, battery: 3.2 },
  { battery: null, more: '-of-the-north-hangar-with-a-very-long-name' },
]
/** Places of the commands, of the columns and of the events. */
const LAYOUT = `[...document.querySelectorAll('[data-command], thead th, [role=log]')].flatMap(element => {
  const { x, y, width } = element.getBoundingClientRect()
  return [x, y + scrollY, width]
})`
/** Pixels between the bars of batteries and their labels. */
const GAPS = `[...document.querySelectorAll('meter')].map(bar =>
  bar.nextElementSibling.getBoundingClientRect().x - bar.getBoundingClientRect().right)`
/** Controls that are too small for a finger. */
const SMALL = `[...document.querySelectorAll('main :is(button, select, .choose)')].filter(element => {
  const { width, height } = element.getBoundingClientRect()
  return width < 44 || height < 44
}).map(({ outerHTML }) => outerHTML)`
/** Milliseconds between the first and the last of ten starts, and starts of which one is as precise: any process may pause. */
const MAX_SKEW = 250
const MAX_STARTS = 5

/** Milliseconds between the first and the last copter, by their own clocks and by the one of the machine. */
interface Started {
  readonly skew: number
  readonly truth: number
}

describe('examples/fleet: the page', { skip: skipWithoutBrowser }, () => {
  const chromium = suiteBrowser()
  const start = (t: TestContext, copters: number, how = DESKTOP) => Fleet.start(t, chromium(), copters, how)

  it('arms ten processes, sends them a path, and they start at one instant', async t => {
    const fleet = await start(t, 10)
    assert.equal(new Set(await fleet.processes()).size, 10)
    await fleet.press('Arm')
    await fleet.see(10, 'armed')
    await fleet.press('Send path')
    await fleet.logs(/10 copters: path accepted/)
    await fleet.press('Start')
    await fleet.see(10, 'on the path')
    await until(
      async () => /^10 copters started/.test((await fleet.page.locator('#started').textContent())!),
      'a start',
    )
    const starts: string[] = []
    for (let isPrecise = false; !isPrecise; ) {
      if (starts.length > 0) await fleet.call('start')
      const { skew, truth } = ((await fleet.call('fleet')) as { started: Started }).started
      starts.push(`${truth.toFixed(1)} ms, by their own clocks ${skew.toFixed(1)} ms`)
      isPrecise = truth < MAX_SKEW && Math.abs(skew - truth) < MAX_SKEW
      assert.ok(isPrecise || starts.length < MAX_STARTS, starts.join('; '))
    }
    t.diagnostic(`ten processes started within ${starts.at(-1)}`)
    // They have reached their ring.
    const isOnRing = async () => {
      const { copters } = (await fleet.call('fleet')) as { copters: { position: { x: number; y: number } }[] }
      return copters.every(({ position: { x, y } }) => Math.abs(Math.hypot((x - 6) / 3.4, (y - 4.3) / 3) - 1) < 0.05)
    }
    await until(isOnRing, 'a ring')
    await fleet.press('Blue lights')
    await until(async () => (await fleet.light('copter10')) === '45 98 190', 'blue lights')
    await fleet.press('Cut link of copter8 for 6 seconds')
    await until(async () => /away [1-6] s/.test(await fleet.link('copter8')), 'a cut')
    await fleet.page.mouse.move(0, 0)
    await screenshot(fleet.page, 'fleet')
    await fleet.page.emulateMedia({ colorScheme: 'dark' })
    const background = 'getComputedStyle(document.body).backgroundColor'
    assert.equal(await fleet.page.evaluate(background), 'rgb(20, 24, 26)')
    await fleet.page.emulateMedia({ colorScheme: 'light' })
    await fleet.page.setViewportSize(PHONE)
    await screenshot(fleet.page, 'fleet-phone')
  })

  it('sends an uploaded path, or shows why copters refuse it', async t => {
    const fleet = await start(t, 2)
    const choose = async (text: string) => {
      await fleet.page
        .locator('#own')
        .setInputFiles({ name: 'mine.csv', mimeType: 'text/csv', buffer: Buffer.from(text) })
      await fleet.press('Send path')
    }
    await choose('t,x,y,z\n0,1,1,1\n1,11,1,1\n')
    await fleet.logs(
      /copter1, copter2: path not accepted \(line 3: 10\.0 m\/s are needed, a copter flies at most 2\.5 m\/s\)/,
    )
    await choose('t,x,y,z\n0,1,1,1\n5,11,1,1\n')
    await fleet.logs(/2 copters: path accepted/)
    assert.equal(await fleet.page.locator('#path').getAttribute('points'), '1,7 11,7')
  })

  it('shows why copters refuse a command', async t => {
    const fleet = await start(t, 2)
    const refused = async (command: string, reason: RegExp) => {
      await fleet.press(command)
      await fleet.logs(reason)
    }
    await refused('Start', /copter1, copter2: not started \(not armed, no path\)/)
    await refused('Take off', /copter1, copter2: no take-off \(not armed\)/)
    await fleet.press('Arm')
    await fleet.see(2, 'armed')
    await refused('Start', /copter1, copter2: not started \(no path\)/)
    await fleet.press('Send path')
    await fleet.logs(/2 copters: path accepted/)
    await fleet.cut('copter2', 60)
    await fleet.logs(/copter2: disconnected/)
    await refused('Arm', /copter2: not armed \(disconnected\)/)
    await refused('Send path', /copter2: path not accepted \(disconnected\)/)
    await fleet.press('Cut link of copter2 for 6 seconds')
    await fleet.logs(/server: copter2 is disconnected/)
    // One copter is enough for a start.
    await fleet.page.getByRole('button', { name: 'Start', exact: true }).dblclick()
    await fleet.logs(/1 copter: started/)
    assert.doesNotMatch(await fleet.page.locator('#log').innerText(), /another start is pending/)
    const started = (await fleet.page.locator('#started').textContent())!
    assert.match(started, /^1 copter started at \d\d:\d\d:\d\d\.\d{3}$/)
  })

  it('shows that no copter has connected', async t => {
    const fleet = await start(t, 0)
    for (const command of ['Arm', 'Send path', 'Take off', 'Start', 'Pause', 'Land', 'Red lights']) {
      await fleet.page.reload()
      await fleet.press(command)
      await fleet.logs(/^\d\d:\d\d:\d\d\s+server: no copter has connected$/)
    }
  })

  it('shows the failure of one copter of several', async t => {
    const fleet = await start(t, 2)
    await fleet.press('Arm')
    await fleet.see(2, 'armed')
    const late = connectMessaging(fleet.station, { id: 'copter3' })
    t.after(() => late.close())
    late.on('open', () => late.deliver('event', ['takeoff failed (not armed)'], { failed: true }))
    await fleet.logs(/copter3: takeoff failed \(not armed\)/)
    assert.match(await fleet.page.locator('#log .trouble').innerText(), /copter3: takeoff failed/)
    await fleet.press('Take off')
    await fleet.logs(/2 copters: take-off sent/)
  })

  it('highlights the next step', async t => {
    const fleet = await start(t, 2)
    const isNext = async (step: string | undefined, words: string) => {
      const current = fleet.page.locator('[aria-current=step]')
      await until(async () => (await fleet.page.locator('#next').textContent()) === words, words)
      await becomes(() => current.allTextContents(), step === undefined ? [] : [step])
      if (step !== undefined) await fleet.press(step)
    }
    await isNext('Arm', 'Next: arm the copters')
    await isNext('Send path', 'Next: send a path')
    await isNext('Start', 'Next: start the copters')
    await isNext(undefined, 'In flight: pause or land at any time')
    await fleet.press('Pause')
    await isNext('Start', 'Next: start the copters')
    await isNext(undefined, 'In flight: pause or land at any time')
    for (const id of ['copter1', 'copter2']) await fleet.cut(id, 60)
    await isNext(undefined, 'No copter is connected')
  })

  for (const how of [DESKTOP, PHONE_CONTEXT])
    it(`keeps its layout with all values, ${how.viewport!.width} pixels wide`, async t => {
      const fleet = await start(t, 0, how)
      const { page } = fleet
      const width = how.viewport!.width
      const layout = () => page.evaluate<readonly number[]>(LAYOUT)
      await page.getByText('No events yet').waitFor()
      await page.getByText('No copter has connected yet').waitFor()
      const before = await layout()
      for (const [i, values] of COPTERS.entries()) {
        const copter = connectMessaging(fleet.station, { id: `copter${i + 1}${values.more ?? ''}` })
        t.after(() => copter.close())
        copter.on('open', () => copter.emit('telemetry', [], { ...TELEMETRY, ...values }))
      }
      await fleet.see(1, COPTERS[3]!.mode!)
      await until(async () => (await page.locator('meter').count()) === COPTERS.length, 'all copters')
      const text = async (name: string) => (await page.locator(`tbody .${name}`).allTextContents()).slice(0, 3)
      await becomes(() => text('battery'), ['100 %', '100 %', '0 %'])
      await page.locator('#own').setInputFiles({
        name: `${'a path from another program, '.repeat(4)}.csv`,
        mimeType: 'text/csv',
        buffer: Buffer.from('t,x,y,z'),
      })
      await fleet.logs(/path: a path from another program.*\.csv is selected, but not sent/)
      assert.deepEqual(await layout(), before)
      assert.equal(await page.evaluate('document.documentElement.scrollWidth'), width)
      assert.deepEqual(
        await page.evaluate('[...document.querySelectorAll(".card")].map(e => e.scrollWidth - e.clientWidth)'),
        [0, 0, 0, 0],
      )
      assert.equal(await page.getByText('No events yet').isVisible(), false)
      assert.equal(await page.getByText('No copter has connected yet').isVisible(), false)
      const gaps = await page.evaluate<readonly number[]>(GAPS)
      assert.equal(gaps.length, COPTERS.length)
      for (const gap of gaps) assert.ok(gap >= 5, `a label is ${gap} pixels from its bar`)
      assert.deepEqual(await page.evaluate(SMALL), [])
      assert.deepEqual(await text('clock'), ['+0.01 ± 0.10 ms', '−12345.7 ± 1.0 ms', '–'])
      assert.deepEqual(await text('start'), ['–', '–', '–'])
      await fleet.server.kill()
      await page.getByText('offline, trying again').waitFor()
      assert.deepEqual(await layout(), before)
    })

  it('fits a phone, and works with the keyboard', async t => {
    const fleet = await start(t, 2, PHONE_CONTEXT)
    assert.equal(await fleet.page.evaluate('document.documentElement.scrollWidth'), PHONE.width)
    await fleet.page.getByRole('button', { name: 'Arm' }).focus()
    await fleet.page.keyboard.press('Enter')
    await fleet.see(2, 'armed')
  })
})
