import type { Announcement, Appender, NewEntry, StreamEntry } from 'filtered-websocket'
import { copyBytes } from 'filtered-websocket/kit'

/** Version of both layouts below; a node refuses other versions. */
const VERSION = 1
const BINARY = 1
const HAS_FORMAT = 2
const HAS_EXCEPT = 4
const LENGTH_BYTES = 4
const FLAGS_AT = LENGTH_BYTES + 1
const NODE_AT = FLAGS_AT + 1
const NODE_BYTES = 16
const CALL_AT = NODE_AT + NODE_BYTES
const NUMBER_BYTES = 6
const HEAD_BYTES = CALL_AT + NUMBER_BYTES

/**
 * An entry as it is stored and announced. Layout in bytes, numbers big-endian: 4 length of the rest, 1 version, 1 flags
 * (1 binary, 2 with a format, 4 with `except`), 16 node, 6 call; 1 length and the format; 2 length and `except`; the payload. Offset
 * and time are the id of the stream entry.
 *
 * @throws TypeError if the node is not a UUID.
 */
export function writeEntry({ payload, format, except }: NewEntry, { node, call }: Appender): Buffer {
  const size =
    HEAD_BYTES +
    Buffer.byteLength(payload) +
    (format === undefined ? 0 : 1 + format.length) +
    (except === undefined ? 0 : 2 + Buffer.byteLength(except))
  const entry = Buffer.allocUnsafe(size)
  entry.writeUInt32BE(size - LENGTH_BYTES)
  entry[LENGTH_BYTES] = VERSION
  entry[FLAGS_AT] =
    (typeof payload === 'string' ? 0 : BINARY) |
    (format === undefined ? 0 : HAS_FORMAT) |
    (except === undefined ? 0 : HAS_EXCEPT)
  if (entry.write(node.replaceAll('-', ''), NODE_AT, NODE_BYTES, 'hex') !== NODE_BYTES)
    throw new TypeError(`the node of an append is a UUID, received "${node}"`)
  entry.writeUIntBE(call, CALL_AT, NUMBER_BYTES)
  let at = HEAD_BYTES
  if (format !== undefined) {
    entry[at] = format.length
    at += 1 + entry.write(format, at + 1, 'latin1')
  }
  if (except !== undefined) {
    const length = entry.write(except, at + 2)
    at = entry.writeUInt16BE(length, at) + length
  }
  if (typeof payload === 'string') entry.write(payload, at)
  else payload.copy(entry, at)
  return entry
}

/** Parses an entry; returns an error message if it is not valid. */
export function readEntry(bytes: Buffer, offset: number, at: number): StreamEntry | string {
  if (bytes.length < HEAD_BYTES || bytes.readUInt32BE() !== bytes.length - LENGTH_BYTES)
    return 'entry of a wrong length'
  if (bytes[LENGTH_BYTES] !== VERSION) return versionError('entry', bytes[LENGTH_BYTES])
  const flags = bytes[FLAGS_AT]!
  const origin = `${bytes.toString('hex', NODE_AT, CALL_AT)}/${bytes.readUIntBE(CALL_AT, NUMBER_BYTES)}`
  const entry: { -readonly [K in keyof StreamEntry]: StreamEntry[K] } = { offset, at, origin, payload: '' }
  let start = HEAD_BYTES
  if (flags & HAS_FORMAT) {
    const end = start + 1 + (bytes[start] ?? 0)
    entry.format = bytes.toString('latin1', start + 1, end)
    start = end
  }
  if (flags & HAS_EXCEPT) {
    if (start + 2 > bytes.length) return 'entry cut short'
    const end = start + 2 + bytes.readUInt16BE(start)
    entry.except = bytes.toString('utf8', start + 2, end)
    start = end
  }
  if (start > bytes.length) return 'entry cut short'
  entry.payload = flags & BINARY ? copyBytes(bytes.subarray(start)) : bytes.toString('utf8', start)
  return entry
}

/**
 * Parses an announcement, which the scripts write; returns an error message if it is not valid. Layout in bytes, numbers
 * big-endian: 1 version, 1 length and the epoch, 6 top, 6 time of the append in milliseconds, the entries.
 */
export function readAnnouncement(topic: string, bytes: Buffer): Announcement | string {
  if (bytes[0] !== VERSION) return versionError('announcement', bytes[0])
  const topAt = 2 + (bytes[1] ?? 0)
  let start = topAt + 2 * NUMBER_BYTES
  if (start > bytes.length) return 'announcement cut short in its head'
  const top = { epoch: bytes.toString('latin1', 2, topAt), offset: bytes.readUIntBE(topAt, NUMBER_BYTES) }
  const at = bytes.readUIntBE(topAt + NUMBER_BYTES, NUMBER_BYTES)
  const found: Buffer[] = []
  while (start < bytes.length) {
    const end = start + LENGTH_BYTES <= bytes.length ? start + LENGTH_BYTES + bytes.readUInt32BE(start) : Number.NaN
    if (!(end <= bytes.length)) return 'announcement cut short in an entry'
    found.push(bytes.subarray(start, end))
    start = end
  }
  const entries: StreamEntry[] = []
  for (const [i, part] of found.entries()) {
    const entry = readEntry(part, top.offset - found.length + 1 + i, at)
    if (typeof entry === 'string') return entry
    entries.push(entry)
  }
  if (found.length > top.offset) return `announcement of ${found.length} entries up to offset ${top.offset}`
  return { topic, top, entries }
}

function versionError(what: string, version: number | undefined): string {
  return `${what} of version ${version ?? 'none'}, this node reads ${VERSION}; are all nodes of one release?`
}
