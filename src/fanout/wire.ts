import { checkCloseCode, cutReason } from '../contract/close.ts'
import type { Codec, Encoded } from '../contract/codec.ts'
import { FwsError } from '../contract/errors.ts'
import { isPayload, type Payload } from '../contract/payload.ts'
import type { About, Loss, LossReason } from '../contract/streams.ts'
import type { Transport } from '../contract/transport.ts'
import type { Span } from './block.ts'
import { frame, frames, numberedHead, numberedMessage, payloadOf } from './frame.ts'
import type { Pieces } from './pieces.ts'

const NOTHING = Buffer.alloc(0)

/** The format of messages that the server itself sends to one client, such as an error or the answer to a token. */
export const NOTICE = 'notice'

/** The default codec: payloads are sent unchanged. */
export const plain: Codec = { name: 'plain', encode: payload => payload }

/** A codec and the framing of a transport. Clients with the same pair share one Wire, and so each frame of a broadcast. */
export class Wire {
  readonly codec: Codec
  /** If true, `encode` returns the shared bytes without the number, and `numbered` frames them for one client. */
  readonly isNumbered: boolean
  /** Whether payloads are framed unchanged, with the framing of WebSockets. */
  readonly isPlain: boolean
  readonly #frame: Transport['frame']
  readonly #onError: (error: unknown, codec: Codec) => void

  constructor(codec: Codec, framing: Transport['frame'], onError: (error: unknown, codec: Codec) => void) {
    this.codec = codec
    this.isNumbered = codec.numbered === true
    this.isPlain = codec === plain && framing === frame
    this.#frame = framing
    this.#onError = onError
  }

  /** Encodes and frames a payload; empty if it is not sent to these clients, or if encoding fails (reported). */
  encode(payload: Payload, format?: string, about?: About): Buffer | Pieces {
    const isRead = format === undefined || this.codec.formats?.includes(format) === true
    if (!isRead && format !== NOTICE) return NOTHING
    try {
      return this.#framed(this.codec.encode(payload, isRead ? format : undefined, about))
    } catch (error) {
      this.#onError(error, this.codec)
      return NOTHING
    }
  }

  /** That entries are lost to members; empty if the codec has no form for that. */
  encodeLoss(about: Loss, reason: LossReason, only?: string): Buffer | Pieces {
    try {
      return this.#framed(this.codec.lost?.(about, reason, only))
    } catch (error) {
      this.#onError(error, this.codec)
      return NOTHING
    }
  }

  /** The code and reason of a Close frame in the words of the codec. */
  closing(code: number, reason: string): { readonly code: number; readonly reason: string } {
    if (this.codec.closing === undefined) return { code, reason }
    try {
      const stated = this.codec.closing(code, reason)
      checkCloseCode(stated.code)
      return { code: stated.code, reason: cutReason(stated.reason) }
    } catch (error) {
      this.#onError(error, this.codec)
      return { code, reason }
    }
  }

  #framed(encoded: Encoded | undefined): Buffer | Pieces {
    if (encoded === undefined) return NOTHING
    if (this.isNumbered && Buffer.isBuffer(encoded)) return encoded
    if (!this.isNumbered && isPayload(encoded)) return checkFrame(this.#frame(encoded))
    if (!this.isNumbered && Array.isArray(encoded)) return this.#several(encoded)
    const what = this.isNumbered ? 'a Buffer' : 'a string, a Buffer, several messages'
    const message = `codec ${this.codec.name} encodes to ${what} or undefined, received ${typeof encoded}`
    throw new FwsError('ERR_PAYLOAD', message)
  }

  #several(messages: Exclude<Encoded, Payload>): Buffer | Pieces {
    if (this.#frame === frame) return frames(messages)
    return Buffer.concat(messages.map(message => checkFrame(this.#frame(payloadOf(message)))))
  }

  /** The frame for one client from the result of `encode`. */
  frameOf(encoded: Buffer | Pieces): Frame {
    return this.isNumbered ? new Unnumbered(this, encoded as Buffer) : encoded
  }

  /** The frame of a numbered message in pieces; with WebSocket framing `rest` is one of them, not copied. */
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

/** A message of a numbered wire for one client; it gets its number when it is written. */
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

/** A queued frame of one client. */
export type Frame = Buffer | Pieces | Unnumbered | Span

/** Caches one Wire per codec and framing. */
export class Wires {
  readonly #byCodec = new WeakMap<Codec, Map<Transport['frame'], Wire>>()
  readonly #onError: (error: unknown, codec: Codec) => void

  constructor(onError: (error: unknown, codec: Codec) => void) {
    this.#onError = onError
  }

  of(codec: Codec, frame: Transport['frame']): Wire {
    let byFrame = this.#byCodec.get(codec)
    if (byFrame === undefined) {
      byFrame = new Map()
      this.#byCodec.set(codec, byFrame)
    }
    let wire = byFrame.get(frame)
    if (wire === undefined) {
      wire = new Wire(codec, frame, this.#onError)
      byFrame.set(frame, wire)
    }
    return wire
  }
}
