export type { Sendable } from './client.ts'
export type { Clock } from './messaging/clock.ts'
export type {
  ActionHandler,
  MessagingConnection,
  RequestHandler,
  TopicHandler,
} from './messaging/connection.ts'
export { MessagingError } from './messaging/error.ts'
export type { MessagingEvents } from './messaging/events.ts'
export type { Args, Kwargs } from './messaging/frame.ts'
export type { LinkOptions as MessagingOptions } from './messaging/link.ts'
export type { CallOptions } from './messaging/outbox.ts'
export type { Delivery } from './messaging/work.ts'

import { type MessagingConnection, messagingOf } from './messaging/connection.ts'
import type { LinkOptions } from './messaging/link.ts'

/** `const ground = connectMessaging('wss://example.com', { id: 'page' }); await ground.call('telemetry')` */
export function connectMessaging(url: string | URL, options: LinkOptions = {}): MessagingConnection {
  return messagingOf(String(url), options, () => options.WebSocket)
}
