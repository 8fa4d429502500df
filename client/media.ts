export type { Sendable } from './client.ts'
export type { Camera, CameraOptions } from './media/camera.ts'
export { MediaConnection, type SendOptions } from './media/connection.ts'
export type { Alert, MediaEvents, MessageHeader, MessageHeader as Told } from './media/events.ts'
export { imageType } from './media/image-type.ts'
export type { Kind, Payloads } from './media/kinds.ts'
export { levelOf } from './media/level.ts'
export type { Microphone, MicrophoneOptions } from './media/microphone.ts'
export type { Player, PlayerOptions } from './media/player.ts'
export { type Uploadable, UploadError, type Uploaded, type UploadOptions } from './media/upload.ts'

import { type ConnectOptions, connect } from './client.ts'
import { MediaConnection } from './media/connection.ts'

/**
 * Connects to a server with the filter `media`, and reconnects by itself.
 *
 * @example
 * const media = connectMedia('wss://example.com')
 * media.on('image', ({ payload, mime }) => show(new Blob([payload], { type: mime })))
 * await media.upload(file)
 */
export function connectMedia(url: string | URL, options: Omit<ConnectOptions, 'outgoing'> = {}): MediaConnection {
  return new MediaConnection(outgoing => connect(url, { ...options, outgoing }))
}
