import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, afterEach, before } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import { chromiumBinary, noChromium } from './chromium-binary.ts'
import type { Test } from './cli.ts'
import { root } from './root.ts'

export const DESKTOP = { width: 1280, height: 800 }
export const PHONE = { width: 390, height: 844 }
export const PHONE_CONTEXT: BrowserContextOptions = {
  viewport: PHONE,
  deviceScaleFactor: 2,
  isMobile: true,
  hasTouch: true,
}
/** What Chromium logs while a server is down; it may also request the icon of a page only then. */
export const UNREACHABLE =
  /^WebSocket connection to 'ws:.*failed|^Failed to load resource: net::ERR_(CONNECTION_|EMPTY_RESPONSE)/

const IMAGES = join(root, 'docs/images')
/** Bytes of a screenshot, which stays in the history of the repository. */
const MAX_BYTES = 200_000
/** Share of pixels in one color from which on a screenshot is blank. */
const BLANK = 0.999

/** Reason to skip tests of pages; false if there is a browser. */
export const skipWithoutBrowser: string | false = chromiumBinary() === undefined && noChromium()

/** Starts a headless Chromium with a fake microphone and camera; it is closed after the test. */
export async function browser(t: Test, ...more: readonly string[]): Promise<Browser> {
  const executablePath = chromiumBinary()
  if (executablePath === undefined) throw new Error(noChromium())
  const started = await chromium.launch({
    executablePath,
    headless: true,
    // Its sandbox does not work for root.
    chromiumSandbox: process.getuid?.() !== 0,
    args: [
      '--autoplay-policy=no-user-gesture-required',
      '--use-fake-ui-for-media-stream',
      '--use-fake-device-for-media-stream',
      ...more,
    ],
  })
  t.after(() => started.close())
  return started
}

/** Starts a browser before the tests of a suite, closed after them; returns a function to get it. */
export function suiteBrowser(): () => Browser {
  let started: Browser
  const ends: (() => void | Promise<void>)[] = []
  before(async () => {
    started = await browser({ after: end => void ends.push(end) })
  })
  after(async () => {
    for (const end of ends) await end()
  })
  return () => started
}

/** Ends the watch of pages when the body of their test ends, before its `t.after` hooks stop the servers. */
const endsOfWatch = new WeakMap<object, (() => Promise<void>)[]>()
afterEach(async t => {
  for (const end of endsOfWatch.get(t) ?? []) await end()
})

/**
 * Fails the test if the page logs an error (violations of its Content-Security-Policy are logged too) or does not catch one.
 * Errors after the body of the test do not count, since the page may reconnect to a server that is stopped.
 *
 * @param expected - errors that belong to the test, such as those of a server that is down.
 * @returns the page.
 */
export function watched(t: Test, page: Page, expected?: RegExp): Page {
  const errors: string[] = []
  let isOver = false
  endsOfWatch.set(t, [
    ...(endsOfWatch.get(t) ?? []),
    async () => {
      // A round trip, so that the errors so far arrive; a page that does not answer must not block the end of the test.
      await Promise.race([page.evaluate('0').catch(() => {}), sleep(1000, undefined, { ref: false })])
      isOver = true
    },
  ])
  const keep = (text: string) => {
    if (!isOver && !expected?.test(text)) errors.push(text)
  }
  page.on('console', message => {
    if (message.type() === 'error') keep(`${message.text()} (${message.location().url})`)
  })
  page.on('pageerror', error => keep(String(error)))
  t.after(() => assert.deepEqual(errors, [], `errors of ${page.url()}`))
  return page
}

/**
 * Takes a screenshot and fails if it is blank. It is written to docs/images/NAME.png only if UPDATE_SCREENSHOTS is set, since each
 * machine draws other bytes: `UPDATE_SCREENSHOTS=1 npm test -- test/x.test.ts`.
 */
export async function screenshot(page: Page, name: string): Promise<void> {
  const picture = await page.screenshot()
  assert.ok(picture.length <= MAX_BYTES, `picture ${name} has ${picture.length} bytes, more than ${MAX_BYTES}`)
  const share = await shareOfOneColor(page.context().browser()!, picture)
  assert.ok(share < BLANK, `picture ${name} is blank`)
  if (!process.env.UPDATE_SCREENSHOTS) return
  mkdirSync(IMAGES, { recursive: true })
  writeFileSync(join(IMAGES, `${name}.png`), picture)
}

/** The share of the most frequent color, from 0 to 1. The browser decodes the PNG. */
async function shareOfOneColor(started: Browser, picture: Buffer): Promise<number> {
  const page = await started.newPage()
  try {
    return await page.evaluate<number>(`(${SHARE_OF_ONE_COLOR})('${picture.toString('base64')}')`)
  } finally {
    await page.close()
  }
}

/** A string, since the DOM types are not loaded. */
const SHARE_OF_ONE_COLOR = `async png => {
  const bitmap = await createImageBitmap(await (await fetch('data:image/png;base64,' + png)).blob())
  const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d')
  context.drawImage(bitmap, 0, 0)
  const pixels = new Uint32Array(context.getImageData(0, 0, bitmap.width, bitmap.height).data.buffer)
  const counts = new Map()
  for (const pixel of pixels) counts.set(pixel, (counts.get(pixel) ?? 0) + 1)
  return Math.max(...counts.values()) / pixels.length
}`
