import type { TestContext } from 'node:test'
import type { MessagingApi } from '../../filters/messaging.ts'
import type { ServerOptions } from '../../src/index.ts'
import { building, door } from './messaging.ts'
import { Browser } from './messaging-browser.ts'

/** A server with `--messaging-resume`, and its API. */
export async function resuming(t: TestContext, options: ServerOptions = {}) {
  let api!: MessagingApi
  const filter = building(given => {
    api = given
  })
  const opened = await door(t, [filter], { messagingResume: true, ...options })
  /** A page that has resumed as a peer. */
  const come = async (id = 'copter1') => {
    const browser = await Browser.open(opened.server.url)
    await browser.resume(id)
    return browser
  }
  return { ...opened, api, come }
}
