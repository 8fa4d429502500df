import { readJson } from 'filtered-websocket/kit'
import { readAudioMetadata } from '../../protocols/nanollm/audio.ts'
import { decodeUtf8, MalformedError, type ReceivedEnvelope } from '../../protocols/nanollm/envelope.ts'
import { type Kind, kindOf } from '../../protocols/nanollm/kinds.ts'

/** How a JSON object or array begins. Bounded, as a text may be nothing but spaces. */
const BEGINNING = /^\s{0,64}[[{]/

/** A message of a media client, decoded: `message.media`. */
export interface Media {
  /** `upload`: a file that came in chunks is there. */
  readonly kind: Kind | 'upload'
  /** Of `json` the value, of `text` a string, of `upload` an `Uploaded`, of all else a Buffer. */
  readonly payload: unknown
  /** Bytes of the payload, or of the file that was uploaded. */
  readonly size: number
  /** As the client sent it. */
  readonly metadata: string
  /** Of the client's own counting, from 0. */
  readonly id: number
  /** Milliseconds since 1970, by the client's clock. */
  readonly timestamp: number
  /** Of `json` and `text`: as it came, text perhaps in the quotes that browsers put around it. Of `upload`: a JSON text about it. */
  readonly raw?: string
  /** Of `audio`, and of an uploaded recording: samples a second, and channels; the payload is 16-bit samples, little-endian. */
  readonly rate?: number
  readonly channels?: number
  /** Of `image`, and of an upload as far as they tell it: what its first bytes say, such as `image/png`. */
  readonly mime?: string
  /** Where it was saved, if it was, and under which path it is served. */
  readonly path?: string
  readonly url?: string
  /** Of `upload`: the name that the file had where it comes from. Never part of a path. */
  readonly original?: string
  /** Of `image`: its pixels, by the package sharp; rejects when that is not installed, or it is no image. */
  decode?(): Promise<Pixels>
}

/** A file that came in chunks, as all may know of it. */
export interface Uploaded {
  /** As the server made it. */
  readonly name: string
  /** Where it is served. */
  readonly url: string
  /** Bytes. */
  readonly size: number
  /** `audio`: a recording, as WAV. */
  readonly kind: 'file' | 'image' | 'audio'
  readonly original?: string
}

/** An image row by row, a byte for each channel. */
export interface Pixels {
  readonly data: Buffer
  readonly width: number
  readonly height: number
  /** 3: red, green, blue; 4: and alpha. */
  readonly channels: number
}

/**
 * What an envelope says, as far as its own bytes tell.
 *
 * @param maxJson - bytes of JSON that are read; also bounded as the kit's `readJson` does.
 * @throws MalformedError
 */
export function mediaOf({ id, timestamp, type, metadata, payload }: ReceivedEnvelope<Buffer>, maxJson: number): Media {
  const kind = kindOf(type)
  const common = { kind, payload, size: payload.length, metadata, id: Number(id), timestamp: Number(timestamp) }
  if (kind === 'audio') return { ...common, ...readAudioMetadata(metadata, payload.length) }
  if (kind !== 'json' && kind !== 'text') return common
  if (kind === 'json' && payload.length > maxJson)
    throw new MalformedError(`a message of kind json has at most ${maxJson} bytes, received ${payload.length}`)
  const raw = decodeUtf8(payload, `a message of kind ${kind}`)
  return { ...common, payload: kind === 'json' ? jsonIn(raw, maxJson) : unquoted(raw), raw }
}

/** The same of what a client without envelopes sends: text that is a JSON object or array, and not too long, is `json`. */
export function simpleMediaOf(payload: string | Buffer, at: number, maxJson: number): Media {
  const common = { payload, size: Buffer.byteLength(payload), metadata: '', id: 0, timestamp: at }
  if (typeof payload !== 'string') return { ...common, kind: 'binary' }
  const value = common.size <= maxJson && BEGINNING.test(payload) ? parsed(payload, maxJson) : undefined
  if (value !== undefined) return { ...common, kind: 'json', payload: value, raw: payload }
  return { ...common, kind: 'text', raw: payload }
}

/** A message as filters that know nothing of kinds see it. */
export function plainOf({ kind, payload, raw }: Media): string | Buffer {
  return kind === 'text' ? (payload as string) : (raw ?? (payload as Buffer))
}

function jsonIn(text: string, maxLength: number): unknown {
  try {
    return readJson(text, { maxLength })
  } catch (error) {
    const why = error instanceof RangeError ? `too large: ${error.message}` : 'no JSON'
    throw new MalformedError(`a message of kind json is ${why}`)
  }
}

function parsed(text: string, maxLength = Number.POSITIVE_INFINITY): unknown {
  try {
    return readJson(text, { maxLength })
  } catch {
    return undefined
  }
}

/** The original browser client puts text into quotes, as JSON (nanollm-webserver, section 3). */
function unquoted(raw: string): string {
  if (!raw.startsWith('"')) return raw
  const value = parsed(raw)
  return typeof value === 'string' ? value : raw
}
