const INVALID_PAYLOAD = 1007
const TOO_LARGE = 1009

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

/** A name or a number that a peer sent, short enough to be shown. */
export function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value)
  return text.length > 60 ? `${text.slice(0, 60)}...` : text
}
