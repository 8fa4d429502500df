import { constants, deflateRawSync } from 'node:zlib'
import type { Payload } from '../contract/payload.ts'
import type { Transport } from '../contract/transport.ts'
import { extendedFrame, frame } from './frame.ts'

/** Window sizes, as powers of 2. zlib writes none of 8 without a header, so such clients get messages as they are. */
const MIN_WINDOW = 9
const MAX_WINDOW = 15
/** Bytes at the end of a flush that are not sent (RFC 7692, section 7.2.1). */
const TAIL = 4

/**
 * permessage-deflate without context takeover for what the server sends: every message is compressed for itself, so that
 * a broadcast is compressed once for all clients of a window size. Their wires share the frame function made here.
 */
export class Deflate {
  readonly #threshold: number
  readonly #frames = new Map<number, Transport['frame']>()

  /** @param threshold - bytes from which on a message is compressed. */
  constructor(threshold: number) {
    this.#threshold = threshold
  }

  /** @param extensions - the Sec-WebSocket-Extensions that were answered. */
  frameFor(extensions: string | undefined): Transport['frame'] {
    const window = windowOf(extensions)
    if (window === undefined || window < MIN_WINDOW) return frame
    let compressed = this.#frames.get(window)
    if (compressed === undefined) {
      compressed = payload => this.#compress(payload, window)
      this.#frames.set(window, compressed)
    }
    return compressed
  }

  #compress(payload: Payload, windowBits: number): Buffer {
    const size = Buffer.byteLength(payload)
    if (size < this.#threshold) return frame(payload)
    const bytes = deflateRawSync(payload, { windowBits, finishFlush: constants.Z_SYNC_FLUSH })
    // What does not get smaller may go as it is: compression is each message's own affair (RFC 7692, section 6).
    if (bytes.length - TAIL >= size) return frame(payload)
    return extendedFrame(typeof payload === 'string', bytes.subarray(0, bytes.length - TAIL))
  }
}

/** The largest window that the client has room for; `undefined`: nothing was negotiated. */
function windowOf(extensions: string | undefined): number | undefined {
  if (extensions === undefined || !/\bpermessage-deflate\b/.test(extensions)) return undefined
  const [, bits] = /\bserver_max_window_bits=(\d+)/.exec(extensions) ?? []
  return bits === undefined ? MAX_WINDOW : Number(bits)
}
