/** Below this many bytes of a frame, what it is a part of may be far larger. */
const COPY_BELOW = 65_536

/** Any kind of bytes; `undefined`: none. */
export function bytesOf(value: unknown): Uint8Array | undefined {
  if (value instanceof Uint8Array) return value
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
  return value instanceof ArrayBuffer ? new Uint8Array(value) : undefined
}

/**
 * Bytes of a frame as they may be kept for a while. A small frame is a part of what was read from the socket with it, so
 * it is copied: a client must not make the server keep 64 KiB with each byte that it sends.
 */
export function kept(bytes: Buffer): Buffer {
  if (bytes.length >= COPY_BELOW) return bytes
  const copy = Buffer.allocUnsafeSlow(bytes.length)
  bytes.copy(copy)
  return copy
}
