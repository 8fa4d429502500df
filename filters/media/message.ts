import { readJson } from 'filtered-websocket/kit'
import { readAudioMetadata } from '../../protocols/nanollm/audio.ts'
import { decodeUtf8, MalformedError, type ReceivedEnvelope } from '../../protocols/nanollm/envelope.ts'
import { type Kind, kindOf } from '../../protocols/nanollm/kinds.ts'

/** The beginning of a JSON object or array. Bounded, because a message may consist of spaces. */
const JSON_START = /^\s{0,64}[[{]/

/** A message of a media client, decoded: `message.media`. */
export interface Media {
  /** `upload`: a complete file that was sent in chunks. */
  readonly kind: Kind | 'upload'
  /** For `json` the value, for `text` a string, for `upload` an `Uploaded`, for all other kinds a Buffer. */
  readonly payload: unknown
  /** Bytes of the payload; for `upload` of the file. */
  readonly size: number
  /** From the client; for `upload` the extension. */
  readonly metadata: string
  /** Number of the message, from 0, by the client. */
  readonly id: number
  /** Milliseconds since 1970, by the client's clock. */
  readonly timestamp: number
  /** For `json` and `text` the string before decoding, for `upload` JSON about the file. */
  readonly raw?: string
  /** For `audio` and uploaded recordings: Hz, and channels. Samples have 16 bits, little-endian. */
  readonly rate?: number
  readonly channels?: number
  /** MIME type by the first bytes, such as `image/png`. Always present for `image`. */
  readonly mime?: string
  /** Path of the saved file, and URL path under which it is served. */
  readonly path?: string
  readonly url?: string
  /** For `upload`: the client's name of the file. Never part of a path. */
  readonly original?: string
  /** For `image`: its pixels. Rejects if the package sharp is not installed, or if the image is corrupt. */
  decode?(): Promise<Pixels>
}

/** A decoded image, row by row, one byte per channel. */
export interface Pixels {
  readonly data: Buffer
  readonly width: number
  readonly height: number
  /** 3: red, green, blue; 4: with alpha. */
  readonly channels: number
}

/**
 * Decodes an envelope.
 *
 * @param maxJson - bytes of JSON; the kit's `readJson` has further bounds.
 * @throws MalformedError
 */
export function readMedia(
  { id, timestamp, type, metadata, payload }: ReceivedEnvelope<Buffer>,
  maxJson: number,
): Media {
  const kind = kindOf(type)
  const common = { kind, payload, size: payload.length, metadata, id: Number(id), timestamp: Number(timestamp) }
  if (kind === 'audio') return { ...common, ...readAudioMetadata(metadata, payload.length) }
  if (kind !== 'json' && kind !== 'text') return common
  if (kind === 'json' && payload.length > maxJson)
    throw new MalformedError(`a message of kind json has at most ${maxJson} bytes, received ${payload.length}`)
  const raw = decodeUtf8(payload, `a message of kind ${kind}`)
  return { ...common, payload: kind === 'json' ? parseJson(raw, maxJson) : unquoted(raw), raw }
}

/** Decodes a message of a simple client. Text that is a JSON object or array within the bounds has kind `json`. */
export function readSimpleMedia(payload: string | Buffer, at: number, maxJson: number): Media {
  const common = { payload, size: Buffer.byteLength(payload), metadata: '', id: 0, timestamp: at }
  if (typeof payload !== 'string') return { ...common, kind: 'binary' }
  const value = common.size <= maxJson && JSON_START.test(payload) ? tryJson(payload, maxJson) : undefined
  if (value !== undefined) return { ...common, kind: 'json', payload: value, raw: payload }
  return { ...common, kind: 'text', raw: payload }
}

/** The payload for filters without knowledge of media. */
export function plainPayload({ kind, payload, raw }: Media): string | Buffer {
  return kind === 'text' ? (payload as string) : (raw ?? (payload as Buffer))
}

function parseJson(json: string, maxLength: number): unknown {
  try {
    return readJson(json, { maxLength })
  } catch (error) {
    const problem = error instanceof RangeError ? `is too large: ${error.message}` : 'is not JSON'
    throw new MalformedError(`a message of kind json ${problem}`)
  }
}

/** The parsed JSON; `undefined` for a string that is not JSON or exceeds a bound. */
export function tryJson(json: string, maxLength = Number.POSITIVE_INFINITY): unknown {
  try {
    return readJson(json, { maxLength })
  } catch {
    return undefined
  }
}

/** The browser client of NanoLLM sends text as a JSON string (nanollm-webserver, section 3). */
function unquoted(raw: string): string {
  if (!raw.startsWith('"')) return raw
  const value = tryJson(raw)
  return typeof value === 'string' ? value : raw
}
