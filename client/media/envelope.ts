/** Bytes before the payload of each message. */
const HEADER = 32
const MAGIC = 42
const METADATA = { at: 24, bytes: 8 }

/** One binary WebSocket message of the filter `media`: a header of 32 bytes, big-endian, and a payload. */
export interface Envelope {
  /** Counted from 0 in each connection and direction. */
  readonly id: number
  /** Milliseconds since 1970 UTC. */
  readonly timestamp: number
  /** 0 to 65535; see `kinds.ts`. */
  readonly type: number
  /** At most 8 bytes of UTF-8, such as the extension of a file. */
  readonly metadata: string
  /** At least one byte. */
  readonly payload: Uint8Array
}

/** Throws a `TypeError` for an empty payload, and for metadata that does not fit: what is cut would mean something else. */
export function encode({ id, timestamp, type, metadata, payload }: Envelope): Uint8Array<ArrayBuffer> {
  if (payload.byteLength === 0) throw new TypeError('a media message has a payload of at least 1 byte, received 0')
  const about = new TextEncoder().encode(metadata)
  if (about.length > METADATA.bytes)
    throw new TypeError(`metadata takes at most ${METADATA.bytes} bytes, received "${metadata}" (${about.length})`)
  const message = new Uint8Array(HEADER + payload.byteLength)
  const header = new DataView(message.buffer)
  header.setBigUint64(8, BigInt(timestamp))
  header.setUint16(16, MAGIC)
  header.setUint16(18, type)
  header.setUint32(20, payload.byteLength)
  message.set(about, METADATA.at)
  message.set(payload, HEADER)
  number(message, id)
  return message
}

/** Writes the id into a message that is about to go out: until then nobody knows of which connection it will be. */
export function number(message: Uint8Array<ArrayBuffer>, id: number): void {
  new DataView(message.buffer).setBigUint64(0, BigInt(id))
}

/** The payload is a view, not a copy. Throws an `Error` that says what is wrong. */
export function decode(message: ArrayBuffer): Envelope & { readonly payload: Uint8Array<ArrayBuffer> } {
  if (message.byteLength <= HEADER)
    throw new Error(`a media message has more than ${HEADER} bytes, received ${message.byteLength}`)
  const header = new DataView(message)
  const magic = header.getUint16(16)
  if (magic !== MAGIC) throw new Error(`a media message has the magic ${MAGIC}, received ${magic}`)
  const payload = new Uint8Array(message, HEADER)
  const size = header.getUint32(20)
  if (size !== payload.length) throw new Error(`its header tells ${size} bytes, received ${payload.length}`)
  const about = new Uint8Array(message, METADATA.at, METADATA.bytes)
  const end = about.indexOf(0)
  return {
    id: Number(header.getBigUint64(0)),
    timestamp: Number(header.getBigUint64(8)),
    type: header.getUint16(18),
    metadata: textOf(end === -1 ? about : about.subarray(0, end)),
    payload,
  }
}

/** Throws for what is not UTF-8. */
export function textOf(bytes: Uint8Array): string {
  try {
    // Without `ignoreBOM` a leading U+FEFF would be swallowed.
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch (cause) {
    throw new Error('text that is no UTF-8', { cause })
  }
}
