import { copyBytes } from 'filtered-websocket/kit'

/** Smaller frames may be parts of a much larger buffer. */
const COPY_BELOW = 65_536

/** Converts any kind of bytes; `undefined` for other values. */
export function bytesOf(value: unknown): Uint8Array | undefined {
  if (value instanceof Uint8Array) return value
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
  return value instanceof ArrayBuffer ? new Uint8Array(value) : undefined
}

/**
 * Copies the bytes of a small frame, for storage. Otherwise a frame of one byte would keep a socket buffer of 64 KiB alive.
 */
export function detached(bytes: Buffer): Buffer {
  return bytes.length >= COPY_BELOW ? bytes : copyBytes(bytes)
}
