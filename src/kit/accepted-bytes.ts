import type { Socket } from 'node:net'

/** A handle of Node's sockets; one of TLS has that of TCP as `_parent`. */
interface Handle {
  readonly bytesWritten?: number
  readonly writeQueueSize?: number
  readonly _parent?: Handle
}

/**
 * Bytes of a socket that the operating system has accepted, with TLS the encrypted ones.
 *
 * `bytesWritten` and `writableLength` count a write as a whole, so a file of 60 MB on a slow line would show no progress. Its
 * rest is only known to the handle, which has no public interface; without one whole writes are counted.
 */
export function acceptedBytes(socket: Socket): number {
  const own = (socket as unknown as { readonly _handle?: Handle | null })._handle
  const { bytesWritten, writeQueueSize } = own?._parent ?? own ?? {}
  return bytesWritten === undefined || writeQueueSize === undefined
    ? socket.bytesWritten - socket.writableLength
    : bytesWritten - writeQueueSize
}
