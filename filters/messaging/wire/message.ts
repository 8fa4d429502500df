import type { JsonBounds } from 'filtered-websocket/kit'
import { textIn } from './encoding.ts'
import { FILE, type Frame, writeFrame } from './frame.ts'
import type { Incoming } from './incoming.ts'
import { bare, OF_PEERS, readJson } from './json.ts'
import { Malformed, shown } from './malformed.ts'
import { type PulledPart, type PushedPart, pulledPartIn, pushedPartIn } from './part.ts'

export { FILE } from './frame.ts'

/** Characters of a name, of an id, and of what is told of an error. */
export const MAX_TEXT = 1024

export type Args = readonly unknown[]
/** Of a peer: an object without a prototype, and so are all in it. */
export type Kwargs = Readonly<Record<string, unknown>>
/** As the peer wrote it; the same text or number goes back. */
export type Id = string | number

/** What the original does not know, and ignores. */
export interface Extras {
  /** Sent before under the same id, by one who does not know whether it came. */
  readonly resend?: true
  /** When it is to be done, in seconds since 1970 on the server's clock. */
  readonly at?: number
  /** By which the server has broadcast it. */
  readonly topic?: string
}

/** Something to do; nobody answers it, unless it has an id. */
export interface Action extends Extras {
  readonly type: 'message'
  /** Who said it wants to hear when it is done. The original has none. */
  readonly id?: Id
  readonly name: string
  readonly args: Args
  readonly kwargs: Kwargs
  /** Of a file its bytes, as they come over TCP a stream of them; where it belongs is `kwargs.filepath`. */
  readonly content?: Buffer | Incoming
  /** They are not all of it. */
  readonly part?: PushedPart
}

/** Something to answer. */
export interface Request extends Pick<Extras, 'resend'> {
  readonly type: 'request'
  readonly name: string
  readonly id: Id
  readonly args: Args
  readonly kwargs: Kwargs
}

export interface Response {
  readonly type: 'response'
  /** Of the request. */
  readonly name: string
  readonly id: Id
  readonly value: unknown
  /** There is none: why. The original knows no errors, and takes it for the value null. */
  readonly error?: Failure
  /** Of a file its bytes, as they come over TCP a stream of them. */
  readonly content?: Buffer | Incoming
  /** They are not all of it. */
  readonly part?: PulledPart
}

export interface Failure {
  /** One word, such as `unknown`. */
  readonly code: string
  readonly message: string
}

/** What a peer said: `message.messaging`. */
export type Messaging = Action | Request | Response

/**
 * What is in a frame; `undefined`: a type of message that this protocol may have some day.
 *
 * @param bounds - of the JSON in its content.
 * @throws Malformed
 */
export function messageOf(frame: Frame, bounds = OF_PEERS): Messaging | undefined {
  const { messageType, fields } = frame.header
  switch (messageType) {
    case 'message':
      return actionOf(frame, nameOf(fields.action, 'the action of a message'), bounds)
    case 'request':
      return { ...requestOf(jsonIn(frame, bounds)), ...resendOf(fields.resend) }
    case 'response':
      return responseOf(frame, idOf(fields.request_id), nameOf(fields.requested_value, 'the requested_value'), bounds)
    default:
      return undefined
  }
}

function actionOf(frame: Frame, name: string, bounds: JsonBounds): Action {
  const { fields, contentType } = frame.header
  const extras = extrasOf(fields.request_id, fields)
  if (name !== FILE || contentType === 'json')
    return { type: 'message', name, ...argumentsOf(jsonIn(frame, bounds)), ...extras }
  const kwargs = bare({ filepath: nameOf(fields.filepath, 'the filepath of a file') }) as Kwargs
  return { type: 'message', name, args: [], kwargs, content: contentOf(frame), ...pushedPartIn(fields), ...extras }
}

/** Of an action; null is as good as nothing. @throws Malformed */
export function extrasOf(id: unknown, { resend, at, topic }: Readonly<Record<string, unknown>>) {
  if (!Number.isFinite(at ?? 0)) throw new Malformed(`the instant of an action is in seconds, received ${shown(at)}`)
  return {
    ...((id ?? undefined) !== undefined && { id: idOf(id) }),
    ...resendOf(resend),
    ...(typeof at === 'number' && { at }),
    ...((topic ?? undefined) !== undefined && { topic: nameOf(topic, 'the topic of an action') }),
  }
}

export function resendOf(resend: unknown): Pick<Extras, 'resend'> {
  return resend === true ? { resend } : {}
}

function requestOf(content: Record<string, unknown>): Request {
  const name = nameOf(content.requested_value, 'the requested_value')
  return { type: 'request', name, id: idOf(content.request_id), ...argumentsOf(content) }
}

function responseOf(frame: Frame, id: Id, name: string, bounds: JsonBounds): Response {
  if (frame.header.contentType !== 'json')
    return {
      type: 'response',
      name,
      id,
      value: contentOf(frame),
      content: contentOf(frame),
      ...pulledPartIn(frame.header.fields),
    }
  const content = jsonIn(frame, bounds)
  if (!('value' in content)) throw new Malformed('a response has a value')
  return { type: 'response', name, id, value: content.value, ...failureOf(frame.header.fields.error) }
}

function contentOf({ content, stream }: Frame): Buffer | Incoming {
  return stream ?? content
}

/** A file as a content is nothing but that: all else is an object in JSON. */
function jsonIn({ header, content }: Frame, bounds: JsonBounds): Record<string, unknown> {
  const { contentType, contentEncoding, messageType } = header
  if (contentType !== 'json')
    throw new Malformed(`the content of a ${messageType} is json, received ${shown(contentType)}`)
  const what = `the content of a ${messageType}`
  const value = readJson(textIn(contentEncoding, content, what), bounds, what)
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Malformed(`${what} is an object, received ${shown(value)}`)
  return value as Record<string, unknown>
}

/** Both may be missing, or null as when the original sends a request again (section 4). */
export function argumentsOf(content: Record<string, unknown>): { readonly args: Args; readonly kwargs: Kwargs } {
  const { args, kwargs } = content
  if (!Array.isArray(args ?? [])) throw new Malformed(`args is a list, received ${shown(args)}`)
  if (typeof (kwargs ?? {}) !== 'object' || Array.isArray(kwargs))
    throw new Malformed(`kwargs is an object, received ${shown(kwargs)}`)
  return { args: (args ?? []) as Args, kwargs: (kwargs ?? Object.create(null)) as Kwargs }
}

export function nameOf(value: unknown, what: string): string {
  if (typeof value !== 'string' || value === '') throw new Malformed(`${what} is a text, received ${shown(value)}`)
  return short(value, what)
}

export function idOf(value: unknown): Id {
  const what = 'the id of a request'
  if (typeof value === 'number') return value
  if (typeof value === 'string') return short(value, what)
  throw new Malformed(`${what} is a text, received ${shown(value)}`)
}

/** It may come in a content, and must go back in a header. */
function short(text: string, what: string): string {
  if (text.length > MAX_TEXT) throw new Malformed(`${what} has at most ${MAX_TEXT} characters, received ${text.length}`)
  return text
}

/** What is not understood of an error is an error still. */
export function failureOf(error: unknown): { readonly error?: Failure } {
  if (error === undefined || error === null) return {}
  const { code, message } = (typeof error === 'object' ? error : {}) as Record<string, unknown>
  return {
    error: {
      code: typeof code === 'string' ? cut(code) : 'failed',
      message: typeof message === 'string' ? cut(message) : shown(error),
    },
  }
}

/** What is told of an error, so that it fits into a header. */
export function cut(text: string): string {
  return text.slice(0, MAX_TEXT)
}

/**
 * A message as a frame.
 *
 * @throws TypeError when JSON cannot say it, RangeError when its names are longer than a header may be.
 */
export function frameOf(message: Messaging): Buffer {
  if (message.type === 'request') {
    const { name, id, args, kwargs, resend } = message
    const content = { requested_value: name, request_id: id, args, kwargs }
    return writeFrame({ messageType: 'request', fields: { resend }, content })
  }
  if (message.type === 'response') {
    const { name, id, value, error, part, content = { value: value === undefined ? null : value } } = message
    const fields = { requested_value: name, request_id: id, ...part, ...(error !== undefined && { error }) }
    return writeFrame({ messageType: 'response', fields, content: error === undefined ? content : { value: null } })
  }
  const { name, id, args, kwargs, content, part, resend, at, topic } = message
  const file = content !== undefined && { filepath: kwargs.filepath, ...part }
  const fields = { action: name, ...file, request_id: id, resend, at, topic }
  return writeFrame({ messageType: 'message', fields, content: content ?? { args, kwargs } })
}
