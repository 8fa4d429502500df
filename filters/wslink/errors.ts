import type { Envelope } from './envelope.ts'

/** Codes of the protocol (wslink, section 0). Texts and data are those of wslink (Python). */
const UNKNOWN_METHOD = -32_601
const NOT_AUTHENTICATED = -32_000
const EXCEPTION = -32_001
const NOT_SERIALIZABLE = -32_002

/** The reply to a refused hello. */
export function unauthenticated(id: string): Envelope {
  return failed(id, NOT_AUTHENTICATED, 'Authentication failed')
}

/** The reply to a call before the hello. */
export function unauthorized(id: string): Envelope {
  return failed(id, NOT_AUTHENTICATED, 'Unauthorized: Skip message processing')
}

export function unknownSystem(id: string): Envelope {
  return failed(id, UNKNOWN_METHOD, 'Unknown system method called')
}

export function unregistered(id: string, method: string): Envelope {
  return failed(id, UNKNOWN_METHOD, 'Unregistered method called', method)
}

export function unserializable(id: string, method: string): Envelope {
  return failed(id, NOT_SERIALIZABLE, 'Method result cannot be serialized', method)
}

/** The reply with the message of an error, and with `debug` its stack. */
export function raised(id: string, method: string, error: unknown, debug: boolean): Envelope {
  const exception = textOf(error)
  const trace = debug && error instanceof Error && error.stack !== undefined ? { trace: error.stack } : {}
  return failed(id, EXCEPTION, 'Exception raised', { method, exception, ...trace })
}

/** Any value can be thrown, also one that cannot be converted to a string. */
function textOf(error: unknown): string {
  try {
    return String(error instanceof Error ? error.message || error.name : error)
  } catch {
    return 'an error without a message'
  }
}

/** wslink (Python) omits empty data. */
function failed(id: string, code: number, message: string, data?: unknown): Envelope {
  return { wslink: '1.0', id, error: data === undefined || data === '' ? { code, message } : { code, message, data } }
}
