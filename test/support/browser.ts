import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Browser, chromium, type Page } from 'playwright-core'
import { chromiumBinary, withoutChromium } from './chromium-binary.ts'
import { root } from './root.ts'

interface Test {
  after(fn: () => void | Promise<void>): void
}

const IMAGES = join(root, 'docs/images')
/** Pictures lie in the repository for ever. */
const MAX_BYTES = 200_000
/** Part of a picture in one colour from which on it shows nothing. */
const BLANK = 0.999

/** Why tests of pages are skipped; false: there is a browser. */
export const skipWithoutBrowser: string | false = chromiumBinary() === undefined && withoutChromium()

/** A Chromium without a window, closed after the test; pages get a microphone and a camera that are played to them. */
export async function browser(t: Test): Promise<Browser> {
  const executablePath = chromiumBinary()
  if (executablePath === undefined) throw new Error(withoutChromium())
  const started = await chromium.launch({
    executablePath,
    headless: true,
    // Its sandbox does not work for root.
    chromiumSandbox: process.getuid?.() !== 0,
    args: [
      '--autoplay-policy=no-user-gesture-required',
      '--use-fake-ui-for-media-stream',
      '--use-fake-device-for-media-stream',
    ],
  })
  t.after(() => started.close())
  return started
}

/**
 * The same page, whose errors fail the test at its end: what it logs as an error, what it does not catch, and what its
 * Content-Security-Policy forbids (Chromium logs that as an error).
 *
 * @param expected - errors that belong to the test, such as those of a server that is down.
 */
export function watched(t: Test, page: Page, expected?: RegExp): Page {
  const errors: string[] = []
  const keep = (text: string) => {
    if (!expected?.test(text)) errors.push(text)
  }
  page.on('console', message => {
    if (message.type() === 'error') keep(`${message.text()} (${message.location().url})`)
  })
  page.on('pageerror', error => keep(String(error)))
  t.after(() => assert.deepEqual(errors, [], `errors of ${page.url()}`))
  return page
}

/**
 * Takes a picture of the page, which must not be blank; it is written to docs/images/NAME.png only when UPDATE_SCREENSHOTS is set
 * (`UPDATE_SCREENSHOTS=1 npm test -- test/x.test.ts`), as no two machines draw the same bytes.
 */
export async function screenshot(page: Page, name: string): Promise<void> {
  const picture = await page.screenshot()
  assert.ok(picture.length <= MAX_BYTES, `picture ${name} has ${picture.length} bytes, more than ${MAX_BYTES}`)
  const part = await partInOneColour(page.context().browser()!, picture)
  assert.ok(part < BLANK, `picture ${name} is blank`)
  if (!process.env.UPDATE_SCREENSHOTS) return
  mkdirSync(IMAGES, { recursive: true })
  writeFileSync(join(IMAGES, `${name}.png`), picture)
}

/** From 0 to 1: how much of the picture has its most frequent colour. A browser is at hand to decode it. */
async function partInOneColour(started: Browser, picture: Buffer): Promise<number> {
  const page = await started.newPage()
  try {
    return await page.evaluate<number>(`(${PART_IN_ONE_COLOUR})('${picture.toString('base64')}')`)
  } finally {
    await page.close()
  }
}

/** A text, as this repository has no types of browsers. */
const PART_IN_ONE_COLOUR = `async png => {
  const bitmap = await createImageBitmap(await (await fetch('data:image/png;base64,' + png)).blob())
  const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d')
  context.drawImage(bitmap, 0, 0)
  const pixels = new Uint32Array(context.getImageData(0, 0, bitmap.width, bitmap.height).data.buffer)
  const counts = new Map()
  for (const pixel of pixels) counts.set(pixel, (counts.get(pixel) ?? 0) + 1)
  return Math.max(...counts.values()) / pixels.length
}`
