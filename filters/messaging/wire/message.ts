import type { Frame as AnyFrame } from '../../../protocols/clever-show/frame.ts'
import * as format from '../../../protocols/clever-show/message.ts'
import type { ContentStream } from './content-stream.ts'

export type { Args, Extras, Failure, Id, Kwargs, Request } from '../../../protocols/clever-show/message.ts'

/** The content of a file; over TCP a stream. */
type Content = Buffer | ContentStream
export type Frame = AnyFrame<Content>
export type Action = format.Action<Content>
export type Response = format.Response<Content>
/** A message of a peer: `message.messaging`. */
export type Messaging = Action | format.Request | Response

/**
 * Writes a message as a frame.
 *
 * @throws TypeError when JSON cannot express it, RangeError when its names exceed the maximum of a header.
 */
export function frameOf(message: Messaging): Buffer {
  return format.frameOf(message as format.Messaging, Buffer)
}
