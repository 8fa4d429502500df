import type { IncomingHttpHeaders } from 'node:http'
import type { Payload } from '../contract/payload.ts'
import { commandError } from './command-error.ts'
import { payloadIn } from './json-payload.ts'

/** Version of the format of recordings, see docs/reference/recordings.md. A reader refuses a higher one. */
export const RECORDING_VERSION = 1

/** The fields that an event must have. */
const NEEDED = {
  connect: ['client'],
  open: ['client'],
  message: ['client', 'payload'],
  disconnect: ['client'],
  consumer: ['channel', 'payload'],
  publish: ['topic', 'payload'],
  request: [],
} as const satisfies Record<string, readonly (keyof RecordedEvent)[]>

const isString = (value: unknown) => typeof value === 'string'
const isNumber = (value: unknown) => Number.isFinite(value)
/** The content of each field, and its check. */
const FIELDS = new Map<string, readonly [what: string, isRight: (value: unknown) => boolean]>([
  ['client', ['a string', isString]],
  ['at', ['a number', isNumber]],
  ['url', ['a path that begins with /', value => isString(value) && (value as string).startsWith('/')]],
  ['remote', ['a string', isString]],
  ['kind', ['a string', isString]],
  ['transport', ['a string', isString]],
  ['identity', ['a string that is not empty', value => isString(value) && value !== '']],
  ['protocols', ['an array of strings', value => Array.isArray(value) && value.every(isString)]],
  ['headers', ['an object of strings', value => isRecord(value) && Object.values(value).every(isString)]],
  ['code', ['a number', isNumber]],
  ['reason', ['a string', isString]],
  ['channel', ['a string', isString]],
  ['topic', ['a string', isString]],
])

/** One line of a recording, or of the input of `fws-server run`. */
export interface RecordedEvent {
  readonly event: keyof typeof NEEDED
  readonly client?: string
  /** Milliseconds since 1970. */
  readonly at?: number
  readonly payload?: Payload
  /** The payload held a secret, and is not recorded. */
  readonly redacted?: true
  /** Path and query of the handshake. */
  readonly url?: string
  readonly remote?: string
  /** As `handshake.kind`. Default: `websocket`. */
  readonly kind?: string
  /** As `client.transport`. Default: `websocket`. */
  readonly transport?: string
  readonly identity?: string
  /** Subprotocols offered. */
  readonly protocols?: readonly string[]
  readonly headers?: IncomingHttpHeaders
  readonly code?: number
  readonly reason?: string
  readonly channel?: string
  readonly topic?: string
}

/**
 * Reads a line; `undefined` for the first line of a recording, which has its version.
 *
 * @throws SyntaxError: the line is not an event. Error `ERR_COMMAND`: a recording of a newer version.
 * @example
 * readRecorded('{"client":"ann","data":"hello"}') // { event: 'message', client: 'ann', payload: 'hello', ... }
 */
export function readRecorded(line: string): RecordedEvent | undefined {
  const fields = objectIn(line)
  if (fields.recording !== undefined) {
    checkVersion(fields.recording)
    return undefined
  }
  const { event = 'message' } = fields
  const needed = Object.hasOwn(NEEDED, String(event)) ? NEEDED[event as keyof typeof NEEDED] : undefined
  if (needed === undefined)
    throw new SyntaxError(`"event" is one of ${Object.keys(NEEDED).join(', ')}, received ${JSON.stringify(event)}`)
  for (const name in fields) {
    const field = FIELDS.get(name)
    // A request is not played, and its target may be `*` or a URL.
    if (field !== undefined && !field[1](fields[name]) && event !== 'request')
      throw new SyntaxError(`"${name}" must be ${field[0]}, received ${JSON.stringify(fields[name])}`)
  }
  fields.event = event
  fields.payload = payloadIn(fields)
  for (const name of needed)
    if (fields[name] === undefined && !(name === 'payload' && fields.redacted === true))
      throw new SyntaxError(`event ${event} needs ${name === 'payload' ? '"data" or "binary"' : `"${name}"`}`)
  return fields as unknown as RecordedEvent
}

function objectIn(line: string): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {}
  if (isRecord(value)) return value
  const start = line.slice(0, 40)
  throw new SyntaxError(`a line is a JSON object, received ${start === line ? start : `${start}...`}`)
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function checkVersion(version: unknown): void {
  if (version === RECORDING_VERSION) return
  throw commandError(
    `the recording has version ${JSON.stringify(version)}, and this fws-server reads version ${RECORDING_VERSION}`,
  )
}
