/** Errors of commands by code (Centrifugal client protocol). A client tries a temporary one again. */
export const ERRORS = {
  100: 'internal server error',
  101: 'unauthorized',
  102: 'unknown channel',
  103: 'permission denied',
  104: 'method not found',
  105: 'already subscribed',
  106: 'limit exceeded',
  107: 'bad request',
  108: 'not available',
  109: 'token expired',
  110: 'expired',
  111: 'too many requests',
  112: 'unrecoverable position',
} as const

export type ErrorCode = keyof typeof ERRORS

export interface ProtocolError {
  readonly code: number
  readonly message: string
  readonly temporary?: true
}

export function errorOf(code: ErrorCode): ProtocolError {
  const isTemporary = code === 100 || code === 111
  return { code, message: ERRORS[code], ...(isTemporary && { temporary: true }) }
}

/** Close codes: a client comes back after 3000 to 3499 and 4000 to 4499, not after 3500 to 3999 and 4500 to 4999. */
export const CLOSE = {
  expired: 3005,
  noPong: 3012,
  invalidToken: 3500,
  badRequest: 3501,
} as const

/** Why a subscription ends: below 2500 for good, from there on the client subscribes again. */
export const UNSUBSCRIBED = {
  server: 2000,
  insufficientState: 2500,
  expired: 2501,
} as const
