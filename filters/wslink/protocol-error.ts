/** Close codes (RFC 6455, section 7.4.1). */
const PROTOCOL_ERROR = 1002
const INVALID_DATA = 1007
const TOO_BIG = 1009

/** An invalid message, which closes the connection; wslink (Python) closes it without a reason (wslink, section 2.1). */
export class ProtocolError extends Error {
  /** The close code. */
  readonly code: number

  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

/** A message that violates the rules of frames and envelopes. */
export const violation = (message: string) => new ProtocolError(PROTOCOL_ERROR, message)
/** A message that cannot be decoded. */
export const malformed = (message: string) => new ProtocolError(INVALID_DATA, message)
/** A message over a limit. */
export const oversize = (message: string) => new ProtocolError(TOO_BIG, message)
