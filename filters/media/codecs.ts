import type { Codec } from 'filtered-websocket'
import { readBody, writeBody } from '../../protocols/nanollm/envelope.ts'
import { isUploadType, type Kind, typeOf } from '../../protocols/nanollm/kinds.ts'

/** The format of payloads that `encodeBody` makes. */
export const FORMAT = 'media'

export interface MessageOptions {
  /** At most 8 bytes of UTF-8. Default: none. */
  readonly metadata?: string
  /** Milliseconds since 1970. Default: now. */
  readonly timestamp?: number
}

/**
 * An envelope without its id. `json` takes any JSON value, `text` a string, other kinds bytes, and `audio` also 16-bit
 * samples.
 *
 * @throws TypeError for a value that does not fit the kind, and for an empty one.
 */
export function encodeBody(
  kind: Kind,
  value: unknown,
  { metadata = '', timestamp = Date.now() }: MessageOptions = {},
): Buffer {
  const { buffer, byteOffset, length } = writeBody({
    timestamp: BigInt(Math.trunc(Math.min(Math.max(timestamp, 0), Number.MAX_SAFE_INTEGER))),
    type: typeOf(kind),
    metadata,
    payload: bytesOf(kind, value),
  })
  return Buffer.from(buffer, byteOffset, length)
}

function bytesOf(kind: Kind, value: unknown): Buffer {
  if (kind === 'json') {
    const json = JSON.stringify(value)
    if (json === undefined) throw new TypeError(`a message of kind json takes a JSON value, received ${typeof value}`)
    return Buffer.from(json)
  }
  if (kind === 'text' && typeof value === 'string') return Buffer.from(value)
  if (kind !== 'text' && ArrayBuffer.isView(value)) return Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  throw new TypeError(
    `a message of kind ${kind} takes ${kind === 'text' ? 'a string' : 'bytes'}, received ${typeof value}`,
  )
}

/** For clients that speak envelopes. Plain payloads become TEXT or BINARY; empty ones are not sent. */
export const enveloped: Codec = {
  name: 'media',
  formats: [FORMAT],
  numbered: true,
  encode(payload, format) {
    if (format === FORMAT) return payload
    if (payload.length === 0) return undefined
    return typeof payload === 'string' ? encodeBody('text', payload) : encodeBody('binary', payload)
  },
}

/** For clients that send text. JSON and TEXT become text; all other kinds are bare bytes. */
export const simple: Codec = {
  name: 'media-simple',
  formats: [FORMAT],
  encode(payload, format) {
    if (format !== FORMAT) return payload
    const { type, payload: bare } = readBody(payload as Buffer)
    if (type === typeOf('json') || type === typeOf('text')) return bare.toString()
    return isUploadType(type) ? undefined : bare
  },
}
