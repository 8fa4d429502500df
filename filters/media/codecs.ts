import type { Codec, Payload } from 'filtered-websocket'
import { readBody, writeBody } from '../../protocols/nanollm/envelope.ts'
import { CHUNK, type Kind, typeOf, UPLOAD } from '../../protocols/nanollm/kinds.ts'

/** The format of what `bodyOf` makes. */
export const FORMAT = 'media'

/** What an application sends of a kind. */
export interface Outgoing {
  /** At most 8 bytes. Default: none, which is eight zeros. */
  readonly metadata?: string
  /** Milliseconds since 1970; default: now. */
  readonly timestamp?: number
}

/**
 * An envelope without its id. A value of kind `json` is anything that JSON can say; of `text` a string; of all others
 * bytes, of `audio` also 16-bit samples.
 *
 * @throws TypeError for a value that is not of its kind, and for an empty one.
 */
export function bodyOf(kind: Kind, value: unknown, { metadata = '', timestamp = Date.now() }: Outgoing = {}): Buffer {
  const payload = bytesOf(kind, value)
  const { buffer, byteOffset, length } = writeBody({
    timestamp: BigInt(Math.trunc(Math.min(Math.max(timestamp, 0), Number.MAX_SAFE_INTEGER))),
    type: typeOf(kind),
    metadata,
    payload,
  })
  return Buffer.from(buffer, byteOffset, length)
}

function bytesOf(kind: Kind, value: unknown): Buffer {
  if (kind === 'json') {
    const text = JSON.stringify(value)
    if (text === undefined) throw new TypeError(`JSON cannot say ${typeof value}`)
    return Buffer.from(text)
  }
  if (kind === 'text' && typeof value === 'string') return Buffer.from(value)
  if (kind !== 'text' && ArrayBuffer.isView(value)) return Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  throw new TypeError(
    `a message of kind ${kind} is made of ${kind === 'text' ? 'a string' : 'bytes'}, received ${typeof value}`,
  )
}

/** For clients that speak the protocol: ordinary payloads are TEXT and BINARY to them, an empty one is nothing. */
export const enveloped: Codec = {
  name: 'media',
  formats: [FORMAT],
  numbered: true,
  encode(payload, format) {
    if (format === FORMAT) return payload
    if (payload.length === 0) return undefined
    return typeof payload === 'string' ? bodyOf('text', payload) : bodyOf('binary', payload)
  },
}

/** For clients that speak text: TEXT and JSON are text to them, all else the bare bytes. */
export const simple: Codec = {
  name: 'media-simple',
  formats: [FORMAT],
  encode(payload, format) {
    if (format !== FORMAT) return payload
    const { type, payload: bare } = readBody(payload as Buffer)
    return bareOf(type, bare)
  },
}

function bareOf(type: number, payload: Buffer): Payload | undefined {
  if (type === typeOf('json') || type === typeOf('text')) return payload.toString()
  return type === UPLOAD || type === CHUNK ? undefined : payload
}
