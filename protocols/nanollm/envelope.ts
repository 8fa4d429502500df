/** Bytes before the payload; the first 8 are the id. */
const HEADER_BYTES = 32
const ID_BYTES = 8
const MAGIC = 42
export const METADATA_BYTES = 8

/** Offsets of the fields after the id. */
const TIMESTAMP_AT = 0
const MAGIC_AT = 8
const TYPE_AT = 10
const SIZE_AT = 12
const METADATA_AT = 16
const PAYLOAD_AT = HEADER_BYTES - ID_BYTES

/** One message of the protocol (nanollm-webserver, section 2). Numbers are big-endian on the wire. */
export interface Envelope<B extends Uint8Array = Uint8Array> {
  /** Milliseconds since 1970 UTC. */
  readonly timestamp: bigint
  /** 0 to 65535; see `kinds.ts`. */
  readonly type: number
  /** At most 8 bytes of UTF-8 without NUL. For a file: its extension. */
  readonly metadata: string
  /** At least one byte. */
  readonly payload: B
}

/** An envelope that a peer has sent. */
export interface ReceivedEnvelope<B extends Uint8Array = Uint8Array> extends Envelope<B> {
  /** Number of the message in its direction of the connection, from 0. */
  readonly id: bigint
}

/** A message of a peer that does not conform to this protocol. The error message gives the reason in one sentence. */
export class MalformedError extends Error {}

/** Whether magic number and size are those of an envelope. For clients that also send plain bytes. */
export function looksLikeEnvelope(bytes: Uint8Array): boolean {
  if (bytes.length <= HEADER_BYTES) return false
  const view = dataViewOf(bytes)
  return (
    view.getUint16(ID_BYTES + MAGIC_AT) === MAGIC && view.getUint32(ID_BYTES + SIZE_AT) === bytes.length - HEADER_BYTES
  )
}

/**
 * Reads an envelope. The payload is a view of the same bytes, with the same class.
 *
 * @throws MalformedError
 */
export function readEnvelope<B extends Uint8Array>(bytes: B): ReceivedEnvelope<B> {
  if (bytes.length <= HEADER_BYTES)
    throw new MalformedError(`an envelope has more than ${HEADER_BYTES} bytes, received ${bytes.length}`)
  return { id: dataViewOf(bytes).getBigUint64(0), ...readBody(bytes.subarray(ID_BYTES) as B) }
}

/**
 * Reads an envelope without its id, as `writeBody` writes it.
 *
 * @throws MalformedError
 */
export function readBody<B extends Uint8Array>(body: B): Envelope<B> {
  const view = dataViewOf(body)
  const magic = view.getUint16(MAGIC_AT)
  if (magic !== MAGIC) throw new MalformedError(`an envelope has ${MAGIC} at byte 16, received ${magic}`)
  const payload = body.subarray(PAYLOAD_AT) as B
  const size = view.getUint32(SIZE_AT)
  if (size !== payload.length)
    throw new MalformedError(`the envelope announces a payload of ${size} bytes, received ${payload.length}`)
  const field = body.subarray(METADATA_AT, PAYLOAD_AT)
  const end = field.indexOf(0)
  return {
    timestamp: view.getBigUint64(TIMESTAMP_AT),
    type: view.getUint16(TYPE_AT),
    metadata: end === 0 ? '' : decodeUtf8(end < 0 ? field : field.subarray(0, end), 'metadata'),
    payload,
  }
}

/**
 * Writes an envelope with the id 0. Metadata of more than 8 bytes is cut between two characters, as in NanoLLM.
 *
 * @throws TypeError for an empty payload: NanoLLM drops such messages (nanollm-webserver, section 3).
 */
export function writeEnvelope({ timestamp, type, metadata, payload }: Envelope): Uint8Array<ArrayBuffer> {
  if (payload.length === 0) throw new TypeError('an envelope has a payload, received 0 bytes')
  const bytes = new Uint8Array(HEADER_BYTES + payload.length)
  const body = new DataView(bytes.buffer, ID_BYTES)
  body.setBigUint64(TIMESTAMP_AT, timestamp)
  body.setUint16(MAGIC_AT, MAGIC)
  body.setUint16(TYPE_AT, type)
  body.setUint32(SIZE_AT, payload.length)
  if (metadata !== '') new TextEncoder().encodeInto(metadata, bytes.subarray(ID_BYTES + METADATA_AT, HEADER_BYTES))
  bytes.set(payload, HEADER_BYTES)
  return bytes
}

/** Writes an envelope without its id, which differs from client to client. */
export function writeBody(envelope: Envelope): Uint8Array<ArrayBuffer> {
  return writeEnvelope(envelope).subarray(ID_BYTES)
}

/** Sets the id of an envelope, right before it is sent on its connection. */
export function writeId(envelope: Uint8Array, id: number): void {
  dataViewOf(envelope).setBigUint64(0, BigInt(id))
}

/**
 * Decodes bytes that must be UTF-8; a byte order mark is kept.
 *
 * @param what - names the bytes in errors.
 * @throws MalformedError
 */
export function decodeUtf8(bytes: Uint8Array, what: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw new MalformedError(`${what} is not UTF-8`)
  }
}

/** A DataView of the same bytes. */
export function dataViewOf({ buffer, byteOffset, length }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, length)
}
