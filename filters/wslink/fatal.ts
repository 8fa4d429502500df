/** Close codes (RFC 6455, section 7.4.1). */
const PROTOCOL_ERROR = 1002
const INVALID_DATA = 1007
const TOO_BIG = 1009

/** What a client sent ends its connection: the original drops it without a word (wslink, section 2.1). */
export class Fatal extends Error {
  /** The close code. */
  readonly code: number

  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

/** Against the rules of frames and envelopes. */
export const violation = (message: string) => new Fatal(PROTOCOL_ERROR, message)
/** Cannot be decoded. */
export const malformed = (message: string) => new Fatal(INVALID_DATA, message)
/** Past a limit. */
export const oversize = (message: string) => new Fatal(TOO_BIG, message)
