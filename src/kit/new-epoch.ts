import { randomUUID } from 'node:crypto'

/** An epoch for `Position`: 12 hexadecimal digits, 48 random bits. */
export function newEpoch(): string {
  // Node keeps random bytes for UUIDs; `randomBytes` costs 10 µs.
  const uuid = randomUUID()
  return uuid.slice(0, 8) + uuid.slice(9, 13)
}
