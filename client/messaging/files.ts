// File transfers. Browsers load them on demand, as messaging-files.js.
export { blobs } from './blobs.ts'
export { getFile } from './get-file.ts'
export { sendFile } from './send-file.ts'
export { respondToFile } from './shared-files.ts'

import { webBytes } from '../../protocols/clever-show/bytes.ts'
import { readFrame, writeFrame } from '../../protocols/clever-show/frame.ts'
import { type Action, MAX_CONTENT, type Outgoing, type Response } from './format.ts'

/** The frame of a file, a binary message of a WebSocket. @throws RangeError when the header is too long. */
export function fileFrame({ type, name, id, fields = {}, content }: Outgoing): Uint8Array<ArrayBuffer> {
  return writeFrame(webBytes, type, name, id, fields, content, MAX_CONTENT)
}

/** The message of a frame with a file; its header states the path and the part. @throws Malformed */
export function readFileFrame(data: ArrayBuffer): Action | Response {
  const { header, content } = readFrame(new Uint8Array(data), { maxContent: MAX_CONTENT, parse: JSON.parse })
  const { 'message-type': type, action, requested_value: name = action, request_id: id, resend } = header
  return { type, name, id, args: [], kwargs: {}, resend, value: content, content, header } as unknown as
    | Action
    | Response
}
