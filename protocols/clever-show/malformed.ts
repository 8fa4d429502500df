const INVALID_PAYLOAD = 1007
export const TOO_LARGE = 1009
/** Characters. */
const MAX_SHOWN = 60

/** What a peer sent is not a message of this protocol; the error message says why in one sentence. */
export class Malformed extends Error {
  /** With which the connection is closed. */
  readonly closeCode: number

  constructor(reason: string, closeCode = INVALID_PAYLOAD) {
    super(reason)
    this.closeCode = closeCode
  }
}

/** A message exceeds a bound. */
export function tooLarge(reason: string): Malformed {
  return new Malformed(reason, TOO_LARGE)
}

/** A value of a peer does not have the form that `rule` states. */
export function breach(rule: string, value: unknown): Malformed {
  return new Malformed(`${rule}, received ${shown(value)}`)
}

/** A value of a peer, short enough for an error; never inspected, as it may be of any size and depth. */
export function shown(value: unknown): string {
  if (typeof value === 'string')
    return JSON.stringify(value.length > MAX_SHOWN ? `${value.slice(0, MAX_SHOWN)}...` : value)
  if (Array.isArray(value)) return 'an array'
  return isObject(value) ? 'an object' : String(value)
}

/** Whether a value is an object, and no array. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
