import type { Duplex } from 'node:stream'

/** Milliseconds in which the peer may read the rest of the answer and close. */
const LINGER = 2000

/**
 * Closes a connection so that the answer on it is not lost: ends the writing side, discards what the peer still sends, and
 * destroys the socket when the peer has closed, after 2 seconds at the latest.
 *
 * A socket that is destroyed while bytes of the peer are unread sends a reset, which may reach the peer before the answer
 * (RFC 9112, section 9.6). Nothing that arrives from now on is parsed.
 *
 * @example
 * res.once('finish', () => linger(req.socket))
 */
export function linger(socket: Duplex): void {
  if (socket.destroyed || socket.listeners('data').includes(discard)) return
  const timer = setTimeout(() => socket.destroy(), LINGER)
  socket.once('close', () => clearTimeout(timer))
  // Node's HTTP parser hands the socket back when there is a listener.
  socket.removeAllListeners('data').on('data', discard).resume()
  socket.end()
}

function discard(): void {}
