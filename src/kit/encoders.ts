import type { Payload } from '../contract/payload.ts'
import type { LostReason, Position } from '../contract/streams.ts'
import { payloadField } from './json-payload.ts'
import type { FramingName } from './lines.ts'
import { visible } from './visible.ts'

/** A message that is written. */
export interface Outgoing {
  readonly payload: Payload
  /** Milliseconds since 1970. */
  readonly at?: number
  /** Id of its sender; `undefined` for a message of a topic. */
  readonly client?: string
  /** Of a message of a topic. */
  readonly position?: Position
}

export interface Encoder {
  encode(message: Outgoing): string | Buffer
  /** The line in place of lost messages; `undefined`: the framing cannot express it. */
  lost?(reason: LostReason, position: Position): string
}

/** LF, CR and CR LF. */
const LINE_ENDS = /\r\n?|\n/g

/**
 * How messages are written. A written message never contains the separator.
 *
 * @param isTerminal - control characters are shown as codes.
 */
export function encoderOf(framing: FramingName, isTerminal: boolean): Encoder {
  const shown = isTerminal ? visible : (text: string) => text
  switch (framing) {
    case 'lines':
      return { encode: ({ payload }) => `${shown(payload.toString().replace(LINE_ENDS, ' '))}\n` }
    case 'nul':
      return { encode: ({ payload }) => `${shown(payload.toString().replaceAll('\0', ' '))}\0` }
    case 'json':
      return {
        encode: ({ payload, client, at, position }) =>
          `${shown(JSON.stringify({ client, ...payloadField(payload), at, position }))}\n`,
        lost: (lost, position) => `${JSON.stringify({ lost, position })}\n`,
      }
    case 'length':
      return { encode: ({ payload }) => framed(payload) }
  }
}

function framed(payload: Payload): Buffer {
  const bytes = Buffer.byteLength(payload)
  const frame = Buffer.allocUnsafe(4 + bytes)
  frame.writeUInt32BE(bytes)
  if (typeof payload === 'string') frame.write(payload, 4)
  else payload.copy(frame, 4)
  return frame
}
