import { createHash } from 'node:crypto'
import type { TestContext } from 'node:test'
import type { Browser, Page } from 'playwright-core'
import { browser, DESKTOP, watched } from './browser.ts'
import { launch } from './cli.ts'
import { until } from './peer.ts'

interface Started {
  port?: string
  /** Frames per second. Few, since Chromium draws without a graphics card. */
  fps?: string
  secret?: string
}

/** Starts the example on a free port. */
export async function start(t: TestContext, { port = '0', fps = '3', secret }: Started = {}) {
  const flags = ['-p', port, '--procedures-fps', fps, ...(secret === undefined ? [] : ['--wslink-secret', secret])]
  const server = await launch(t, ['-c', 'examples/wslink/config.json', ...flags])
  return { server, http: server.url.replace('ws:', 'http:') }
}

export async function open(t: TestContext, chromium: Browser, url: string, expected?: RegExp): Promise<Page> {
  const context = await chromium.newContext({ viewport: DESKTOP })
  const page = watched(t, await context.newPage(), expected)
  await page.goto(url)
  return page
}

/** Opens a connected page. */
export async function enter(t: TestContext, chromium: Browser, http: string, expected?: RegExp): Promise<Page> {
  const page = await open(t, chromium, http, expected)
  await page.waitForSelector('.online')
  return page
}

export async function one(t: TestContext, started?: Started) {
  const chromium = await browser(t)
  const at = await start(t, started)
  return { ...at, chromium, page: await enter(t, chromium, at.http) }
}

/** Calls a procedure by its form, and returns the line of its reply. */
export async function call(page: Page, method: string, ...args: string[]): Promise<{ name: string; texts: string[] }> {
  const form = page.locator(`form[data-method="${method}"]`)
  for (const [index, arg] of args.entries()) await form.locator('input').nth(index).fill(arg)
  await form.getByRole('button').click()
  const line = page.locator('#answers li').first()
  await page.locator('#answers li:first-child:is(.done, .failed)').waitFor()
  return {
    name: (await line.getAttribute('class'))!,
    texts: [(await line.locator('code').textContent())!, (await line.locator('output').textContent())!],
  }
}

/** Waits until the page has drawn `count` different images, compared by digests of their pixels. */
export async function pictures(page: Page, count: number): Promise<void> {
  const seen = new Set<string>()
  await until(async () => {
    const pixels = await page.evaluate<string>(`(() => {
      const { data } = document.getElementById('image').getContext('2d').getImageData(128, 128, 64, 64)
      return String.fromCharCode(...data)
    })()`)
    seen.add(createHash('sha1').update(pixels, 'latin1').digest('hex'))
    return seen.size >= count
  }, `${count} pictures`)
}

/** Counts the traffic of later connections of a page. */
export function traffic(page: Page) {
  const seen = { images: 0, turns: 0 }
  page.on('websocket', socket => {
    socket.on('framereceived', ({ payload }) => {
      if (payload.length >= 1024 * 1024) seen.images++
    })
    socket.on('framesent', ({ payload }) => {
      if (payload.includes('view.turn')) seen.turns++
    })
  })
  return seen
}

export const rate = async (page: Page) => (await page.textContent('#rate'))!
