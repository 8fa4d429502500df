import { FwsError } from 'filtered-websocket'

/** Characters of a user. */
const MAX_USER = 256
/** Bytes of info. */
const MAX_INFO = 4096

/** The user of a client in a topic. */
export interface Description {
  readonly user?: string | undefined
  /** JSON as a string. */
  readonly info?: string | undefined
}

/** Checks a description. @throws FwsError `ERR_PAYLOAD`. */
export function readDescription({ user, info }: Description): Description {
  if (user !== undefined && (typeof user !== 'string' || user === '' || user.length > MAX_USER))
    throw new FwsError('ERR_PAYLOAD', `a user is a string of 1 to ${MAX_USER} characters, received ${sizeOf(user)}`)
  if (info === undefined) return { user, info }
  if (typeof info !== 'string' || Buffer.byteLength(info) > MAX_INFO)
    throw new FwsError('ERR_PAYLOAD', `info is JSON as a string of at most ${MAX_INFO} bytes, received ${sizeOf(info)}`)
  try {
    // Without spaces and line breaks between its values.
    return { user, info: JSON.stringify(JSON.parse(info)) }
  } catch {
    throw new FwsError(
      'ERR_PAYLOAD',
      `info is JSON as a string, received a string of ${info.length} characters that is not JSON`,
    )
  }
}

function sizeOf(value: unknown): string {
  return typeof value === 'string' ? `${value.length} characters` : typeof value
}
