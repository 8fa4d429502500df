import type * as format from '../../protocols/clever-show/message.ts'
import type { Written } from '../../protocols/clever-show/text.ts'

type Bytes = Uint8Array<ArrayBuffer>
export type Action = format.Action<Bytes>
export type Response = format.Response<Bytes>
export type Received = format.Messaging<Bytes>

/** Subprotocol that a server without the filter selects. */
export const PLAIN = 'messaging'
/** Bytes of a content, in both directions. */
export const MAX_CONTENT = 16 * 1024 * 1024

/** A message to the server. Its content, JSON or a file, is written once, also if it is sent again. */
export interface Outgoing extends Omit<Written, 'content'> {
  readonly content: Written['content'] | Uint8Array
}

/** A message that the socket reads, as on TCP. */
export interface Unread {
  readonly content: Bytes
  /** `undefined`: a message of an unknown type. @throws Malformed */
  read(): Received | undefined
}

/** JSON content of actions and requests. */
export function contentOf(args: format.Args = [], kwargs: format.Kwargs = {}): string {
  return JSON.stringify({ args, kwargs })
}
