import { writeJson } from '../../src/kit/json.ts'
import type { Bytes } from './bytes.ts'
import { carriesFile, type Fields, type Frame, type Header, type Id, textIn, writeFrame } from './frame.ts'
import { type Limits, readObject } from './json.ts'
import { breach, isObject, Malformed, shown } from './malformed.ts'

export type { Id } from './frame.ts'

/** Characters of a name, of an id, and of what is sent of an error. */
export const MAX_TEXT = 1024

export type Args = readonly unknown[]
/** Of a peer: an object without a prototype, and so are all in it. */
export type Kwargs = Fields

/** Fields that clever-show does not know, and ignores. */
export interface Extras {
  /** Sent before under the same id; the sender does not know whether it arrived. */
  readonly resend?: true
  /** The instant at which it is to be done, in seconds since 1970 on the server's clock. */
  readonly at?: number
  /** By which the server has broadcast it. */
  readonly topic?: string
}

/** A part of a file that is sent as actions. */
export interface PushedPart {
  readonly key: string
  /** Bytes before it. */
  readonly offset: number
  /** Bytes of the whole file. */
  readonly size: number
  /** Of the whole file, in hexadecimal: in the last part. */
  readonly sha256?: string
}

/** A part of a file that was requested. */
export interface PulledPart {
  readonly offset: number
  readonly size: number
  /** Another one as soon as the file has changed. */
  readonly version: string
}

/** Something to do; it is answered only if it has an id. */
export interface Action<Content = Uint8Array> extends Extras {
  readonly type: 'message'
  /** Its sender waits until it is done. Actions of clever-show have none. */
  readonly id?: Id
  readonly name: string
  readonly args: Args
  readonly kwargs: Kwargs
  /** The bytes of a file, or a stream of them; its path is `kwargs.filepath`. */
  readonly content?: Content
  /** The content is a part of the file. */
  readonly part?: PushedPart
  /** Of a file that was received: the header of its frame, in which `withPart` finds the path and the part. */
  readonly header?: Fields
}

/** Something to answer. */
export interface Request extends Pick<Extras, 'resend'> {
  readonly type: 'request'
  readonly name: string
  readonly id: Id
  readonly args: Args
  readonly kwargs: Kwargs
}

export interface Response<Content = Uint8Array> {
  readonly type: 'response'
  /** Of the request. */
  readonly name: string
  readonly id: Id
  readonly value: unknown
  /** Why there is no value. clever-show knows no errors, and sees the value null. */
  readonly error?: Failure
  /** The bytes of a file, or a stream of them. */
  readonly content?: Content
  /** The content is a part of the file. */
  readonly part?: PulledPart
  /** Of a file that was received: the header of its frame, in which `withPart` finds the path and the part. */
  readonly header?: Fields
}

export interface Failure {
  /** One word, such as `unknown`. */
  readonly code: string
  readonly message: string
}

export type Messaging<Content = Uint8Array> = Action<Content> | Request | Response<Content>

/**
 * The message in a frame; `undefined`: of a type that this protocol may have some day.
 *
 * @throws Malformed
 */
export function messageOf<Content>(
  { header, content }: Frame<Content>,
  limits: Limits,
): Messaging<Content> | undefined {
  const type = header['message-type']
  if (type === 'request') {
    const json = jsonIn(header, content, limits)
    return requestOf(json, 'requested_value', json.request_id, header)
  }
  if (type === 'message') {
    if (!carriesFile(header)) return actionOf(header, 'action', jsonIn(header, content, limits), header.request_id)
    return { ...actionOf(header, 'action', {}, header.request_id), content, header }
  }
  if (type !== 'response') return undefined
  const response = { type, name: nameIn(header, 'requested_value'), id: idOf(header.request_id) } as const
  if (header['content-type'] !== 'json') return { ...response, value: content, content, header }
  const { value } = jsonIn(header, content, limits)
  if (value === undefined) throw new Malformed('a response has a value')
  return { ...response, value, ...failureOf(header.error) }
}

/**
 * An action, of what its frame or text says.
 *
 * @param fields - have its name, `resend`, `at` and `topic`; null is as good as none.
 * @param json - has `args` and `kwargs`, both optional, or null as when clever-show sends a request again (section 4).
 * @throws Malformed
 */
export function actionOf(fields: Fields, name: string, json: Fields, id: unknown): Action<never> {
  const { at, topic } = fields
  if (!Number.isFinite(at ?? 0)) throw breach('at is a number of seconds', at)
  return {
    type: 'message',
    name: nameIn(fields, name),
    ...argumentsOf(json),
    ...(id != null && { id: idOf(id) }),
    ...resendOf(fields),
    ...(typeof at === 'number' && { at }),
    ...(topic != null && { topic: nameIn(fields, 'topic') }),
  }
}

/** The same of a request. @throws Malformed */
export function requestOf(json: Fields, name: string, id: unknown, fields: Fields): Request {
  return { type: 'request', name: nameIn(json, name), id: idOf(id), ...argumentsOf(json), ...resendOf(fields) }
}

function resendOf({ resend }: Fields): { readonly resend?: true } {
  return resend === true ? { resend } : {}
}

/** A content that is not a file is the JSON of an object. */
function jsonIn(header: Header, content: unknown, { parse }: Limits): Fields {
  const what = `the content of a ${header['message-type']}`
  if (header['content-type'] !== 'json') throw breach(`${what} is json`, header['content-type'])
  return readObject(textIn(header['content-encoding'], content as Uint8Array, what), parse, what)
}

function argumentsOf({ args, kwargs }: Fields): { readonly args: Args; readonly kwargs: Kwargs } {
  if (!Array.isArray(args ?? [])) throw breach('args is an array', args)
  if (!isObject(kwargs ?? {})) throw breach('kwargs is an object', kwargs)
  return { args: (args ?? []) as Args, kwargs: (kwargs ?? Object.create(null)) as Kwargs }
}

/** A field that is a name. @throws Malformed */
export function nameIn(fields: Fields, field: string): string {
  const name = fields[field]
  // A name in a content may have to go back in a header.
  if (typeof name !== 'string' || name === '' || name.length > MAX_TEXT)
    throw breach(`${field} is a string of 1 to ${MAX_TEXT} characters`, name)
  return name
}

/** @throws Malformed */
export function idOf(id: unknown): Id {
  if (typeof id === 'number' || (typeof id === 'string' && id.length <= MAX_TEXT)) return id
  throw breach(`an id is a number or a string of at most ${MAX_TEXT} characters`, id)
}

/** An error of a form that is not understood is still an error. */
export function failureOf(error: unknown): { readonly error?: Failure } {
  if (error == null) return {}
  const { code, message } = Object(error) as Fields
  return {
    error: {
      code: typeof code === 'string' ? cut(code) : 'failed',
      message: typeof message === 'string' ? cut(message) : shown(error),
    },
  }
}

/** What is sent of an error, so that it fits into a header. */
export function cut(text: string): string {
  return text.slice(0, MAX_TEXT)
}

/**
 * A message as a frame.
 *
 * @throws TypeError when JSON cannot express it, RangeError when its names are longer than a header may be.
 */
export function frameOf<B extends Uint8Array>(message: Messaging, bytes: Bytes<B>): B {
  const { type, name, id } = message
  if (type === 'response') {
    const { value, error, part, content = writeJson({ value: value === undefined ? null : value }) } = message
    if (error === undefined) return writeFrame(bytes, type, name, id, { ...part }, content)
    return writeFrame(bytes, type, name, id, { ...part, error }, '{"value": null}')
  }
  const { args, kwargs, resend } = message
  if (type === 'request') return writeFrame(bytes, type, name, id, { resend }, writeJson({ args, kwargs }))
  const { content, part, at, topic } = message
  const file = content !== undefined && { filepath: kwargs.filepath, ...part }
  return writeFrame(bytes, type, name, id, { ...file, resend, at, topic }, content ?? writeJson({ args, kwargs }))
}
