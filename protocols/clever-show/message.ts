import { writeJson } from '../../src/kit/json.ts'
import type { Bytes } from './bytes.ts'
import { carriesFile, type Fields, type Frame, type Header, type Id, textIn, writeFrame } from './frame.ts'
import { type Limits, readObject } from './json.ts'
import { breach, isObject, Malformed, shown } from './malformed.ts'

export type { Id } from './frame.ts'

/** Characters of a name, an id, and an error message that is sent. */
export const MAX_TEXT = 1024

export type Args = readonly unknown[]
/** Received objects, and the objects in them, have no prototype. */
export type Kwargs = Fields

/** Fields that clever-show ignores. */
export interface Extras {
  /** The message was sent before under the same id, and may have been received. */
  readonly resend?: true
  /** When the action is to run, in seconds since 1970 by the server's clock. */
  readonly at?: number
  /** The topic of the broadcast. */
  readonly topic?: string
}

/** A part of a file that is sent in actions. */
export interface PushedPart {
  /** Identifies the upload, so that it can be continued. */
  readonly key: string
  /** Bytes before the part. */
  readonly offset: number
  /** Bytes of the complete file. */
  readonly size: number
  /** Hash of the complete file, hexadecimal; in the last part only. */
  readonly sha256?: string
}

/** A part of a file that was requested. */
export interface PulledPart {
  readonly offset: number
  readonly size: number
  /** Changes with the file. */
  readonly version: string
}

/** An action. It is answered if it has an id. */
export interface Action<Content = Uint8Array> extends Extras {
  readonly type: 'message'
  /** The answer, sent when the action is done, has the same id. Actions of clever-show have none. */
  readonly id?: Id
  readonly name: string
  readonly args: Args
  readonly kwargs: Kwargs
  /** A file, whose path is `kwargs.filepath`. */
  readonly content?: Content
  /** Set if the content is a part of the file. */
  readonly part?: PushedPart
  /** The header of a received file, from which `withPart` reads the path and the part. */
  readonly header?: Fields
}

/** A request, which is answered. */
export interface Request extends Pick<Extras, 'resend'> {
  readonly type: 'request'
  readonly name: string
  readonly id: Id
  readonly args: Args
  readonly kwargs: Kwargs
}

export interface Response<Content = Uint8Array> {
  readonly type: 'response'
  /** Name of the request. */
  readonly name: string
  readonly id: Id
  readonly value: unknown
  /** Why there is no value. clever-show ignores errors, and reads the value null. */
  readonly error?: Failure
  /** A file. */
  readonly content?: Content
  /** Set if the content is a part of the file. */
  readonly part?: PulledPart
  /** The header of a received file, from which `withPart` reads the path and the part. */
  readonly header?: Fields
}

export interface Failure {
  /** One word, such as `unknown`. */
  readonly code: string
  readonly message: string
}

export type Messaging<Content = Uint8Array> = Action<Content> | Request | Response<Content>

/**
 * Reads the message in a frame; `undefined`: an unknown type, which a later version may define.
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
 * Reads an action of a frame or of a JSON string.
 *
 * @param fields - contains its name, `resend`, `at` and `topic`; null counts as missing.
 * @param name - the field that contains its name.
 * @param json - contains `args` and `kwargs`. Both may be missing, or null, as when clever-show resends a request (section 4).
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

/** Reads a request of a frame or of a JSON string. @throws Malformed */
export function requestOf(json: Fields, name: string, id: unknown, fields: Fields): Request {
  return { type: 'request', name: nameIn(json, name), id: idOf(id), ...argumentsOf(json), ...resendOf(fields) }
}

function resendOf({ resend }: Fields): { readonly resend?: true } {
  return resend === true ? { resend } : {}
}

/** A content that is not a file is a JSON object. */
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

/** Reads a field that is a name. @throws Malformed */
export function nameIn(fields: Fields, field: string): string {
  const name = fields[field]
  // The answer has the name in its header, which is limited.
  if (typeof name !== 'string' || name === '' || name.length > MAX_TEXT)
    throw breach(`${field} is a string of 1 to ${MAX_TEXT} characters`, name)
  return name
}

/** @throws Malformed */
export function idOf(id: unknown): Id {
  if (typeof id === 'number' || (typeof id === 'string' && id.length <= MAX_TEXT)) return id
  throw breach(`an id is a number or a string of at most ${MAX_TEXT} characters`, id)
}

/** Reads an error; an unknown form is still an error, with the code `failed`. */
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

/** Shortens an error message, so that it fits into a header. */
export function cut(text: string): string {
  return text.slice(0, MAX_TEXT)
}

/**
 * Writes a message as a frame.
 *
 * @throws TypeError when JSON cannot express it, RangeError when its names exceed the maximum of a header.
 */
export function frameOf<B extends Uint8Array>(message: Messaging, bytes: Bytes<B>): B {
  const { type, name, id } = message
  if (type === 'response') {
    const { value = null, error, part, content = `{"value": ${writeJson(value)}}` } = message
    if (error === undefined) return writeFrame(bytes, type, name, id, { ...part }, content)
    return writeFrame(bytes, type, name, id, { ...part, error }, '{"value": null}')
  }
  const { args, kwargs, resend } = message
  if (type === 'request') return writeFrame(bytes, type, name, id, { resend }, writeJson({ args, kwargs }))
  const { content, part, at, topic } = message
  const file = content !== undefined && { filepath: kwargs.filepath, ...part }
  return writeFrame(bytes, type, name, id, { ...file, resend, at, topic }, content ?? writeJson({ args, kwargs }))
}
