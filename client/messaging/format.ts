import { webBytes } from '../../protocols/clever-show/bytes.ts'
import { type Frame as AnyFrame, type Fields, type Id, writeFrame } from '../../protocols/clever-show/frame.ts'
import type { Limits } from '../../protocols/clever-show/json.ts'
import type * as format from '../../protocols/clever-show/message.ts'

type Bytes = Uint8Array<ArrayBuffer>
export type Frame = AnyFrame<Bytes>
export type Action = format.Action<Bytes>
export type Response = format.Response<Bytes>

/** Bytes of a content, sent and received. */
export const MAX_CONTENT = 16 * 1024 * 1024
/** What is accepted from the server; its JSON is bounded by its length. */
export const LIMITS: Limits = { maxContent: MAX_CONTENT, parse: JSON.parse }

/** As `writeFrame`, with at most 16 MiB. */
export function encode(
  type: 'message' | 'request' | 'response',
  name: string,
  id: Id | undefined,
  fields: Fields,
  content: string | Uint8Array,
): Bytes {
  return writeFrame(webBytes, type, name, id, fields, content, MAX_CONTENT)
}
