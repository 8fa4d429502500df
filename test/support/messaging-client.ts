import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import {
  connectMessaging,
  MessagingError,
  type MessagingEvents,
  type MessagingOptions,
} from '../../client/messaging/node.ts'
import type { Messaging, Request } from '../../filters/messaging/wire/message.ts'
import { until } from './peer.ts'

/** A client that is closed with its test, and its events. */
export function follow(t: TestContext, url: string, options: MessagingOptions = {}) {
  const client = connectMessaging(url, { id: 'copter1', firstDelay: 10, maxDelay: 20, ...options })
  t.after(() => client.close())
  const events: (readonly [keyof MessagingEvents, unknown])[] = []
  for (const type of ['open', 'close', 'message', 'unreadable', 'failed'] as const)
    client.on(type, event => events.push([type, event]))
  return {
    client,
    events,
    opened: (count = 1) => until(() => events.filter(([type]) => type === 'open').length >= count),
  }
}

/** The response of a server to a request, or to an action with an id. */
export const responseTo = (to: Messaging, value: unknown): Messaging => ({
  type: 'response',
  name: to.name,
  id: (to as Request).id,
  value,
})

/** Validates the error of a call. */
export const failing =
  (code: string, message?: string) =>
  (error: Error): boolean => {
    assert.ok(error instanceof MessagingError, String(error))
    assert.deepEqual([error.code, message && error.message], [code, message])
    return true
  }
