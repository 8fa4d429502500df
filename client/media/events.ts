import type { ConnectionEvents } from '../connection.ts'

/** What every message tells beside its payload. */
export interface Told {
  /** Counted by the server from 0 in each connection. */
  readonly id: number
  /** Milliseconds since 1970 UTC, by the clock of whoever sent it. */
  readonly timestamp: number
  readonly metadata: string
}

/** What the server wants people to see. */
export interface Alert {
  readonly id: number
  /** Of the server's clock, such as `9:41:07`. */
  readonly time: string
  readonly message: string
  readonly level: 'warning' | 'error' | 'success' | 'info'
  readonly category: string
  /** Milliseconds that it should be seen. */
  readonly timeout: number
}

export interface MediaEvents {
  json: Told & { readonly payload: unknown }
  text: Told & { readonly payload: string }
  binary: Told & { readonly payload: Uint8Array }
  file: Told & { readonly payload: Uint8Array }
  /** Channels are interleaved; `rate` in Hz. */
  audio: Told & { readonly payload: Int16Array<ArrayBuffer>; readonly rate: number; readonly channels: number }
  /** `mime` by its bytes: `undefined` for one that no browser shows. */
  image: Told & { readonly payload: Uint8Array<ArrayBuffer>; readonly mime: string | undefined }
  /** Of a type without a name. */
  other: Told & { readonly payload: Uint8Array; readonly type: number }
  alert: Alert
  /** So many messages of the server did not arrive, as their ids tell: it left them out because this client was slow. */
  missed: number
  /** A message that is none of the filter `media`; nothing else is told of it. */
  unreadable: { readonly reason: string; readonly data: string | ArrayBuffer }
  open: ConnectionEvents['open']
  close: ConnectionEvents['close']
}
