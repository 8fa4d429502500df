import { type ErrorCode, errorOf, type ProtocolError } from './codes.ts'

/** The error in the reply to a command. */
export class CommandError extends Error {
  readonly reply: ProtocolError

  constructor(reply: ErrorCode | ProtocolError) {
    const error = typeof reply === 'number' ? errorOf(reply) : reply
    super(error.message)
    this.reply = error
  }
}

/** Codes of the protocol by code of the core. */
const CODES: Readonly<Record<string, ErrorCode>> = {
  ERR_FORBIDDEN: 103,
  ERR_LIMIT: 106,
  ERR_PAYLOAD: 107,
  // The topic is not kept.
  ERR_STATE: 108,
}

/** @returns `undefined` for an error that is not expected. */
export function replyTo(error: unknown): ProtocolError | undefined {
  if (error instanceof CommandError) return error.reply
  const { code, message } = error as { code?: unknown; message?: unknown }
  // An error of a procedure.
  if (Number.isSafeInteger(code)) return { code: code as number, message: String(message) }
  if (code === 'ERR_STORAGE' || code === 'ERR_TIMEOUT') return errorOf(100)
  const known = typeof code === 'string' ? CODES[code] : undefined
  return known && errorOf(known)
}
