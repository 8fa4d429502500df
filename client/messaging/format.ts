import { webBytes } from '../../protocols/clever-show/bytes.ts'
import { type Frame as AnyFrame, type Fields, type Id, writeFrame } from '../../protocols/clever-show/frame.ts'
import type { Limits } from '../../protocols/clever-show/json.ts'
import type * as format from '../../protocols/clever-show/message.ts'

type Bytes = Uint8Array<ArrayBuffer>
export type Frame = AnyFrame<Bytes>
export type Action = format.Action<Bytes>
export type Response = format.Response<Bytes>

/** Bytes of a content, in both directions. */
export const MAX_CONTENT = 16 * 1024 * 1024
/** Of frames of the server; the length bounds the cost of its JSON. */
export const LIMITS: Limits = { maxContent: MAX_CONTENT, parse: JSON.parse }

/** A frame. @throws RangeError when the header or the content is too long. */
export function encode(
  type: 'message' | 'request' | 'response',
  name: string,
  id: Id | undefined,
  fields: Fields,
  content: string | Uint8Array,
): Bytes {
  return writeFrame(webBytes, type, name, id, fields, content, MAX_CONTENT)
}
