/** Bytes before the payload; the first 8 are the id. */
const HEAD_BYTES = 32
const ID_BYTES = 8
const MAGIC = 42
const METADATA_BYTES = 8

/** Where the fields stand behind the id. */
const TIMESTAMP_AT = 0
const MAGIC_AT = 8
const TYPE_AT = 10
const SIZE_AT = 12
const METADATA_AT = 16
const PAYLOAD_AT = HEAD_BYTES - ID_BYTES

/** One message of the protocol (nanollm-webserver, section 2). Numbers are big-endian as bytes. */
export interface Envelope {
  /** Milliseconds since 1970. */
  readonly timestamp: bigint
  readonly type: number
  /** Of a file its extension; at most 8 bytes as UTF-8, without NUL. */
  readonly metadata: string
  /** At least one byte. */
  readonly payload: Buffer
}

export interface Received extends Envelope {
  /** Counts the messages of a connection, from 0. */
  readonly id: bigint
}

/** What a client sent cannot be understood. */
export class Malformed extends Error {}

/** Whether it is one as far as magic number and size tell, for clients that also send bytes as they are. */
export function looksLikeEnvelope(bytes: Buffer): boolean {
  return (
    bytes.length > HEAD_BYTES &&
    bytes.readUInt16BE(ID_BYTES + MAGIC_AT) === MAGIC &&
    bytes.readUInt32BE(ID_BYTES + SIZE_AT) === bytes.length - HEAD_BYTES
  )
}

/** @throws Malformed with one sentence that says why it is none. */
export function readEnvelope(bytes: Buffer): Received {
  if (bytes.length <= HEAD_BYTES)
    throw new Malformed(`an envelope has more than ${HEAD_BYTES} bytes, received ${bytes.length}`)
  return { id: bytes.readBigUInt64BE(0), ...readBody(bytes.subarray(ID_BYTES)) }
}

/**
 * The same without its id, as what `writeBody` makes.
 *
 * @throws Malformed
 */
export function readBody(body: Buffer): Envelope {
  const magic = body.readUInt16BE(MAGIC_AT)
  if (magic !== MAGIC) throw new Malformed(`an envelope has ${MAGIC} at byte 16, received ${magic}`)
  const payload = body.subarray(PAYLOAD_AT)
  const size = body.readUInt32BE(SIZE_AT)
  if (size !== payload.length)
    throw new Malformed(`the envelope announces ${size} bytes, and ${payload.length} are in it`)
  const field = body.subarray(METADATA_AT, PAYLOAD_AT)
  const end = field.indexOf(0)
  return {
    timestamp: body.readBigUInt64BE(TIMESTAMP_AT),
    type: body.readUInt16BE(TYPE_AT),
    metadata: textOf(end === -1 ? field : field.subarray(0, end), 'metadata'),
    payload,
  }
}

/** All of an envelope but its id, which differs from client to client. Longer metadata is cut, as the original does. */
export function writeBody({ timestamp, type, metadata, payload }: Envelope): Buffer {
  const body = Buffer.alloc(PAYLOAD_AT + payload.length)
  body.writeBigUInt64BE(timestamp, TIMESTAMP_AT)
  body.writeUInt16BE(MAGIC, MAGIC_AT)
  body.writeUInt16BE(type, TYPE_AT)
  body.writeUInt32BE(payload.length, SIZE_AT)
  body.write(metadata, METADATA_AT, METADATA_BYTES)
  payload.copy(body, PAYLOAD_AT)
  return body
}

/**
 * Bytes as text; `what` they are, for the error.
 *
 * @throws Malformed when they are no UTF-8.
 */
export function textOf(bytes: Uint8Array, what: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw new Malformed(`${what} is no UTF-8`)
  }
}
