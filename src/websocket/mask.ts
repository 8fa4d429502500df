// biome-ignore-all lint/suspicious/noAssignInExpressions: each byte is written and collected in one step
/** Below this many bytes a loop over bytes is faster than one over words, which needs a view of its own. */
const MIN_WORDS_BYTES = 128
const HIGH_BITS = 0x8080_8080

/**
 * Removes the mask of `bytes[from, to)` in place (RFC 6455, section 5.3).
 *
 * @param mask - the masking key as a little-endian integer: its first byte is the lowest.
 * @returns all results combined with OR: below 128 if every byte is ASCII.
 */
export function unmask(bytes: Buffer, from: number, to: number, mask: number): number {
  if (to - from < MIN_WORDS_BYTES) return unmaskBytes(bytes, from, to, mask)
  const { buffer, byteOffset } = bytes
  // A view of words starts at a multiple of four.
  const lead = -(byteOffset + from) & 3
  const start = from + lead
  const words = new Int32Array(buffer, byteOffset + start, (to - start) >> 2)
  const rotated = rotate(mask, lead)
  const all = unmaskBytes(bytes, from, start, mask) | unmaskWords(words, rotated)
  return all | unmaskBytes(bytes, start + words.byteLength, to, rotated)
}

/** The masking key for the bytes behind the first `count`. */
export function rotate(mask: number, count: number): number {
  const bits = (count & 3) * 8
  return bits === 0 ? mask : (mask >>> bits) | (mask << (32 - bits))
}

function unmaskBytes(bytes: Buffer, from: number, to: number, mask: number): number {
  const a = mask & 255
  const b = (mask >>> 8) & 255
  const c = (mask >>> 16) & 255
  const d = mask >>> 24
  let all = 0
  let i = from
  for (const end = to - 3; i < end; i += 4) {
    all |= (bytes[i]! ^= a) | (bytes[i + 1]! ^= b) | (bytes[i + 2]! ^= c) | (bytes[i + 3]! ^= d)
  }
  if (i < to) all |= bytes[i]! ^= a
  if (i + 1 < to) all |= bytes[i + 1]! ^= b
  if (i + 2 < to) all |= bytes[i + 2]! ^= c
  return all & 255
}

function unmaskWords(words: Int32Array, mask: number): number {
  const end = words.length
  let all = 0
  let i = 0
  for (const last = end - 3; i < last; i += 4) {
    all |= (words[i]! ^= mask) | (words[i + 1]! ^= mask) | (words[i + 2]! ^= mask) | (words[i + 3]! ^= mask)
  }
  for (; i < end; i++) all |= words[i]! ^= mask
  return all & HIGH_BITS ? 128 : 0
}
