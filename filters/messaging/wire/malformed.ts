const INVALID_PAYLOAD = 1007
export const TOO_LARGE = 1009
/** Characters. */
const MAX_SHOWN = 60

/** What a peer sent cannot be understood; the message says why in one sentence. */
export class Malformed extends Error {
  /** With which the connection is closed. */
  readonly closeCode: number

  constructor(reason: string, closeCode = INVALID_PAYLOAD) {
    super(reason)
    this.closeCode = closeCode
  }
}

/** More than is taken. */
export function tooLarge(reason: string): Malformed {
  return new Malformed(reason, TOO_LARGE)
}

/** What a peer sent, short enough to be shown; never looked into, as it may be of any size and depth. */
export function shown(value: unknown): string {
  if (typeof value === 'string')
    return JSON.stringify(value.length > MAX_SHOWN ? `${value.slice(0, MAX_SHOWN)}...` : value)
  if (Array.isArray(value)) return 'a list'
  return typeof value === 'object' && value !== null ? 'an object' : String(value)
}
