import { isObject, readObject } from './json.ts'

/** Bytes; more is neither sent nor read. */
const MAX_CONTENT = 16 * 1024 * 1024
const MAX_HEADER = 0xffff
/** Bytes of the number in front of a header: how long it is, big-endian. */
const LENGTH = 2

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
  /** Of a message: somebody waits for its answer. */
  readonly id: Id | undefined
  readonly args: Args
  readonly kwargs: Kwargs
  /** Of a response. */
  readonly value?: unknown
  /** All that the header says. */
  readonly header: Kwargs
  /** What is no JSON, such as a file. */
  readonly bytes?: Uint8Array<ArrayBuffer>
}

const utf8 = new TextEncoder()

/**
 * A frame. Throws a `RangeError` for what does not fit into one.
 *
 * @param fields - of the header, behind those that all frames have.
 * @param content - JSON, or bytes.
 */
export function encode(type: MessageType, fields: Kwargs, content: string | Uint8Array): Uint8Array<ArrayBuffer> {
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
  if (header.length > MAX_HEADER || bytes.length > MAX_CONTENT)
    throw new RangeError(`a frame takes ${MAX_CONTENT} bytes, received ${bytes.length}, in its header ${header.length}`)
  const frame = new Uint8Array(LENGTH + header.length + bytes.length)
  new DataView(frame.buffer).setUint16(0, header.length)
  frame.set(header, LENGTH)
  frame.set(bytes, LENGTH + header.length)
  return frame
}

/** What a frame says; `undefined`: a type of message that there may be some day. Throws an `Error` that says what is wrong. */
export function decode(frame: ArrayBuffer): Message | undefined {
  const end = LENGTH + new DataView(frame).getUint16(0)
  const header = readObject(textOf(new Uint8Array(frame, LENGTH, end - LENGTH)))
  const bytes = new Uint8Array(frame, end)
  if (bytes.length !== header['content-length'] || bytes.length > MAX_CONTENT)
    throw new Error(`a content of ${bytes.length} bytes, its header tells ${header['content-length']}`)
  const type = header['message-type'] as MessageType
  if (type !== 'message' && type !== 'request' && type !== 'response') return undefined
  if (header['content-type'] !== 'json') return messageOf(type, header, {}, bytes)
  return messageOf(type, header, readObject(textOf(bytes, String(header['content-encoding']))))
}

/** Of an action the name and the id are in the header, of a request in the content. */
export function messageOf(
  type: MessageType,
  header: Kwargs,
  content: Kwargs,
  bytes?: Uint8Array<ArrayBuffer>,
): Message {
  const { action, request_id: id, requested_value: name = action } = type === 'request' ? content : header
  // The original sends null for both when it sends a request again.
  const { args, kwargs, value } = content
  if (typeof name !== 'string') throw new Error(`a ${type} without a name`)
  const message = {
    type,
    name,
    id: typeof id === 'number' ? id : id && String(id),
    args: Array.isArray(args) ? args : [],
    kwargs: isObject(kwargs) ? kwargs : Object.create(null),
    value,
    header,
  }
  return (bytes === undefined ? message : { ...message, value: bytes, bytes }) as Message
}

function textOf(bytes: Uint8Array, encoding = 'utf-8'): string {
  return new TextDecoder(encoding, { fatal: true }).decode(bytes)
}
