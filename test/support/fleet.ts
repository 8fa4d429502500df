import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import { connectMessaging } from '../../client/messaging/node.ts'
import { UNREACHABLE, watched } from './browser.ts'
import { folder, type Launched, launch, root } from './cli.ts'
import { until } from './peer.ts'
import { freePort } from './port.ts'

const FLEET = join(root, 'examples/fleet')
export const SAMPLES = ['circle.csv', 'figure-eight.csv']
export const DESKTOP: BrowserContextOptions = { viewport: { width: 1280, height: 720 }, colorScheme: 'light' }

/** The content of a path file of the example. */
export function sample(name: string): string {
  return readFileSync(join(FLEET, 'paths', name), 'utf8')
}

/** The server of examples/fleet with its copters, and its page. */
export class Fleet {
  readonly server: Launched
  readonly page: Page
  /** The URL for copters. */
  readonly station: string
  readonly #client: ReturnType<typeof connectMessaging>

  private constructor(server: Launched, page: Page, station: string) {
    this.server = server
    this.page = page
    this.station = station
    this.#client = connectMessaging(server.url)
  }

  static async start(t: TestContext, chromium: Browser, copters: number, how: BrowserContextOptions): Promise<Fleet> {
    const port = await freePort()
    const station = `tcp://127.0.0.1:${port}`
    const paths = Object.fromEntries(SAMPLES.map(name => [name, sample(name)]))
    const ports = ['-p', '0', '--messaging-port', String(port), '--fleet-station', station]
    const argv = ['-c', join(FLEET, 'config.json'), ...ports, '--fleet-copters', String(copters)]
    // A killed server leaves its temporary files.
    const env = { TMPDIR: folder(t) }
    const server = await launch(t, [...argv, '--messaging-root', folder(t, paths)], { env })
    const page = watched(t, await chromium.newPage(how), UNREACHABLE)
    t.after(() => page.close())
    await page.goto(server.url.replace('ws:', 'http:'))
    const fleet = new Fleet(server, page, station)
    t.after(() => fleet.#client.close())
    await until(
      async () => (await fleet.count()) === `${copters} ${copters === 1 ? 'copter' : 'copters'}`,
      'the copters',
      60_000,
    )
    return fleet
  }

  /** Sends a request as a page does. */
  call(name: string, args: readonly unknown[] = []): Promise<unknown> {
    return this.#client.call(name, args)
  }

  /** Cuts the link of a copter for longer than its button does. */
  async cut(id: string, seconds: number): Promise<void> {
    await this.call('cut', [id, seconds])
  }

  press(name: string): Promise<void> {
    return this.page.getByRole('button', { name, exact: true }).click()
  }

  /** Kills the process of a copter, and confirms. */
  async kill(id: string): Promise<void> {
    await this.press(`Kill process of ${id}`)
    await this.press('Kill')
  }

  count(): Promise<string | null> {
    return this.page.locator('#count').textContent()
  }

  #row(id: string) {
    return this.page.locator('tbody tr', { has: this.page.getByRole('rowheader', { name: id, exact: true }) })
  }

  /** The connection state in the row of a copter. */
  async link(id: string): Promise<string> {
    return (await this.#row(id).locator('.link').textContent())!
  }

  /** The color of the lights of a copter, such as `45 98 190`. */
  async light(id: string): Promise<string | undefined> {
    return /rgb\((.*)\)/.exec((await this.#row(id).getAttribute('style')) ?? '')?.[1]
  }

  /** Process ids of all copters, in order. */
  async processes(): Promise<readonly number[]> {
    const names = await this.page.locator('tbody th').all()
    const titles = () => Promise.all(names.map(name => name.getAttribute('title')))
    await until(async () => (await titles()).every(title => title?.startsWith('process ')), 'the process ids')
    return (await titles()).map(title => Number(title!.split(' ')[1]))
  }

  /** Waits for a match in the log. */
  async logs(text: RegExp): Promise<void> {
    const log = this.page.locator('#log')
    await until(async () => text.test(await log.innerText()), String(text)).catch(async error => {
      assert.fail(`${error.message}, saw ${await log.innerText()}`)
    })
  }

  /** Waits until `count` copters are in a state. */
  async see(count: number, state: string): Promise<void> {
    const states = () => this.page.locator('tbody .state').allTextContents()
    const isReached = async () => (await states()).filter(text => text === state).length === count
    await until(isReached, `${count} ${state}`).catch(async error => {
      assert.fail(`${error.message}, saw ${await states()}`)
    })
  }
}
