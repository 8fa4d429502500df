import type { CallOptions } from 'filtered-websocket/kit'

const MIB = 2 ** 20
/** Milliseconds for each MiB of a file whose hash a peer with a slow disk computes. */
const HASH_PER_MIB = 100

/** Options of a call that takes at most `timeout` milliseconds. */
export function within(timeout: number, signal: AbortSignal | undefined): CallOptions {
  return { timeout, ...(signal && { signal }) }
}

/** The same with the time to compute the hash of a file of `size` bytes. */
export function withinHash(timeout: number, size: number, signal: AbortSignal | undefined): CallOptions {
  return within(timeout + (HASH_PER_MIB * size) / MIB, signal)
}

/** Milliseconds for a client to receive `size` bytes at once: `timeout`, and as much for each MiB. */
export function drainTimeout(timeout: number, size: number): number {
  return timeout * (1 + size / MIB)
}
