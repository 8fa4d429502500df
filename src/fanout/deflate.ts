import { constants, deflateRawSync } from 'node:zlib'
import type { Payload } from '../contract/payload.ts'
import type { Transport } from '../contract/transport.ts'
import { extendedFrame, frame } from './frame.ts'

/** Window sizes in bits. zlib does not write raw deflate with a window of 8 bits: such clients get uncompressed messages. */
const MIN_WINDOW = 9
/** Bytes removed from the end of a flush (RFC 7692, section 7.2.1). */
const TAIL = 4

/**
 * permessage-deflate without context takeover: each message is compressed separately, so that a broadcast is compressed once
 * for all clients with the same window size. Their wires share the frame function.
 */
export class Deflate {
  readonly #threshold: number
  readonly #frames = new Map<number, Transport['frame']>()

  /** @param threshold - smallest message to compress, in bytes. */
  constructor(threshold: number) {
    this.#threshold = threshold
  }

  /** @param window - of the client in bits; 0: it gets uncompressed messages. */
  frameFor(window: number): Transport['frame'] {
    if (window < MIN_WINDOW) return frame
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
    // A message that does not shrink is sent uncompressed (RFC 7692, section 6).
    if (bytes.length - TAIL >= size) return frame(payload)
    return extendedFrame(typeof payload === 'string', bytes.subarray(0, bytes.length - TAIL))
  }
}
