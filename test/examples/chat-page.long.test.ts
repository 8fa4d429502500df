import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import type { BrowserContextOptions, Page } from 'playwright-core'
import { PHONE_CONTEXT, skipWithoutBrowser, suiteBrowser, UNREACHABLE, watched } from '../support/browser.ts'
import { borderContrast } from '../support/contrast.ts'
import { Peer, serve, until } from '../support/peer.ts'
import { root } from '../support/root.ts'

const CHAT = join(root, 'examples/chat/chat.ts')

describe('examples/chat: the page in a browser', { skip: skipWithoutBrowser }, () => {
  const chromium = suiteBrowser()

  async function enter(t: TestContext, context: BrowserContextOptions = {}, rateLimit = {}) {
    const server = await serve(t, { filters: [['rate-limit', rateLimit], CHAT] })
    const page = watched(t, await (await chromium().newContext(context)).newPage(), UNREACHABLE)
    await page.goto(server.url.replace('ws:', 'http:'))
    await page.waitForSelector('.online')
    return { server, page, alert: page.getByRole('alert'), line: page.getByRole('textbox', { name: 'Message' }) }
  }

  it('shows the answer to a refused message next to the input, until the next message', async t => {
    const { page, alert, line } = await enter(t)
    for (const [text, answer] of [
      ['/help', 'unknown command /help; /nick NAME changes your name'],
      ['/NICKS ann', 'unknown command /NICKS; /nick NAME changes your name'],
      ['/', 'unknown command /; /nick NAME changes your name'],
      ['/<img src=x>', 'unknown command /<img; /nick NAME changes your name'],
      ['/nick', 'a name is 1 to 20 letters, digits, _ or -, received ""'],
      ['/nick two words', 'a name is 1 to 20 letters, digits, _ or -, received "two words"'],
      ['/nick GUEST-1', 'GUEST-1 is taken; choose another name'],
    ] as const) {
      await line.fill(text)
      await line.press('Enter')
      await alert.filter({ hasText: answer }).waitFor()
      assert.equal(await alert.textContent(), answer)
      assert.equal(await line.inputValue(), '')
      assert.equal(await line.evaluate('document.activeElement.id'), 'line')
    }
    await line.fill('hello')
    await line.press('Enter')
    await page.locator('.mine').waitFor()
    assert.equal(await alert.textContent(), '')
    assert.equal(await page.locator('#log p').count(), 2)
  })

  for (const warning of ['text', 'json']) {
    it(`shows the warning of rate-limit as ${warning} there too`, async t => {
      const { alert, line } = await enter(t, {}, { messages: 1, warning })
      for (const text of ['one', 'two']) {
        await line.fill(text)
        await line.press('Enter')
      }
      await alert.filter({ hasText: /more than 1 messages .* a second; slow down or be closed$/ }).waitFor()
    })
  }

  it('shows each message and notice with its time, as the language and the time zone of the browser write it', async t => {
    const { server, page } = await enter(t, { locale: 'en-US', timezoneId: 'Asia/Kolkata' })
    const bob = await Peer.open(server.url)
    const texts = ['hello', 'again', 'مرحبا', '12:00 PM', '👩‍👩‍👧', 'x'.repeat(500)]
    for (const text of ['/nick bob', ...texts]) bob.send(text)
    await page.locator('#log p').nth(8).waitFor()
    const times = await page.evaluate<
      [string, string, string][]
    >(`[...document.querySelectorAll('#log p')].map(item => {
      const time = item.querySelector('time')
      return [item.textContent, time.dateTime, time.textContent]
    })`)
    const expected = ['you are guest-1; /nick NAME to change that', 'guest-2 joined', 'guest-2 is bob now']
    for (const [index, text] of [...expected, ...texts.map(text => `bob${text}`)].entries()) {
      const [shown, at, time] = times[index]!
      const local = new Date(at).toLocaleTimeString('en-US', { timeStyle: 'short', timeZone: 'Asia/Kolkata' })
      assert.equal(time, local)
      assert.equal(shown, `${text}\u00a0 ${local}`)
    }
  })

  it('keeps what it cannot send, says so, and sends it on request when it is online again', async t => {
    const { server, page, alert, line } = await enter(t)
    await server.close()
    await page.locator('#status', { hasText: 'offline, trying again' }).waitFor()
    const notSent = 'not sent: no connection; send it again when this page is online'
    const button = page.getByRole('button', { name: 'Send' })
    for (const send of [() => button.click(), () => line.press('Enter')]) {
      await line.fill('/nick ann')
      await send()
      assert.equal(await alert.textContent(), notSent)
      assert.equal(await line.inputValue(), '/nick ann')
    }
    await serve(t, { port: Number(new URL(server.url).port), filters: [CHAT] })
    await page.waitForSelector('.online')
    assert.equal(await alert.textContent(), '')
    await line.press('Enter')
    await page.locator('#status', { hasText: 'ann, 1 here' }).waitFor()
  })

  it('shows that there are new messages below, and leads to them', async t => {
    const { server, page, line } = await enter(t)
    const bob = await Peer.open(server.url)
    const lines = page.locator('#log p')
    const newer = page.getByRole('button', { name: 'New messages' })
    const isAtEnd = () => page.evaluate<boolean>('log.scrollHeight - log.scrollTop - log.clientHeight < 2')
    const scrollUp = async () => {
      await page.evaluate('log.scrollTop = 0')
      await until(() => page.evaluate<boolean>('!atEnd'), 'the scroll event')
    }
    for (let number = 0; number < 40; number++) bob.send(`message ${number}`)
    await lines.nth(41).waitFor()
    assert.equal(await newer.isVisible(), false)
    assert.ok(await isAtEnd())
    await scrollUp()
    assert.equal(await newer.isVisible(), false)
    bob.send('below')
    await newer.click()
    assert.ok(await isAtEnd())
    assert.equal(await newer.isVisible(), false)
    assert.equal(await page.evaluate('document.activeElement.id'), 'line')
    await scrollUp()
    bob.send('below again')
    await newer.waitFor()
    await line.fill('mine')
    await line.press('Enter')
    await newer.waitFor({ state: 'hidden' })
    assert.ok(await isAtEnd())
  })

  it('fits a phone with its longest names, messages and errors', async t => {
    const { server, page, alert, line } = await enter(t, PHONE_CONTEXT)
    const bob = await Peer.open(server.url)
    const long = 'W'.repeat(500)
    for (const text of [`/nick ${'M'.repeat(20)}`, long, 'مرحبا '.repeat(80), '👩‍👩‍👧'.repeat(60)]) bob.send(text)
    for (const text of [`/nick ${'W'.repeat(20)}`, long, `/${long.slice(1)}`]) {
      await line.fill(text)
      await line.press('Enter')
    }
    await alert.filter({ hasText: 'unknown command' }).waitFor()
    assert.ok(await fits(page))
  })

  for (const colorScheme of ['light', 'dark'] as const) {
    it(`has controls that are large and distinct, ${colorScheme}`, async t => {
      const { page } = await enter(t, { ...PHONE_CONTEXT, colorScheme })
      assert.ok((await borderContrast(page, 'input')) >= 3)
      await page.evaluate('newer.hidden = false')
      for (const control of await page.locator('input, button').all()) {
        const { width, height } = (await control.boundingBox())!
        assert.ok(width >= 44 && height >= 44)
      }
    })
  }
})

const fits = (page: Page) => page.evaluate<boolean>('document.documentElement.scrollWidth <= innerWidth')
