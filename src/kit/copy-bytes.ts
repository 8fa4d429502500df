/** A copy in separate memory, for bytes that are kept: a part of a larger buffer keeps all of it alive. */
export function copyBytes(bytes: Uint8Array): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.length)
  copy.set(bytes)
  return copy
}
