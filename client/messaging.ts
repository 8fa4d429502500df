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
export type { Sink, Version } from './messaging/get-file.ts'
export type { CallOptions } from './messaging/outbox.ts'
export type { SendFileOptions, SentFile } from './messaging/send-file.ts'
export type { Clock } from './messaging/server-time.ts'
export type { SharedFiles, Sharing } from './messaging/shared.ts'
export type { FileData, Source } from './messaging/source.ts'
export type { TransferOptions } from './messaging/transfer.ts'
export type { Delivery } from './messaging/work.ts'

import type { BlobOptions } from './messaging/blobs.ts'
import { type MessagingConnection, type MessagingOptions, messagingOf } from './messaging/connection.ts'
import { loadFiles } from './messaging/load-files.ts'
import type { SharedFiles } from './messaging/shared.ts'

/** `const ground = connectMessaging('wss://example.com', { id: 'page' }); await ground.call('telemetry')` */
export function connectMessaging(url: string | URL, options: MessagingOptions = {}): MessagingConnection {
  return messagingOf(String(url), options, () => options.WebSocket)
}

/** Files in memory, for pages: `connectMessaging(url, { files: blobs({ take, give }) })`. */
export function blobs(options: BlobOptions): () => Promise<SharedFiles> {
  let files: SharedFiles | undefined
  return async () => {
    const { blobs: open } = await loadFiles()
    files ??= open(options)
    return files
  }
}
