import type { Bytes } from './bytes.ts'
import { type Limits, readObject } from './json.ts'
import { breach, Malformed, shown, tooLarge } from './malformed.ts'

/** Name of the action and the request that carry a file as the content of the frame. */
export const FILE = 'filetransfer'
/** Maximum bytes of a part of a file. */
export const MAX_PART = 262_144

/** Bytes of the length in front of a header, big-endian. */
export const LENGTH_BYTES = 2
const MAX_HEADER = 0xffff
const OPENING_BRACE = 0x7b
const STRINGS = ['byteorder', 'content-type', 'content-encoding', 'message-type']
const utf8 = /* @__PURE__ */ new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

export type Fields = Readonly<Record<string, unknown>>
/** The answer has the same id: a number or a string, as the peer has sent it. */
export type Id = string | number

/** The header of a frame (clever-show-messaging, section 1.1). Further fields depend on the message. */
export interface Header extends Fields {
  /** `json`; other values mean bytes. */
  readonly 'content-type': string
  readonly 'content-encoding': string
  /** Bytes. */
  readonly 'content-length': number
  readonly 'message-type': string
}

/** A frame; `Content` is a stream if a file is read as it arrives. */
export interface Frame<Content = Uint8Array> {
  readonly header: Header
  readonly content: Content
  /** The complete frame, without a content that is a stream. */
  readonly bytes: Uint8Array
}

/**
 * Reads a header, without the length in front of it.
 *
 * @throws Malformed
 */
export function readHeader(bytes: Uint8Array, { maxContent, maxFile = maxContent, parse }: Limits): Header {
  const what = 'the header of a frame'
  const header = readObject(textIn('utf-8', bytes, what), parse, what) as unknown as Header
  for (const name of STRINGS) if (typeof header[name] !== 'string') throw breach(`${name} is a string`, header[name])
  const length = countIn(header, 'content-length')
  const isFile = carriesFile(header)
  const max = isFile ? maxFile : maxContent
  if (length > max) throw tooLarge(`a ${isFile ? 'file' : 'content'} has at most ${max} bytes, ${length} are announced`)
  return header
}

/** A field that is a number of bytes. @throws Malformed */
export function countIn(fields: Fields, name: string): number {
  const count = fields[name]
  if (!isCount(count)) throw breach(`${name} is a number of bytes`, count)
  return count
}

/** Whether a value is a number of bytes. */
export function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

/** Whether the content is a file, or a part of one. */
export function carriesFile(header: Header): boolean {
  if (header['content-type'] === 'json') return false
  const type = header['message-type']
  return (type === 'message' ? header.action : type === 'response' && header.requested_value) === FILE
}

/** Whether bytes may be a frame, for clients that also send other bytes. */
export function looksLikeFrame(bytes: Uint8Array): boolean {
  return bytes.length > LENGTH_BYTES && bytes[LENGTH_BYTES] === OPENING_BRACE && bytes.length >= headerEnd(bytes)
}

/**
 * Reads bytes that are exactly one frame, as in a binary message of a WebSocket.
 *
 * @throws Malformed
 */
export function readFrame<B extends Uint8Array>(bytes: B, limits: Limits): Frame<B> {
  const end = headerEnd(bytes)
  if (!(bytes.length >= end)) throw new Malformed('a frame ends in its header')
  const header = readHeader(bytes.subarray(LENGTH_BYTES, end), limits)
  const content = bytes.subarray(end) as B
  const length = header['content-length']
  if (content.length !== length)
    throw new Malformed(`the frame announces ${length} bytes, and ${content.length} are in it`)
  return { header, content, bytes }
}

/** Bytes of the length and the header; NaN if the length is incomplete. */
export function headerEnd(bytes: Uint8Array): number {
  return LENGTH_BYTES + bytes[0]! * 256 + bytes[1]!
}

/**
 * Decodes bytes in an encoding of https://encoding.spec.whatwg.org, whose name may be in any case.
 *
 * @param what - names the bytes in errors.
 * @throws Malformed
 */
export function textIn(encoding: string, bytes: Uint8Array, what: string): string {
  try {
    return (encoding === 'utf-8' ? utf8 : new TextDecoder(encoding, { fatal: true })).decode(bytes)
  } catch {
    throw new Malformed(`${what} is not in the encoding ${shown(encoding)}; send utf-8`)
  }
}

/** Writes a frame: its type, name and id, further fields of the header, its content and the maximum of its bytes. */
type FrameParts = readonly [
  type: 'message' | 'request' | 'response',
  name: string,
  id: Id | undefined,
  fields: Fields,
  content: string | Uint8Array,
  maxContent?: number,
]

/**
 * Writes a frame as clever-show does in Python 3: the same keys in the same order.
 *
 * @param parts - its type, name, id, further fields of the header, its content (the JSON of an object, or bytes), and the maximum of its bytes.
 * @throws RangeError when the header is longer than 65,535 bytes, or the content than its maximum.
 */
export function writeFrame<B extends Uint8Array>(bytes: Bytes<B>, ...parts: FrameParts): B {
  const { header, body, content, length } = textsOf(bytes, parts)
  // One conversion for header and body; the length replaces the two characters in front.
  const frame = bytes.from(`\0\0${header}${body}`)
  const isJson = typeof content === 'string'
  const headerLength = checkHeader(frame.length - LENGTH_BYTES - (isJson ? length : 0))
  frame[0] = headerLength >> 8
  frame[1] = headerLength
  return isJson ? frame : bytes.concat([frame, content])
}

/**
 * Writes a frame as a string with a character for each byte, so that several frames can be written together; `undefined` if its content
 * is bytes, or it has characters that are not ASCII. Faster than `writeFrame`.
 */
export function frameString(bytes: Pick<Bytes, 'byteLength'>, ...parts: FrameParts): string | undefined {
  const { header, body, content, length } = textsOf(bytes, parts)
  if (typeof content !== 'string' || length !== body.length || bytes.byteLength(header) !== header.length)
    return undefined
  const headerLength = checkHeader(header.length)
  return String.fromCharCode(headerLength >> 8, headerLength & 0xff) + header + body
}

function checkHeader(length: number): number {
  if (length <= MAX_HEADER) return length
  throw new RangeError(`a header has at most ${MAX_HEADER} bytes, received ${length}; shorten its names`)
}

/** The header and the content of a frame as strings, the content as it was given, and its bytes. */
function textsOf(
  bytes: Pick<Bytes, 'byteLength'>,
  [type, name, id, fields, content, maxContent = Number.POSITIVE_INFINITY]: FrameParts,
): { readonly header: string; readonly body: string; readonly content: string | Uint8Array; readonly length: number } {
  const isJson = typeof content === 'string'
  const names = `"${type === 'message' ? 'action' : 'requested_value'}": ${JSON.stringify(name)}${id === undefined ? '' : `, "request_id": ${JSON.stringify(id)}`}`
  const isRequest = type === 'request'
  // A request has its name and id in the content, other messages have them in the header.
  const body = isRequest ? `{${names}, ${(content as string).slice(1)}` : isJson ? content : ''
  const length = isJson ? bytes.byteLength(body) : content.length
  if (length > maxContent) throw new RangeError(`a content has at most ${maxContent} bytes, received ${length}`)
  const header = `{"byteorder": "little", "content-type": "${isJson ? 'json' : 'binary'}", "content-encoding": "utf-8", "content-length": ${length}, "message-type": "${type}"${isRequest ? '' : `, ${names}`}${membersOf(fields)}}`
  return { header, body, content, length }
}

/** Further members of a JSON object. */
function membersOf(fields: Fields): string {
  let members = ''
  for (const name in fields) {
    if (fields[name] !== undefined) members += `, ${JSON.stringify(name)}: ${JSON.stringify(fields[name])}`
  }
  return members
}
