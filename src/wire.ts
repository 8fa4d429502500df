import { FwsError } from './errors.ts'
import { isPayload } from './payload.ts'
import type { Codec, Payload, Transport } from './types.ts'

const NOTHING = Buffer.alloc(0)

/** Payloads as they are: the codec of a client until a filter sets another. */
export const plain: Codec = { name: 'plain', encode: payload => payload }

/**
 * How a message looks to clients of one kind: their codec, then their transport's framing. Clients of a kind share one
 * Wire, and so one encoding and one frame of every broadcast.
 */
export class Wire {
  readonly codec: Codec
  readonly #frame: Transport['frame']
  readonly #onError: (error: unknown, codec: Codec) => void

  constructor(codec: Codec, frame: Transport['frame'], onError: (error: unknown, codec: Codec) => void) {
    this.codec = codec
    this.#frame = frame
    this.#onError = onError
  }

  /** The finished frame; empty when the payload is not for such a client, or cannot be encoded (reported). */
  encode(payload: Payload): Buffer {
    try {
      const encoded = this.codec.encode(payload)
      if (encoded === undefined) return NOTHING
      if (isPayload(encoded)) return checkFrame(this.#frame(encoded))
      const { name } = this.codec
      throw new FwsError(
        'ERR_PAYLOAD',
        `codec ${name} encodes to a string, a Buffer or undefined, received ${typeof encoded}`,
      )
    } catch (error) {
      this.#onError(error, this.codec)
      return NOTHING
    }
  }
}

function checkFrame(framed: unknown): Buffer {
  if (Buffer.isBuffer(framed)) return framed
  throw new FwsError('ERR_PAYLOAD', `the frame of a transport is a Buffer, received ${typeof framed}`)
}

/** Hands out one Wire per codec and framing. */
export class Wires {
  readonly #known = new WeakMap<Codec, Map<Transport['frame'], Wire>>()
  readonly #onError: (error: unknown, codec: Codec) => void

  constructor(onError: (error: unknown, codec: Codec) => void) {
    this.#onError = onError
  }

  of(codec: Codec, frame: Transport['frame']): Wire {
    let byFrame = this.#known.get(codec)
    if (byFrame === undefined) {
      byFrame = new Map()
      this.#known.set(codec, byFrame)
    }
    let wire = byFrame.get(frame)
    if (wire === undefined) {
      wire = new Wire(codec, frame, this.#onError)
      byFrame.set(frame, wire)
    }
    return wire
  }
}
