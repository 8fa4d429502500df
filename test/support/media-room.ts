import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { Browser, Page } from 'playwright-core'
import { browser, DESKTOP, watched } from './browser.ts'
import { folder, launch } from './cli.ts'

/** Starts the example on a free port, with a folder of the test for uploads. */
export async function room(t: TestContext, port = '0', uploads = folder(t)) {
  const server = await launch(t, ['-c', 'examples/media/config.json', '-p', port, '--media-uploads', uploads])
  return { server, uploads, http: server.url.replace('ws:', 'http:') }
}

/** Opens a connected page. */
export async function enter(
  t: TestContext,
  chromium: Browser,
  http: string,
  viewport = DESKTOP,
  expected?: RegExp,
): Promise<Page> {
  const context = await chromium.newContext({ viewport, permissions: ['microphone'] })
  const page = watched(t, await context.newPage(), expected)
  await page.goto(http)
  await page.waitForSelector('.online')
  return page
}

export async function two(t: TestContext) {
  const chromium = await browser(t)
  const at = await room(t)
  const ann = await enter(t, chromium, at.http)
  const bob = await enter(t, chromium, at.http)
  return { ...at, ann, bob }
}

export async function say(page: Page, text: string): Promise<void> {
  await page.fill('#line', text)
  await page.press('#line', 'Enter')
}

/** Waits until the feed of the page contains the text. */
export const seen = (page: Page, text: string) => page.locator('#feed .shared', { hasText: text }).first().waitFor()

/** A file on disk, since Playwright accepts no large files from memory. */
export function file(t: TestContext, name: string, size: number): string {
  const path = join(folder(t), name)
  writeFileSync(path, Buffer.alloc(size, 'filtered websocket\n'))
  return path
}

/** A PNG that the browser draws. */
export async function hills(page: Page): Promise<Buffer> {
  return Buffer.from(await page.evaluate<string>(HILLS), 'base64')
}

const HILLS = `(async () => {
  const canvas = new OffscreenCanvas(900, 560)
  const context = canvas.getContext('2d')
  const sky = context.createLinearGradient(0, 0, 0, 560)
  for (const [at, color] of [[0, '#f7c59f'], [0.55, '#f4a6a0'], [1, '#8fb8c9']]) sky.addColorStop(at, color)
  context.fillStyle = sky
  context.fillRect(0, 0, 900, 560)
  context.fillStyle = '#fff3df'
  context.arc(650, 190, 60, 0, 7)
  context.fill()
  for (const [top, color, steep] of [[330, '#6b8fa3', 1], [400, '#44697d', 2], [470, '#22424f', 3]]) {
    context.fillStyle = color
    context.beginPath()
    context.moveTo(0, 560)
    for (let x = 0; x <= 900; x += 10)
      context.lineTo(x, top - 60 * Math.sin(x / (150 / steep) + steep) * Math.cos(x / (230 / steep)))
    context.lineTo(900, 560)
    context.fill()
  }
  const bytes = new Uint8Array(await (await canvas.convertToBlob()).arrayBuffer())
  return btoa(String.fromCharCode(...bytes))
})()`
