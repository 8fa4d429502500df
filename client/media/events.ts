import type { Alert } from '../../protocols/nanollm/alert.ts'
import type { ConnectionEvents } from '../connection.ts'

export type { Alert } from '../../protocols/nanollm/alert.ts'

/** The header of a message from the server. */
export interface MessageHeader {
  /** Number of the message on its connection, from 0. */
  readonly id: number
  /** Milliseconds since 1970 UTC, by the server's clock, or as a filter has set it. */
  readonly timestamp: number
  readonly metadata: string
}

/** Events of a `MediaConnection`, by type. */
export interface MediaEvents {
  json: MessageHeader & { readonly payload: unknown }
  text: MessageHeader & { readonly payload: string }
  binary: MessageHeader & { readonly payload: Uint8Array }
  file: MessageHeader & { readonly payload: Uint8Array }
  /** 16-bit samples, channels interleaved; `rate` in Hz. */
  audio: MessageHeader & { readonly payload: Int16Array<ArrayBuffer>; readonly rate: number; readonly channels: number }
  /** `mime` is the type by the first bytes; `undefined`: a type that browsers do not show. */
  image: MessageHeader & { readonly payload: Uint8Array<ArrayBuffer>; readonly mime: string | undefined }
  /** A message of a custom type. */
  other: MessageHeader & { readonly payload: Uint8Array; readonly type: number }
  /** A message for the user. */
  alert: Alert
  /** Number of messages that the server has not sent, by the gap in their ids: this client was too slow. */
  missed: number
  /** A malformed message; it causes no other event. */
  unreadable: { readonly reason: string; readonly data: string | ArrayBuffer }
  open: ConnectionEvents['open']
  close: ConnectionEvents['close']
}
