import {
  type AudioFormat,
  decodeSamples,
  encodeSamples,
  readAudioMetadata,
  writeAudioMetadata,
} from '../../protocols/nanollm/audio.ts'
import { decodeUtf8, METADATA_BYTES } from '../../protocols/nanollm/envelope.ts'
import { isKind, type Kind as KindOrType, kindOf, typeOf, VALID_KINDS } from '../../protocols/nanollm/kinds.ts'
import { imageType } from './image-type.ts'

export type { NamedKind as Kind } from '../../protocols/nanollm/kinds.ts'

type Bytes = ArrayBuffer | Uint8Array

/** The payload of each kind that a client sends. */
export interface Payloads {
  /** Any JSON value. */
  json: unknown
  text: string
  binary: Bytes
  /** The server saves it if its metadata has an extension. */
  file: Bytes
  /** The server saves it if its metadata has an extension. */
  image: Bytes
  /** Channels interleaved. */
  audio: Int16Array
}

/** For `audio`: `rate` in Hz, default 48,000, and `channels`, default 1. */
export interface Details extends Partial<AudioFormat> {
  /** At most 8 bytes of UTF-8. For a file or an image its extension, such as `png`. */
  readonly metadata?: string
}

/** Type, payload and metadata of an envelope. @throws TypeError for a payload that does not fit the kind. */
export function encode(
  kind: KindOrType,
  payload: unknown,
  { metadata = '', ...format }: Details,
): { type: number; payload: Uint8Array; metadata: string } {
  if (!isKind(kind)) throw new TypeError(`a kind is ${VALID_KINDS}, received ${kind}`)
  const length = new TextEncoder().encode(metadata).length
  if (length > METADATA_BYTES)
    throw new TypeError(`metadata has at most ${METADATA_BYTES} bytes, received "${metadata}" (${length})`)
  return {
    type: typeOf(kind),
    payload: encodePayload(kind, payload),
    metadata: metadata || (kind === 'audio' ? writeAudioMetadata(format) : ''),
  }
}

function encodePayload(kind: KindOrType, payload: unknown): Uint8Array {
  if (kind === 'text' && typeof payload !== 'string')
    throw new TypeError(`text is a string, received ${typeof payload}`)
  // Text is a JSON string, as from the browser client of NanoLLM: servers remove quotes around it.
  if (kind === 'json' || kind === 'text') return encodeJson(payload)
  if (kind === 'audio') {
    if (!(payload instanceof Int16Array)) throw new TypeError('audio is an Int16Array')
    return encodeSamples(payload)
  }
  if (payload instanceof ArrayBuffer) return new Uint8Array(payload)
  if (ArrayBuffer.isView(payload)) return new Uint8Array(payload.buffer, payload.byteOffset, payload.byteLength)
  throw new TypeError(`${kind} is an ArrayBuffer or a view of one`)
}

/** A payload with its kind. */
export type Content =
  | { readonly kind: 'json'; readonly payload: unknown }
  | { readonly kind: 'text'; readonly payload: string }
  | { readonly kind: 'binary' | 'file'; readonly payload: Uint8Array }
  | { readonly kind: 'image'; readonly payload: Uint8Array; readonly mime: string | undefined }
  | ({ readonly kind: 'audio'; readonly payload: Int16Array<ArrayBuffer> } & AudioFormat)
  | { readonly kind: 'other'; readonly payload: Uint8Array; readonly type: number }

/** Decodes a payload by its type. @throws Error for malformed JSON, text or audio. */
export function decode(type: number, payload: Uint8Array, metadata: string): Content {
  const kind = kindOf(type)
  if (typeof kind === 'number') return { kind: 'other', payload, type }
  if (kind === 'json') return { kind, payload: decodeJson(payload) }
  if (kind === 'text') return { kind, payload: decodeUtf8(payload, kind) }
  if (kind === 'image') return { kind, payload, mime: imageType(payload) }
  if (kind !== 'audio') return { kind, payload }
  const format = readAudioMetadata(metadata, payload.length)
  return { kind, payload: decodeSamples(payload), ...format }
}

function encodeJson(value: unknown): Uint8Array {
  const json = JSON.stringify(value)
  if (json === undefined) throw new TypeError(`json is a JSON value, received ${typeof value}`)
  return new TextEncoder().encode(json)
}

/** @throws Error for bytes that are not JSON. */
export function decodeJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(decodeUtf8(bytes, 'json'))
  } catch (cause) {
    throw new Error('the payload is not JSON', { cause })
  }
}
