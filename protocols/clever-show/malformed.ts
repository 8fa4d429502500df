const INVALID_PAYLOAD = 1007
export const TOO_LARGE = 1009
/** Characters of a value in an error. */
const MAX_SHOWN = 60

/** A message of a peer violates the protocol. The error message is the reason of the close frame. */
export class Malformed extends Error {
  /** The connection is closed with it. */
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

/** A value of a peer, shortened for errors. Arrays and objects are not inspected, as they may have any size and depth. */
export function shown(value: unknown): string {
  if (typeof value === 'string')
    return JSON.stringify(value.length > MAX_SHOWN ? `${value.slice(0, MAX_SHOWN)}...` : value)
  if (Array.isArray(value)) return 'an array'
  return isObject(value) ? 'an object' : String(value)
}

/** Whether a value is an object, not an array. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
