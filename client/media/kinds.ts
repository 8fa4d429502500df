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

/** What is sent as which kind. */
export interface Payloads {
  /** Any value that JSON has. */
  json: unknown
  text: string
  binary: Bytes
  /** Its extension belongs into the metadata; without one it is not saved. */
  file: Bytes
  image: Bytes
  audio: Int16Array
}

/** What is sent with a payload; `rate` (default: 48000 Hz) and `channels` (default: 1, interleaved) are of audio. */
export interface Details extends Partial<AudioFormat> {
  /** At most 8 bytes of UTF-8: the extension of a file or an image, such as `png`. */
  readonly metadata?: string
}

/** Type and payload of an envelope. Throws a `TypeError` for a payload that is not of its kind. */
export function packed(
  kind: KindOrType,
  payload: unknown,
  { metadata = '', ...sound }: Details,
): { type: number; payload: Uint8Array; metadata: string } {
  if (!isKind(kind)) throw new TypeError(`a kind is ${VALID_KINDS}, received ${kind}`)
  const length = new TextEncoder().encode(metadata).length
  if (length > METADATA_BYTES)
    throw new TypeError(`metadata has at most ${METADATA_BYTES} bytes, received "${metadata}" (${length})`)
  return {
    type: typeOf(kind),
    payload: payloadOf(kind, payload),
    metadata: metadata || (kind === 'audio' ? writeAudioMetadata(sound) : ''),
  }
}

function payloadOf(kind: KindOrType, payload: unknown): Uint8Array {
  if (kind === 'json') return jsonOf(payload)
  if (kind === 'text') {
    if (typeof payload !== 'string') throw new TypeError(`text is a string, received ${typeof payload}`)
    // A JSON string, as by the NanoLLM browser client: a bare one would lose quotes around it.
    return jsonOf(payload)
  }
  if (kind === 'audio') {
    if (!(payload instanceof Int16Array)) throw new TypeError('audio is an Int16Array')
    return encodeSamples(payload)
  }
  if (payload instanceof ArrayBuffer) return new Uint8Array(payload)
  if (ArrayBuffer.isView(payload)) return new Uint8Array(payload.buffer, payload.byteOffset, payload.byteLength)
  throw new TypeError(`${kind} is an ArrayBuffer or a view of one`)
}

/** A payload with its kind. */
export type Unpacked =
  | { readonly kind: 'json'; readonly payload: unknown }
  | { readonly kind: 'text'; readonly payload: string }
  | { readonly kind: 'binary' | 'file'; readonly payload: Uint8Array }
  | { readonly kind: 'image'; readonly payload: Uint8Array; readonly mime: string | undefined }
  | ({ readonly kind: 'audio'; readonly payload: Int16Array<ArrayBuffer> } & AudioFormat)
  | { readonly kind: 'other'; readonly payload: Uint8Array; readonly type: number }

/** Throws for JSON, text or audio that is not right. */
export function unpacked(type: number, payload: Uint8Array, metadata: string): Unpacked {
  const kind = kindOf(type)
  if (typeof kind === 'number') return { kind: 'other', payload, type }
  if (kind === 'json') return { kind, payload: parsed(payload) }
  if (kind === 'text') return { kind, payload: decodeUtf8(payload, kind) }
  if (kind === 'image') return { kind, payload, mime: imageType(payload) }
  if (kind !== 'audio') return { kind, payload }
  const sound = readAudioMetadata(metadata, payload.length)
  return { kind, payload: decodeSamples(payload), ...sound }
}

function jsonOf(value: unknown): Uint8Array {
  const text = JSON.stringify(value)
  if (text === undefined) throw new TypeError(`json is what JSON.stringify takes, received ${typeof value}`)
  return new TextEncoder().encode(text)
}

/** Throws for bytes that are not JSON. */
export function parsed(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(decodeUtf8(bytes, 'json'))
  } catch (cause) {
    throw new Error('the payload is not JSON', { cause })
  }
}
