/** Why an upload is refused, as clients are told it. */
export type Code = 'type' | 'name' | 'size' | 'count' | 'quota' | 'busy' | 'content' | 'off' | 'lost' | 'format'

/** What the system says when there is no room, and when there are too many open files. */
const FULL = ['ENOSPC', 'EDQUOT', 'EFBIG']
const BUSY = ['EMFILE', 'ENFILE']

/** An upload that is not taken; nothing of it stays. */
export class Refused extends Error {
  readonly code: Code

  /** @param reason - one sentence that is safe to show: nothing in it was made up by the client. */
  constructor(code: Code, reason: string, cause?: unknown) {
    super(reason, { cause })
    this.code = code
  }

  get reason(): string {
    return this.message
  }
}

/** What a client is told of a failure; paths and the system's own words stay here, as its `cause`. */
export function refusedBy(error: unknown): Refused {
  if (error instanceof Refused) return error
  const { code = '' } = error as NodeJS.ErrnoException
  if (FULL.includes(code)) return new Refused('quota', 'the disk is full', error)
  if (BUSY.includes(code)) return new Refused('busy', 'too many files are open, try again later', error)
  return new Refused('lost', 'the file could not be written', error)
}
