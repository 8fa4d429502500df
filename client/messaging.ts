export type { Sendable } from './client.ts'
export { MessagingConnection, type MessagingOptions } from './messaging/connection.ts'
export { MessagingError } from './messaging/error.ts'
export type { MessagingEvents } from './messaging/events.ts'
export type { Args, Kwargs } from './messaging/frame.ts'
export type { CallOptions } from './messaging/outbox.ts'
export type { ActionHandler, Delivery, RequestHandler, TopicHandler } from './messaging/work.ts'

import { connect } from './client.ts'
import { MessagingConnection, type MessagingOptions } from './messaging/connection.ts'

/** `const ground = connectMessaging('wss://example.com', { id: 'page' }); await ground.call('telemetry')` */
export function connectMessaging(url: string | URL, options: MessagingOptions = {}): MessagingConnection {
  return new MessagingConnection(String(url), options, connect)
}
