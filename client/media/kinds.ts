import { textOf } from './envelope.ts'
import { bytesOf, formatOf, metadataOf, type Samples, samplesOf } from './samples.ts'

/** The types of the envelope that have a name. */
export const TYPES = { json: 0, text: 1, binary: 2, file: 3, audio: 4, image: 5 } as const
/** Uploads in chunks: their conversation, as JSON, and their bytes. */
export const UPLOAD = 6
export const CHUNK = 7
/** From here on types belong to the application. */
const FIRST_OWN = 8

export type Kind = keyof typeof TYPES
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

export interface Details {
  /** At most 8 bytes of UTF-8: the extension of a file or an image, such as `png`. */
  readonly metadata?: string
  /** Of audio, in Hz and channels (interleaved); default 48000 and 1. */
  readonly rate?: number
  readonly channels?: number
}

/** What goes into the envelope. Throws a `TypeError` for what is not of its kind. */
export function packed(
  kind: Kind | number,
  payload: unknown,
  { metadata = '', rate, channels }: Details,
): { type: number; payload: Uint8Array; metadata: string } {
  switch (kind) {
    // Text goes as a JSON string, as from the original browser client: bare, one that has quotes around it would lose them.
    case 'text':
      if (typeof payload !== 'string') throw new TypeError(`text is a string, received ${typeof payload}`)
      return { type: TYPES.text, payload: jsonOf(payload), metadata }
    case 'json':
      return { type: TYPES.json, payload: jsonOf(payload), metadata }
    case 'audio':
      if (!(payload instanceof Int16Array)) throw new TypeError('audio is an Int16Array')
      return { type: TYPES.audio, payload: bytesOf(payload), metadata: metadata || metadataOf(rate, channels) }
  }
  const type = typeof kind === 'number' ? kind : TYPES[kind]
  if (
    type === undefined ||
    (typeof kind === 'number' && !(Number.isInteger(kind) && kind >= FIRST_OWN && kind <= 0xffff))
  )
    throw new TypeError(
      `a kind is ${Object.keys(TYPES).join(', ')} or a number from ${FIRST_OWN} to 65535, received ${kind}`,
    )
  if (payload instanceof ArrayBuffer) return { type, payload: new Uint8Array(payload), metadata }
  if (ArrayBuffer.isView(payload))
    return { type, payload: new Uint8Array(payload.buffer, payload.byteOffset, payload.byteLength), metadata }
  throw new TypeError(`${kind} is an ArrayBuffer or a view of one`)
}

/** What came as which kind. */
export type Unpacked =
  | { readonly kind: 'json'; readonly payload: unknown }
  | { readonly kind: 'text'; readonly payload: string }
  | { readonly kind: 'binary' | 'file' | 'image'; readonly payload: Uint8Array }
  | ({ readonly kind: 'audio' } & Samples)
  | { readonly kind: 'other'; readonly payload: Uint8Array }

/** Throws for JSON, text or audio that is none. */
export function unpacked(type: number, payload: Uint8Array, metadata: string): Unpacked {
  switch (type) {
    case TYPES.json:
      return { kind: 'json', payload: parsed(payload) }
    case TYPES.text:
      return { kind: 'text', payload: textOf(payload) }
    case TYPES.binary:
      return { kind: 'binary', payload }
    case TYPES.file:
      return { kind: 'file', payload }
    case TYPES.image:
      return { kind: 'image', payload }
    case TYPES.audio: {
      const format = formatOf(metadata)
      return { kind: 'audio', payload: samplesOf(payload, format), ...format }
    }
    default:
      return { kind: 'other', payload }
  }
}

function jsonOf(value: unknown): Uint8Array {
  const text = JSON.stringify(value)
  if (text === undefined) throw new TypeError(`json is what JSON.stringify takes, received ${typeof value}`)
  return new TextEncoder().encode(text)
}

/** Throws for what is no JSON. */
export function parsed(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(textOf(bytes))
  } catch (cause) {
    throw new Error('json that is none', { cause })
  }
}
