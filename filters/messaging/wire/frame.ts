import { endianness } from 'node:os'
import { writeJson } from 'filtered-websocket/kit'
import { textOf } from './encoding.ts'
import type { Incoming } from './incoming.ts'
import { OF_PEERS, readJson } from './json.ts'
import { Malformed, shown, tooLarge } from './malformed.ts'

/** The action and the request that carry a file; its bytes are the content of the frame. */
export const FILE = 'filetransfer'
/** Bytes of a part of a file. */
export const MAX_PART = 262_144

/** Bytes of the number in front of a header: how long it is, big-endian. */
export const LENGTH_BYTES = 2
const MAX_HEADER = 0xffff
/** Informational: nobody reads it, and the original wants it to be there. */
const BYTEORDER = endianness() === 'LE' ? 'little' : 'big'
const OPENING_BRACE = 0x7b
const TEXTS = ['byteorder', 'content-type', 'content-encoding', 'message-type']

/** What precedes a content (clever-show-messaging, section 1.1). */
export interface Header {
  /** `json`; all else is bytes. */
  readonly contentType: string
  readonly contentEncoding: string
  /** Bytes. */
  readonly contentLength: number
  readonly messageType: string
  /** All that it says. */
  readonly fields: Readonly<Record<string, unknown>>
}

export interface Frame {
  readonly header: Header
  readonly content: Buffer
  /** The whole of it as it came; without the content where that is a stream. */
  readonly bytes: Buffer
  /** The content of a file that is still on its way. */
  readonly stream?: Incoming
}

/**
 * A header without the number in front of it.
 *
 * @param maxContent - bytes that the content may have.
 * @param maxFile - the same for a file.
 * @throws Malformed
 */
export function readHeader(bytes: Buffer, maxContent: number, maxFile = maxContent): Header {
  if (bytes.length === 0) throw new Malformed('a frame has an empty header')
  const fields = fieldsIn(bytes)
  for (const name of TEXTS) {
    if (typeof fields[name] !== 'string') throw new Malformed(`${name} is a text, received ${shown(fields[name])}`)
  }
  const contentLength = fields['content-length']
  if (!Number.isSafeInteger(contentLength) || (contentLength as number) < 0)
    throw new Malformed(`content-length is a number of bytes, received ${shown(contentLength)}`)
  const header = {
    contentType: fields['content-type'] as string,
    contentEncoding: fields['content-encoding'] as string,
    contentLength: contentLength as number,
    messageType: fields['message-type'] as string,
    fields,
  }
  const isFile = carriesFile(header)
  const max = isFile ? maxFile : maxContent
  if (header.contentLength > max)
    throw tooLarge(`a ${isFile ? 'file' : 'content'} has at most ${max} bytes, ${contentLength} are announced`)
  return header
}

/** Whether the content is a file, or a part of one. */
export function carriesFile({ contentType, messageType, fields }: Header): boolean {
  if (contentType === 'json') return false
  return (messageType === 'message' ? fields.action : messageType === 'response' && fields.requested_value) === FILE
}

function fieldsIn(bytes: Buffer): Record<string, unknown> {
  const what = 'the header of a frame'
  const fields = readJson(textOf(bytes, what), OF_PEERS, what)
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields))
    throw new Malformed(`${what} is an object, received ${shown(fields)}`)
  return fields as Record<string, unknown>
}

/** Whether it may be a frame, for clients that also send bytes as they are. */
export function looksLikeFrame(bytes: Buffer): boolean {
  return bytes.length > LENGTH_BYTES && bytes[LENGTH_BYTES] === OPENING_BRACE && bytes.length >= headerEnd(bytes)
}

/**
 * Bytes that are one frame and nothing else, as in a binary message of a WebSocket.
 *
 * @throws Malformed
 */
export function readFrame(bytes: Buffer, maxContent: number, maxFile?: number): Frame {
  if (bytes.length < LENGTH_BYTES || bytes.length < headerEnd(bytes)) throw new Malformed('a frame ends in its header')
  const end = headerEnd(bytes)
  const header = readHeader(bytes.subarray(LENGTH_BYTES, end), maxContent, maxFile)
  const content = bytes.subarray(end)
  if (content.length !== header.contentLength)
    throw new Malformed(`the frame announces ${header.contentLength} bytes, and ${content.length} are in it`)
  return { header, content, bytes }
}

/** Bytes of the number and the header behind it. */
export function headerEnd(bytes: Buffer): number {
  return LENGTH_BYTES + bytes.readUInt16BE(0)
}

/** What goes into a frame. */
export interface Parts {
  readonly messageType: 'message' | 'request' | 'response'
  /** Fields of the header behind those that all frames have, in this order. */
  readonly fields?: Readonly<Record<string, unknown>>
  /** Bytes, or what is said in JSON. */
  readonly content: Buffer | object
}

/**
 * A frame as the original writes it in Python 3: the same keys in the same order.
 *
 * @throws TypeError when JSON cannot say the content, RangeError when the header is longer than 65,535 bytes.
 */
export function writeFrame({ messageType, fields = {}, content }: Parts): Buffer {
  const isBinary = Buffer.isBuffer(content)
  const body = isBinary ? '' : writeJson(content)
  const length = isBinary ? content.length : Buffer.byteLength(body)
  let header = `{"byteorder": "${BYTEORDER}", "content-type": "${isBinary ? 'binary' : 'json'}", "content-encoding": "utf-8", "content-length": ${length}, "message-type": "${messageType}"`
  for (const [name, value] of Object.entries(fields)) {
    if (value !== undefined) header += `, ${JSON.stringify(name)}: ${writeJson(value)}`
  }
  // One text, as each conversion has a price of its own; the number takes the place of what is in front.
  const frame = Buffer.from(`\0\0${header}}${body}`)
  const headerLength = frame.length - LENGTH_BYTES - (isBinary ? 0 : length)
  if (headerLength > MAX_HEADER)
    throw new RangeError(`a header has at most ${MAX_HEADER} bytes, received ${headerLength}; shorten its names`)
  frame.writeUInt16BE(headerLength)
  return isBinary ? Buffer.concat([frame, content]) : frame
}
