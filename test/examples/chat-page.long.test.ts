import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { BrowserContext, BrowserContextOptions } from 'playwright-core'
import {
  DESKTOP,
  PHONE_CONTEXT,
  screenshot,
  skipWithoutBrowser,
  suiteBrowser,
  UNREACHABLE,
  watched,
} from '../support/browser.ts'
import { launch, type Test } from '../support/cli.ts'
import { borderContrast } from '../support/contrast.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { becomes, until } from '../support/peer.ts'
import { freePort } from '../support/port.ts'
import { skipWithoutOwn, startRedis } from '../support/redis.ts'
import { root } from '../support/root.ts'

const ARGV = ['-c', join(root, 'examples/chat/config.json')]
const LONG = 'W'.repeat(500)
const portOf = ({ url }: { readonly url: string }) => Number(new URL(url).port)

describe('examples/chat: the page in a browser', { skip: skipWithoutBrowser }, () => {
  const chromium = suiteBrowser()

  const start = (t: Test, ...argv: string[]) => launch(t, [...ARGV, '-p', '0', ...argv])

  /** A window of a person, who has a name. */
  async function enter(t: Test, url: string, name = '', options: BrowserContextOptions = {}) {
    const context = await chromium().newContext({ locale: 'en-US', timezoneId: 'Asia/Kolkata', ...options })
    const person = await tab(t, context, url)
    if (name !== '') await rename(person, name)
    return { ...person, context }
  }

  async function tab(t: Test, context: BrowserContext, url: string) {
    const page = watched(t, await context.newPage(), UNREACHABLE)
    await page.goto(url.replace('ws:', 'http:'))
    await page.waitForSelector('.online')
    const line = page.getByRole('textbox', { name: 'Message' })
    await page.locator('#people li').first().waitFor()
    return { page, line, alert: page.getByRole('alert'), name: page.getByRole('textbox', { name: 'Name' }) }
  }

  type Person = Awaited<ReturnType<typeof tab>>

  async function rename({ page, name }: Person, to: string) {
    await name.fill(to)
    await name.press('Enter')
    await page.locator('#people .me', { hasText: to }).waitFor()
  }

  async function say({ line }: Person, ...texts: string[]) {
    for (const text of texts) {
      await line.fill(text)
      await line.press('Enter')
    }
  }

  const lines = ({ page }: Person) =>
    page.evaluate<string[]>(`[...document.querySelectorAll('#log p')].map(item => {
      const copy = item.cloneNode(true)
      copy.querySelector('time')?.remove()
      return copy.textContent.trim()
    })`)

  const shows = (person: Person, expected: readonly string[]) => becomes(() => lines(person), [...expected])

  async function linesOf(person: Person, count: number): Promise<string[]> {
    await until(async () => (await lines(person)).length === count, `${count} lines`)
    return lines(person)
  }

  /** Settles when the page has handled a scroll. */
  const frame = ({ page }: Person) => page.evaluate('new Promise(requestAnimationFrame)')

  it('loses nothing over a reload, and shows a person with two tabs once', async t => {
    const { url } = await start(t)
    const ann = await enter(t, url, 'ann')
    const bob = await enter(t, url, 'bob')
    const guests = await linesOf(ann, 2)
    assert.match(guests.join(), /^guest-[0-9a-f]{4} is ann now,guest-[0-9a-f]{4} is bob now$/)
    await say(ann, 'hello', '<b>again</b>', 'مرحبا')
    const said = ['annhello', 'ann<b>again</b>', 'annمرحبا']
    for (const person of [ann, bob]) await shows(person, [...guests, ...said])
    await bob.page.reload()
    await shows(bob, [...guests, ...said])
    const second = await tab(t, ann.context, url)
    await shows(second, [...guests, ...said])
    for (const { page } of [ann, bob, second])
      await becomes(() => page.locator('#people li').allTextContents(), ['ann', 'bob'])
    await rename(second, 'anna')
    for (const person of [ann, bob, second]) {
      await person.page.locator('#people', { hasText: 'anna' }).waitFor()
      await shows(person, [...guests, ...said, 'ann is anna now'])
    }
    await say(ann, 'from the first tab')
    await shows(bob, [...guests, ...said, 'ann is anna now', 'annafrom the first tab'])
  })

  it('shows nothing of a node that is killed, and everything that was said', {
    skip: skipWithoutOwn,
  }, async t => {
    const redis = await startRedis()
    t.after(() => redis.stop())
    const storage = ['--storage', 'redis', '--redis-url', redis.url, '--presence-lease', '1']
    const [first, second] = [await start(t, ...storage), await start(t, ...storage)]
    const upstream = { host: '127.0.0.1', port: portOf(first) }
    const balancer = await startFaultProxy(upstream)
    t.after(() => balancer.stop())
    const ann = await enter(t, `ws://127.0.0.1:${balancer.port}`, 'ann')
    const bob = await enter(t, second.url, 'bob')
    await say(ann, 'before')
    await ann.page.locator('#people', { hasText: 'bob' }).waitFor()
    const before = await linesOf(ann, 3)
    await ann.page.evaluate(`{
      window.changes = []
      const note = () => changes.push(document.querySelector('#status').textContent + document.querySelector('#people').textContent)
      for (const id of ['status', 'people']) new MutationObserver(note).observe(document.getElementById(id), { childList: true })
    }`)
    upstream.port = portOf(second)
    await first.kill()
    await say(bob, 'meanwhile')
    await shows(ann, [...before, 'bobmeanwhile'])
    await say(ann, 'to the other node')
    for (const person of [ann, bob]) await shows(person, [...before, 'bobmeanwhile', 'annto the other node'])
    assert.deepEqual(
      [...new Set(await ann.page.evaluate<string[]>('changes'))].filter(text => text !== 'onlineannbob'),
      [],
    )
  })

  it('says that it is offline after a while, and keeps what it cannot send', async t => {
    const port = `${await freePort()}`
    const server = await start(t, '-p', port)
    const ann = await enter(t, server.url, 'ann')
    await server.kill()
    await ann.page.locator('#status', { hasText: 'offline, trying again' }).waitFor()
    assert.equal(await ann.page.locator('.online').count(), 0)
    await say(ann, 'lost?')
    await ann.alert.filter({ hasText: 'not sent: no answer to publish' }).waitFor()
    assert.equal(await ann.line.inputValue(), 'lost?')
    await start(t, '-p', port)
    await ann.page.waitForSelector('.online')
    await ann.line.press('Enter')
    await ann.page.locator('.mine', { hasText: 'lost?' }).waitFor()
    // Without Redis the new process knows nothing of the history.
    assert.deepEqual((await lines(ann)).slice(1), ['Messages may be missing here', 'annlost?'])
    assert.equal(await ann.alert.textContent(), '')
  })

  it('has rooms by name, each with its people and messages', async t => {
    const { url } = await start(t)
    const ann = await enter(t, url, 'ann')
    const bob = await enter(t, url, 'bob')
    await say(ann, 'in the lobby')
    await ann.page.getByRole('link', { name: 'garden' }).click()
    await ann.page.locator('#count', { hasText: '1 here' }).waitFor()
    await say(ann, 'in the garden')
    await shows(ann, ['annin the garden'])
    await becomes(async () => (await lines(bob)).at(-1), 'annin the lobby')
    await ann.page.getByRole('textbox', { name: 'Another room' }).fill('Küche')
    await ann.page.getByRole('textbox', { name: 'Another room' }).press('Enter')
    await ann.page.getByRole('link', { name: 'Küche' }).waitFor()
    await shows(ann, [])
    await ann.page.goBack()
    await shows(ann, ['annin the garden'])
    for (const [room, fragment] of [
      ['two words', 'a room is'],
      ['a/b', 'a room is'],
    ] as const) {
      await ann.page.getByRole('textbox', { name: 'Another room' }).fill(room)
      await ann.page.getByRole('textbox', { name: 'Another room' }).press('Enter')
      await ann.alert.filter({ hasText: fragment }).waitFor()
    }
    await ann.page.goto(`${url.replace('ws:', 'http:')}#two%20words`)
    await ann.page.waitForURL(/#lobby$/)
  })

  it('shows the answer to a name that it refuses, and tells people with one name apart', async t => {
    const { url } = await start(t)
    const ann = await enter(t, url, 'ann')
    await ann.name.fill('two words')
    await ann.name.press('Enter')
    await ann.alert.filter({ hasText: 'a name is 1 to 20 letters, digits, _ or -' }).waitFor()
    const other = await enter(t, url)
    await other.name.fill('ann')
    await other.name.press('Enter')
    await until(async () => {
      const people = await ann.page.locator('#people li').allTextContents()
      return people.length === 2 && people.every(name => /^ann [0-9a-f]{4}$/.test(name))
    }, 'two people with parts of their ids')
  })

  it('shows each message with its time, as the language and the time zone of the browser write it', async t => {
    const { url } = await start(t)
    const ann = await enter(t, url)
    await say(ann, 'hello')
    await ann.page.locator('.mine').waitFor()
    const [at, time] = await ann.page.evaluate<[string, string]>(
      "(time => [time.dateTime, time.textContent])(document.querySelector('.mine time'))",
    )
    assert.equal(time, new Date(at).toLocaleTimeString('en-US', { timeStyle: 'short', timeZone: 'Asia/Kolkata' }))
  })

  it('shows that there are new messages below, and leads to them', async t => {
    const { url } = await start(t)
    const ann = await enter(t, url)
    const bob = await enter(t, url)
    const { page } = ann
    const newer = page.getByRole('button', { name: 'New messages' })
    const isAtEnd = () =>
      page.evaluate<boolean>(
        "(log => log.scrollHeight - log.scrollTop - log.clientHeight < 2)(document.querySelector('#log'))",
      )
    for (let number = 0; number < 30; number++) await say(bob, `message ${number}`)
    await linesOf(ann, 30)
    await becomes(isAtEnd, true)
    await page.evaluate("document.querySelector('#log').scrollTop = 0")
    await frame(ann)
    await say(bob, 'below')
    await newer.click()
    await becomes(isAtEnd, true)
    await newer.waitFor({ state: 'hidden' })
    assert.equal(await page.evaluate('document.activeElement.id'), 'line')
    await page.evaluate("document.querySelector('#log').scrollTop = 0")
    await frame(ann)
    await say(bob, 'below again')
    await newer.waitFor()
    await say(ann, 'mine')
    await newer.waitFor({ state: 'hidden' })
    await becomes(isAtEnd, true)
  })

  for (const colorScheme of ['light', 'dark'] as const) {
    it(`fits a phone with its longest names and messages, and has large, distinct controls, ${colorScheme}`, async t => {
      const { url } = await start(t)
      const ann = await enter(t, url, 'W'.repeat(20), { ...PHONE_CONTEXT, colorScheme })
      const bob = await enter(t, url, 'M'.repeat(20))
      await say(bob, LONG, 'مرحبا '.repeat(80))
      await say(ann, '👩‍👩‍👧'.repeat(60), LONG)
      await linesOf(ann, 6)
      const links = ann.page.locator('#rooms a')
      await ann.page.evaluate("location.hash = 'W'.repeat(32)")
      await becomes(() => links.count(), 4)
      await ann.page.evaluate("location.hash = 'lobby'")
      await becomes(() => links.count(), 3)
      await linesOf(ann, 6)
      assert.ok(await ann.page.evaluate<boolean>('document.documentElement.scrollWidth <= innerWidth'))
      assert.ok((await borderContrast(ann.page, '#line')) >= 3)
      await ann.page.evaluate("document.querySelector('#newer').hidden = false")
      for (const control of await ann.page.locator('input, button, nav a').all()) {
        const { width, height } = (await control.boundingBox())!
        assert.ok(width >= 44 && height >= 44)
      }
    })
  }

  it('has a picture in its README', async t => {
    const { url } = await start(t)
    const ann = await enter(t, url, 'ann', { viewport: DESKTOP })
    const bob = await enter(t, url, 'bob')
    const zoe = await enter(t, url, 'Zoë')
    await say(ann, 'Good morning, who is here?')
    await linesOf(bob, 4)
    await say(bob, 'Me, on the train: the tunnel took my connection twice')
    await say(bob, 'and nothing is missing')
    await linesOf(zoe, 6)
    await say(zoe, 'Two tabs, and I am here only once')
    await linesOf(ann, 7)
    await screenshot(ann.page, 'chat')
  })
})
