import { webBytes } from '../../protocols/clever-show/bytes.ts'
import { type Frame, readFrame, writeFrame } from '../../protocols/clever-show/frame.ts'
import { MAX_CONTENT, type Outgoing } from './format.ts'

/** The frame of a file, a binary message of a WebSocket. @throws RangeError when the header is too long. */
export function fileFrame({ type, name, id, fields = {}, content }: Outgoing): Uint8Array<ArrayBuffer> {
  return writeFrame(webBytes, type, name, id, fields, content, MAX_CONTENT)
}

/** @throws Malformed */
export function readFileFrame(data: ArrayBuffer): Frame<Uint8Array<ArrayBuffer>> {
  return readFrame(new Uint8Array(data), { maxContent: MAX_CONTENT, parse: JSON.parse })
}
