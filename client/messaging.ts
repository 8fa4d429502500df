export type { Args, Kwargs } from '../protocols/clever-show/message.ts'
export type { Sendable } from './client.ts'
export type { BlobOptions } from './messaging/blobs.ts'
export type {
  ActionHandler,
  MessagingConnection,
  MessagingOptions,
  RequestHandler,
  TopicHandler,
} from './messaging/connection.ts'
export { MessagingError } from './messaging/error.ts'
export type { MessagingEvents } from './messaging/events.ts'
export type { FileData, Source } from './messaging/file-source.ts'
export type { Sink, Version } from './messaging/get-file.ts'
export type { CallOptions } from './messaging/outbox.ts'
export type { SendFileOptions, SentFile } from './messaging/send-file.ts'
export type { Clock } from './messaging/server-time.ts'
export type { SharedFiles, Sharing } from './messaging/shared-files.ts'
export type { Delivery } from './messaging/task-queue.ts'
export type { TransferOptions } from './messaging/transfer.ts'

import type { BlobOptions } from './messaging/blobs.ts'
import { type MessagingConnection, type MessagingOptions, messagingOf } from './messaging/connection.ts'
import { loadFiles } from './messaging/session.ts'
import type { SharedFiles } from './messaging/shared-files.ts'

/**
 * Connects to a server with the filter `messaging`, and reconnects when the connection breaks.
 *
 * @param url - `ws:` or `wss:`.
 * @example
 * const ground = connectMessaging('wss://example.com', { id: 'page' })
 * ground.request('battery', () => 97)
 * console.log(await ground.call('telemetry'))
 */
export function connectMessaging(url: string | URL, options: MessagingOptions = {}): MessagingConnection {
  return messagingOf(String(url), options, () => options.WebSocket)
}

/**
 * Files in memory, for pages.
 *
 * @example
 * const ground = connectMessaging(url, { files: blobs({ take: ({ blob }) => show(blob), give: path => files.get(path) }) })
 */
export function blobs(options: BlobOptions): () => Promise<SharedFiles> {
  let files: SharedFiles | undefined
  return async () => {
    files ??= (await loadFiles()).blobs(options)
    return files
  }
}
