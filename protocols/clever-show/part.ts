import { countIn, type Fields } from './frame.ts'
import { bare } from './json.ts'
import { breach } from './malformed.ts'
import { type Messaging, nameIn, type PulledPart, type PushedPart } from './message.ts'

export type { PulledPart, PushedPart } from './message.ts'

/** Identifies an upload, so that it can be continued. */
const KEY = /^[A-Za-z0-9_-]{1,64}$/
const SHA256 = /^[0-9a-f]{64}$/
const VERSION = /^.{0,64}$/s

/** A message with the path and the part that its header states. @throws Malformed */
export function withPart<Content>(message: Messaging<Content>): Messaging<Content> {
  if (message.type === 'request' || message.header === undefined) return message
  const { header, ...rest } = message
  if (rest.type === 'response') return { ...rest, ...pulledPartIn(header) }
  return { ...rest, kwargs: bare({ filepath: nameIn(header, 'filepath') }), ...pushedPartIn(header) }
}

/** Whether a value is the key of an upload. */
export function isKey(value: unknown): value is string {
  return typeof value === 'string' && KEY.test(value)
}

/** The key of an upload. @throws Malformed */
export function keyIn(header: Fields): string {
  return stringIn(header, 'key', KEY)
}

/** Reads the part in the header of an action; `{}`: the content is a complete file. @throws Malformed */
export function pushedPartIn(header: Fields): { readonly part?: PushedPart } {
  if (header.offset === undefined) return {}
  const isLast = header.sha256 != null
  const part = { key: keyIn(header), ...positionIn(header) }
  return { part: isLast ? { ...part, sha256: stringIn(header, 'sha256', SHA256) } : part }
}

/** Reads the part in the header of a response; `{}`: the content is a complete file. @throws Malformed */
export function pulledPartIn(header: Fields): { readonly part?: PulledPart } {
  if (header.offset === undefined) return {}
  return { part: { ...positionIn(header), version: stringIn(header, 'version', VERSION) } }
}

function positionIn(header: Fields): { readonly offset: number; readonly size: number } {
  return { offset: countIn(header, 'offset'), size: countIn(header, 'size') }
}

function stringIn(header: Fields, name: string, pattern: RegExp): string {
  const value = header[name]
  if (typeof value !== 'string' || !pattern.test(value)) throw breach(`${name} matches ${pattern}`, value)
  return value
}
