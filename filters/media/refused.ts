import { fileErrorOf } from 'filtered-websocket/kit'

/** Why an upload is refused. */
export type Code = 'type' | 'name' | 'size' | 'count' | 'quota' | 'busy' | 'content' | 'off' | 'lost' | 'format'

/** Codes of FileError that clients see, as codes of theirs. */
const FILE_CODES: Readonly<Record<string, Code>> = { full: 'quota', count: 'count', busy: 'busy' }

/** An upload that is refused; none of its bytes are kept. */
export class Refused extends Error {
  readonly code: Code

  /** @param reason - one sentence that is safe to show, without input of the client. */
  constructor(code: Code, reason: string, cause?: unknown) {
    super(reason, { cause })
    this.code = code
  }

  get reason(): string {
    return this.message
  }
}

/** The failure as a client may see it; `cause` is for the operator. */
export function refusedBy(error: unknown): Refused {
  if (error instanceof Refused) return error
  const { code, message, cause } = fileErrorOf(error)
  const ours = FILE_CODES[code]
  return ours === undefined
    ? new Refused('lost', 'the file could not be written', error)
    : new Refused(ours, message, cause)
}
