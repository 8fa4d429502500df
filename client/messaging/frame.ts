import { MessagingError } from './error.ts'
import { readJson } from './json.ts'

/** Bytes; more is not sent. */
export const MAX_CONTENT = 16 * 1024 * 1024
/** Bytes: the number in front of it goes no further. */
const MAX_HEADER = 65_535
/** Bytes of the number in front of a header: how long it is, big-endian. */
const LENGTH = 2
/** The name of actions and requests that bring files. */
export const FILE = 'filetransfer'

export type Args = readonly unknown[]
/** Of a peer: an object without a prototype, and so are all in it. */
export type Kwargs = Readonly<Record<string, unknown>>
export type Id = string | number
/** `message`: an action. */
export type MessageType = 'message' | 'request' | 'response'

/** What a frame says (clever-show-messaging, section 1). */
export interface Message {
  readonly type: MessageType
  /** Of the action or of the request. */
  readonly name: string
  /** Of an action: somebody waits for its answer. */
  readonly id: Id | undefined
  readonly args: Args
  readonly kwargs: Kwargs
  /** Of a response. */
  readonly value: unknown
  /** All that the header says. */
  readonly header: Kwargs
  /** A content that is no JSON, such as a file. */
  readonly bytes: Uint8Array<ArrayBuffer> | undefined
}

/**
 * A frame. Throws a `RangeError` for what does not fit into one.
 *
 * @param fields - of the header, behind those that all frames have.
 * @param content - an object in JSON, or bytes.
 */
export function encode(
  type: MessageType,
  name: string,
  id: Id | undefined,
  fields: Kwargs,
  content: string | Uint8Array,
): Uint8Array<ArrayBuffer> {
  const isJson = typeof content === 'string'
  const isRequest = type === 'request'
  const names = { [type === 'message' ? 'action' : 'requested_value']: name, request_id: id }
  const text = isRequest ? `${JSON.stringify(names).slice(0, -1)},${content.slice(1)}` : isJson ? content : ''
  const length = isJson ? lengthOf(text) : content.length
  if (length > MAX_CONTENT) throw new RangeError(`a content has ${MAX_CONTENT} bytes, received ${length}`)
  const header = JSON.stringify({
    // Nobody reads it, and the original wants it to be there.
    byteorder: 'little',
    'content-type': isJson ? 'json' : 'binary',
    'content-encoding': 'utf-8',
    'content-length': length,
    'message-type': type,
    ...(!isRequest && names),
    ...fields,
  })
  // In one piece, as each has a price of its own; the number takes the place of what is in front.
  const frame = utf8Of(`\0\0${header}${text}`, isJson ? 0 : length)
  const headerLength = frame.length - LENGTH - length
  if (headerLength > MAX_HEADER)
    throw new RangeError(`a header has at most ${MAX_HEADER} bytes, received ${headerLength}`)
  frame[0] = headerLength >> 8
  frame[1] = headerLength
  if (!isJson) frame.set(content as Uint8Array, frame.length - length)
  return frame
}

/** Room for more behind it. */
function utf8Of(text: string, more: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(lengthOf(text) + more)
  new TextEncoder().encodeInto(text, bytes)
  return bytes
}

/** Bytes in UTF-8. */
function lengthOf(text: string): number {
  return /[^\0-\x7f]/.test(text) ? new TextEncoder().encode(text).length : text.length
}

/** A frame that was taken apart when it came. */
export interface Parts {
  readonly header: Kwargs
  readonly content: Uint8Array<ArrayBuffer>
}

/** What a frame says that has come whole; `undefined`: a type of message that there may be some day. Throws an `Error` that says what is wrong. */
export function decode(frame: ArrayBuffer | Parts): Message | undefined {
  const { header, content } = frame instanceof ArrayBuffer ? partsOf(frame) : frame
  const { 'message-type': type, 'content-encoding': encoding } = header
  if (header['content-type'] !== 'json') return messageOf(type, header, {}, content)
  return messageOf(type, header, readJson(textOf(content, `${encoding}`)))
}

function partsOf(frame: ArrayBuffer): Parts {
  const end = LENGTH + new DataView(frame).getUint16(0)
  const header = readJson(textOf(new Uint8Array(frame, LENGTH, end - LENGTH)))
  return { header, content: new Uint8Array(frame, end) }
}

/** `undefined` for other types. Of a request the name and the id are in its content, of all else in the header. */
export function messageOf(
  type: unknown,
  header: Kwargs,
  content: Kwargs,
  bytes?: Uint8Array<ArrayBuffer>,
): Message | undefined {
  if (!/^(message|request|response)$/.test(`${type}`)) return undefined
  const { action, request_id: id, requested_value: name = action } = type === 'request' ? content : header
  // The original sends null for both when it sends a request again.
  const { args, kwargs, value = bytes } = content
  if (typeof name !== 'string') throw new Error(`a ${type} without a name`)
  return { type, name, id: id ?? undefined, args: args ?? [], kwargs: kwargs ?? {}, value, header, bytes } as Message
}

function textOf(bytes: Uint8Array, encoding?: string): string {
  return new TextDecoder(encoding, { fatal: true }).decode(bytes)
}

/** The error that an answer brings; `undefined`: it is none. */
export function errorIn({ header: { error } }: Message): MessagingError | undefined {
  const { code, message } = Object(error)
  return error ? new MessagingError(`${code}`, `${message}`) : undefined
}
