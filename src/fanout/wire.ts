import type { Codec, Encoded } from '../contract/codec.ts'
import { FwsError } from '../contract/errors.ts'
import { isPayload, type Payload } from '../contract/payload.ts'
import type { Transport } from '../contract/transport.ts'
import { frame, frames, numberedHead, numberedMessage } from './frame.ts'
import type { Pieces } from './pieces.ts'

const NOTHING = Buffer.alloc(0)

/** The format of text that the server itself has for one client, such as an error or the answer to a token. */
export const NOTICE = 'notice'

/** Payloads as they are: the codec of a client until a filter sets another. */
export const plain: Codec = { name: 'plain', encode: payload => payload }

/**
 * How a message looks to clients of one kind: their codec, then their transport's framing. Clients of a kind share one
 * Wire, and so one encoding and one frame of every broadcast.
 */
export class Wire {
  readonly codec: Codec
  /** Then `encode` answers only what its clients share, and `numbered` makes it a frame. */
  readonly isNumbered: boolean
  readonly #frame: Transport['frame']
  readonly #onError: (error: unknown, codec: Codec) => void

  constructor(codec: Codec, frame: Transport['frame'], onError: (error: unknown, codec: Codec) => void) {
    this.codec = codec
    this.isNumbered = codec.numbered === true
    this.#frame = frame
    this.#onError = onError
  }

  /** The finished frame; empty when the payload is not for such a client, or cannot be encoded (reported). */
  encode(payload: Payload, format?: string): Buffer | Pieces {
    const isRead = format === undefined || this.codec.formats?.includes(format) === true
    if (!isRead && format !== NOTICE) return NOTHING
    try {
      const encoded = this.codec.encode(payload, isRead ? format : undefined)
      if (encoded === undefined) return NOTHING
      if (this.isNumbered && Buffer.isBuffer(encoded)) return encoded
      if (!this.isNumbered && isPayload(encoded)) return checkFrame(this.#frame(encoded))
      if (!this.isNumbered && Array.isArray(encoded)) return this.#several(encoded)
      const what = this.isNumbered ? 'a Buffer' : 'a string, a Buffer, several messages'
      throw new FwsError(
        'ERR_PAYLOAD',
        `codec ${this.codec.name} encodes to ${what} or undefined, received ${typeof encoded}`,
      )
    } catch (error) {
      this.#onError(error, this.codec)
      return NOTHING
    }
  }

  #several(messages: Exclude<Encoded, Payload>): Buffer | Pieces {
    if (this.#frame === frame) return frames(messages)
    const wholes = messages.map(message => (isPayload(message) ? message : Buffer.concat(message)))
    return Buffer.concat(wholes.map(whole => checkFrame(this.#frame(whole))))
  }

  /** What `encode` answered, for one client. */
  frameOf(encoded: Buffer | Pieces): Frame {
    return this.isNumbered ? new Unnumbered(this, encoded as Buffer) : encoded
  }

  /** The finished frame of what a numbered codec has encoded, as pieces; `rest` itself is one of them if that can be. */
  numbered(number: number, rest: Buffer): readonly Buffer[] {
    if (this.#frame === frame) return [numberedHead(number, rest.length), rest]
    try {
      return [checkFrame(this.#frame(numberedMessage(number, rest)))]
    } catch (error) {
      this.#onError(error, this.codec)
      return []
    }
  }
}

function checkFrame(framed: unknown): Buffer {
  if (Buffer.isBuffer(framed)) return framed
  throw new FwsError('ERR_PAYLOAD', `the frame of a transport is a Buffer, received ${typeof framed}`)
}

/** What a numbered wire has encoded for one client: it gets its number when it is written. */
export class Unnumbered {
  readonly wire: Wire
  readonly rest: Buffer

  constructor(wire: Wire, rest: Buffer) {
    this.wire = wire
    this.rest = rest
  }

  get length(): number {
    return this.rest.length
  }
}

/** What waits for one client. */
export type Frame = Buffer | Pieces | Unnumbered

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
