import { isUtf8 } from 'node:buffer'

/** Bytes of a character by its first byte; 0: no character starts so (RFC 3629, section 4). */
function lengthFrom(first: number): number {
  if (first < 0x80) return 1
  if (first < 0xc2) return 0
  if (first < 0xe0) return 2
  if (first < 0xf0) return 3
  return first < 0xf5 ? 4 : 0
}

/**
 * Checks UTF-8 that arrives in pieces.
 *
 * @param checked - bytes that earlier calls have accepted.
 * @returns the bytes that are accepted now: all of whole characters. Up to three may be left, which can still become a character;
 * -1 if they cannot, or if a byte before them is wrong.
 */
export function checkUtf8(bytes: Buffer, checked: number, end: number): number {
  const whole = startOfLast(bytes, checked, end)
  if (whole > checked && !isUtf8(bytes.subarray(checked, whole))) return -1
  return whole === end || isBeginning(bytes, whole, end) ? whole : -1
}

/** Where an incomplete character at the end begins; `end` if there is none. */
function startOfLast(bytes: Buffer, from: number, end: number): number {
  for (let at = end - 1; at >= from && at > end - 4; at--) {
    const byte = bytes[at]!
    if ((byte & 0xc0) === 0x80) continue
    return lengthFrom(byte) > end - at ? at : end
  }
  return end
}

/** Whether the bytes can become a character. */
function isBeginning(bytes: Buffer, from: number, end: number): boolean {
  const first = bytes[from]!
  const given = end - from
  // With one byte the second is free; with more it is there, and the others may be any continuation.
  if (given === 1) return lengthFrom(first) > 0
  const character = Buffer.alloc(lengthFrom(first), 0x80)
  bytes.copy(character, 0, from, end)
  return isUtf8(character)
}
