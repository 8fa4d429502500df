/** Bytes before the payload; the first 8 are the id. */
const HEAD_BYTES = 32
const ID_BYTES = 8
const MAGIC = 42
export const METADATA_BYTES = 8

/** Where the fields stand behind the id. */
const TIMESTAMP_AT = 0
const MAGIC_AT = 8
const TYPE_AT = 10
const SIZE_AT = 12
const METADATA_AT = 16
const PAYLOAD_AT = HEAD_BYTES - ID_BYTES

/** One message of the protocol (nanollm-webserver, section 2). Numbers are big-endian as bytes. */
export interface Envelope<B extends Uint8Array = Uint8Array> {
  /** Milliseconds since 1970 UTC. */
  readonly timestamp: bigint
  /** 0 to 65535; see `kinds.ts`. */
  readonly type: number
  /** Of a file its extension; at most 8 bytes as UTF-8, without NUL. */
  readonly metadata: string
  /** At least one byte. */
  readonly payload: B
}

/** An envelope that was received. */
export interface Received<B extends Uint8Array = Uint8Array> extends Envelope<B> {
  /** Counts the messages of one connection and direction, from 0. */
  readonly id: bigint
}

/** What a peer sent is not a message of this protocol; the error message says why in one sentence. */
export class Malformed extends Error {}

/** Whether magic number and size are those of an envelope, for clients that also send plain bytes. */
export function looksLikeEnvelope(bytes: Uint8Array): boolean {
  if (bytes.length <= HEAD_BYTES) return false
  const view = viewOf(bytes)
  return (
    view.getUint16(ID_BYTES + MAGIC_AT) === MAGIC && view.getUint32(ID_BYTES + SIZE_AT) === bytes.length - HEAD_BYTES
  )
}

/**
 * Reads an envelope; its payload is a view of the same bytes, of the same class.
 *
 * @throws Malformed
 */
export function readEnvelope<B extends Uint8Array>(bytes: B): Received<B> {
  if (bytes.length <= HEAD_BYTES)
    throw new Malformed(`an envelope has more than ${HEAD_BYTES} bytes, received ${bytes.length}`)
  return { id: viewOf(bytes).getBigUint64(0), ...readBody(bytes.subarray(ID_BYTES) as B) }
}

/**
 * The same without its id, as `writeBody` writes it.
 *
 * @throws Malformed
 */
export function readBody<B extends Uint8Array>(body: B): Envelope<B> {
  const view = viewOf(body)
  const magic = view.getUint16(MAGIC_AT)
  if (magic !== MAGIC) throw new Malformed(`an envelope has ${MAGIC} at byte 16, received ${magic}`)
  const payload = body.subarray(PAYLOAD_AT) as B
  const size = view.getUint32(SIZE_AT)
  if (size !== payload.length)
    throw new Malformed(`the envelope announces ${size} bytes, and ${payload.length} are in it`)
  const field = body.subarray(METADATA_AT, PAYLOAD_AT)
  const end = field.indexOf(0)
  return {
    timestamp: view.getBigUint64(TIMESTAMP_AT),
    type: view.getUint16(TYPE_AT),
    metadata: end === 0 ? '' : textOf(end < 0 ? field : field.subarray(0, end), 'metadata'),
    payload,
  }
}

/**
 * An envelope whose id is 0. Metadata of more than 8 bytes is cut between two characters, as NanoLLM does.
 *
 * @throws TypeError without a payload, as such a message reaches no peer (nanollm-webserver, section 3).
 */
export function writeEnvelope({ timestamp, type, metadata, payload }: Envelope): Uint8Array<ArrayBuffer> {
  if (payload.length === 0) throw new TypeError('an envelope has a payload, received 0 bytes')
  const bytes = new Uint8Array(HEAD_BYTES + payload.length)
  const body = new DataView(bytes.buffer, ID_BYTES)
  body.setBigUint64(TIMESTAMP_AT, timestamp)
  body.setUint16(MAGIC_AT, MAGIC)
  body.setUint16(TYPE_AT, type)
  body.setUint32(SIZE_AT, payload.length)
  if (metadata !== '') new TextEncoder().encodeInto(metadata, bytes.subarray(ID_BYTES + METADATA_AT, HEAD_BYTES))
  bytes.set(payload, HEAD_BYTES)
  return bytes
}

/** All of an envelope but its id, which differs from client to client. */
export function writeBody(envelope: Envelope): Uint8Array<ArrayBuffer> {
  return writeEnvelope(envelope).subarray(ID_BYTES)
}

/** Writes the id into an envelope that is about to be sent: only then is its connection known. */
export function writeId(envelope: Uint8Array, id: number): void {
  viewOf(envelope).setBigUint64(0, BigInt(id))
}

/**
 * The text of bytes that must be UTF-8; a byte order mark is part of it.
 *
 * @param what - names the bytes in errors.
 * @throws Malformed
 */
export function textOf(bytes: Uint8Array, what: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw new Malformed(`${what} is not UTF-8`)
  }
}

/** Access to numbers in bytes. */
export function viewOf({ buffer, byteOffset, length }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, length)
}
