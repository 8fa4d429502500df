import { randomBytes } from 'node:crypto'

/** An epoch for `Position`: 8 URL-safe characters with 48 random bits. */
export function newEpoch(): string {
  return randomBytes(6).toString('base64url')
}
