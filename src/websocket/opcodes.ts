/** Opcodes of frames (RFC 6455, section 11.8). */
export const CONTINUATION = 0
export const TEXT = 1
export const BINARY = 2
/** Opcodes from here on are control frames. */
export const CLOSE = 8
export const PING = 9
export const PONG = 10
