import type { CallOptions } from '../rpc/pending.ts'

const MIB = 2 ** 20
/** Milliseconds for each MiB of a file whose hash has to be found, by one who has a slow disk. */
const HASH_A_MIB = 100

/** For an answer that needs no more than `timeout` milliseconds. */
export function within(timeout: number, signal: AbortSignal | undefined): CallOptions {
  return { timeout, ...(signal && { signal }) }
}

/** For an answer for which the hash of a file of so many bytes has to be found. */
export function withinHash(timeout: number, size: number, signal: AbortSignal | undefined): CallOptions {
  return within(timeout + (HASH_A_MIB * size) / MIB, signal)
}

/** Milliseconds for a client to take so many bytes at once: `timeout`, and as much for each MiB. */
export function patienceFor(timeout: number, size: number): number {
  return timeout * (1 + size / MIB)
}
