import type { Duplex } from 'node:stream'

/** A handle of Node's sockets; one of TLS has that of TCP as `_parent`. */
interface Handle {
  readonly bytesWritten?: number
  readonly writeQueueSize?: number
  readonly _parent?: Handle
}

interface Writer extends Duplex {
  /** Of a socket. */
  readonly _handle?: Handle | null
  readonly bytesWritten?: number
  /** Of a stream over a socket. */
  readonly acceptedBytes?: number
}

/**
 * Bytes of a stream that the operating system has accepted, with TLS the encrypted ones; NaN if the stream does not count them.
 *
 * `bytesWritten` and `writableLength` count a write as a whole, so a file of 60 MB on a slow line would show no progress. Its
 * rest is only known to the handle, which has no public interface; without one whole writes are counted.
 */
export function acceptedBytes(stream: Duplex): number {
  const { _handle: own, acceptedBytes: known, bytesWritten: whole = Number.NaN, writableLength } = stream as Writer
  if (known !== undefined) return known
  const { bytesWritten, writeQueueSize } = own?._parent ?? own ?? {}
  return bytesWritten === undefined || writeQueueSize === undefined
    ? whole - writableLength
    : bytesWritten - writeQueueSize
}
