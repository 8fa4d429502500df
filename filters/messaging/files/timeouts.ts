const MIB = 2 ** 20
/** Milliseconds for the hash of each MiB, on a peer with a slow disk. */
const HASH_PER_MIB = 100

/** Milliseconds for an answer after the hash of a file of `size` bytes. */
export function hashTimeout(timeout: number, size: number): number {
  return timeout + (HASH_PER_MIB * size) / MIB
}

/** Milliseconds for a client to receive `size` bytes at once: `timeout`, and as much for each MiB. */
export function drainTimeout(timeout: number, size: number): number {
  return timeout * (1 + size / MIB)
}
