import { readJson } from './json.ts'

/** Bytes; more is neither sent nor read. */
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
 * @param content - JSON, or bytes.
 */
export function encode(type: MessageType, fields: Kwargs, content: string | Uint8Array): Uint8Array<ArrayBuffer> {
  const utf8 = new TextEncoder()
  const isJson = typeof content === 'string'
  const bytes = isJson ? utf8.encode(content) : content
  const header = utf8.encode(
    JSON.stringify({
      // Nobody reads it, and the original wants it to be there.
      byteorder: 'little',
      'content-type': isJson ? 'json' : 'binary',
      'content-encoding': 'utf-8',
      'content-length': bytes.length,
      'message-type': type,
      ...fields,
    }),
  )
  const end = LENGTH + header.length
  if (header.length > MAX_HEADER)
    throw new RangeError(`a header has at most ${MAX_HEADER} bytes, received ${header.length}`)
  if (bytes.length > MAX_CONTENT) throw new RangeError(`a content has ${MAX_CONTENT} bytes, received ${bytes.length}`)
  const frame = new Uint8Array(end + bytes.length)
  new DataView(frame.buffer).setUint16(0, header.length)
  frame.set(header, LENGTH)
  frame.set(bytes, end)
  return frame
}

/** What a frame says; `undefined`: a type of message that there may be some day. Throws an `Error` that says what is wrong. */
export function decode(frame: ArrayBuffer): Message | undefined {
  const end = LENGTH + new DataView(frame).getUint16(0)
  const header = readJson(textOf(new Uint8Array(frame, LENGTH, end - LENGTH), 'utf-8'))
  const { 'content-length': length, 'content-type': contentType, 'content-encoding': encoding } = header
  const bytes = new Uint8Array(frame, end)
  if (bytes.length !== length || length > MAX_CONTENT)
    throw new Error(`${bytes.length} bytes of content, announced ${length}`)
  const isJson = contentType === 'json'
  const content = isJson ? readJson(textOf(bytes, `${encoding}`)) : {}
  return messageOf(header['message-type'], header, content, isJson ? undefined : bytes)
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

function textOf(bytes: Uint8Array, encoding: string): string {
  return new TextDecoder(encoding, { fatal: true }).decode(bytes)
}
