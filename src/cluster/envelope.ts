import { isPayload, type Payload } from '../contract/payload.ts'
import { type Order, readOrder } from './disconnect-order.ts'

/** Version of the layout below. A node reads no other. */
const VERSION = 1
const FLAGS_AT = 1
/** Numbers of this topic were forgotten: what lies before `first` tells nothing. */
const ANEW = 1
const NODE_AT = 2
const NODE_BYTES = 16
const FIRST_AT = NODE_AT + NODE_BYTES
const FIRST_BYTES = 6
const HEAD_BYTES = FIRST_AT + FIRST_BYTES
/** Of one message: its kind, its length. */
const ENTRY_BYTES = 5
/** A node sends no more at once. */
export const MAX_MESSAGES = 1024
const TEXT = 0
const BINARY = 1
const ORDER = 2
const TEXT_IN_FORMAT = 3
const BINARY_IN_FORMAT = 4

/** A message in a format that not every codec reads. */
export interface Formatted {
  readonly payload: Payload
  /** ASCII, at most 64 characters. */
  readonly format: string
}

/** What travels: messages, and orders to disconnect, in the order given. */
export type Parcel = Payload | Formatted | Order

/**
 * What one node tells the others in one turn of the event loop about one topic. As bytes, numbers big-endian:
 * 1 version, 1 flags (1: `anew`), 16 node, 6 `first`; then for each parcel 1 kind (0 text, 1 binary, 2 an order as JSON,
 * 3 text and 4 binary in a format), 4 length, the bytes; those of 3 and 4 begin with 1 length and the name of the format.
 */
export interface Envelope {
  /** Who sent it: 16 bytes as Latin-1. */
  readonly node: string
  /** Number of the first message: one more than that of the last one before it that this node sent to this topic. */
  readonly first: number
  /** The node begins to count: what it had sent before cannot be told from `first`. */
  readonly anew: boolean
  readonly parcels: readonly Parcel[]
}

/** A node's id as it stands in envelopes. */
export function nodeBytes(uuid: string): Buffer {
  return Buffer.from(uuid.replaceAll('-', ''), 'hex')
}

export function writeEnvelope(
  node: Buffer,
  { first, anew, parcels }: Pick<Envelope, 'first' | 'anew' | 'parcels'>,
): Buffer {
  let size = HEAD_BYTES
  for (const parcel of parcels) size += ENTRY_BYTES + sizeOf(parcel)
  const envelope = Buffer.allocUnsafe(size)
  envelope[0] = VERSION
  envelope[FLAGS_AT] = anew ? ANEW : 0
  node.copy(envelope, NODE_AT)
  envelope.writeUIntBE(first, FIRST_AT, FIRST_BYTES)
  let at = HEAD_BYTES
  for (const parcel of parcels) {
    const start = at + ENTRY_BYTES
    let end = start
    const format = formatOf(parcel)
    if (format !== undefined) {
      envelope[end++] = format.length
      end += envelope.write(format, end, 'latin1')
    }
    const content = contentOf(parcel)
    end += typeof content === 'string' ? envelope.write(content, end) : content.copy(envelope, end)
    envelope[at] = kindOf(parcel)
    envelope.writeUInt32BE(end - start, at + 1)
    at = end
  }
  return envelope
}

/** Bytes of it as it travels. */
export function sizeOf(parcel: Parcel): number {
  const format = formatOf(parcel)
  return Buffer.byteLength(contentOf(parcel)) + (format === undefined ? 0 : 1 + format.length)
}

function contentOf(parcel: Parcel): Payload {
  if (isPayload(parcel)) return parcel
  return isOrder(parcel) ? JSON.stringify(parcel) : parcel.payload
}

function formatOf(parcel: Parcel): string | undefined {
  return isPayload(parcel) || isOrder(parcel) ? undefined : parcel.format
}

function kindOf(parcel: Parcel): number {
  if (isPayload(parcel)) return typeof parcel === 'string' ? TEXT : BINARY
  if (isOrder(parcel)) return ORDER
  return typeof parcel.payload === 'string' ? TEXT_IN_FORMAT : BINARY_IN_FORMAT
}

export function isOrder(parcel: Formatted | Order): parcel is Order {
  return 'target' in parcel
}

/** Whether a node wrote it itself; asked first, as a bus brings every node its own envelopes too. */
export function isFrom(node: Buffer, envelope: Buffer): boolean {
  return envelope.length > FIRST_AT && node.compare(envelope, NODE_AT, FIRST_AT) === 0
}

/** The envelope, or one sentence that says why it cannot be read. */
export function readEnvelope(bytes: Buffer): Envelope | string {
  if (bytes[0] !== VERSION)
    return `envelope of version ${bytes[0] ?? 'none'}, this node reads ${VERSION}; are all nodes of one release?`
  if (bytes.length < HEAD_BYTES) return 'envelope cut short in its head'
  const parcels: Parcel[] = []
  let at = HEAD_BYTES
  while (at < bytes.length) {
    const start = at + ENTRY_BYTES
    if (start > bytes.length) return 'envelope cut short between messages'
    const end = start + bytes.readUInt32BE(at + 1)
    if (end > bytes.length) return 'envelope cut short in a message'
    if (parcels.length === MAX_MESSAGES) return `envelope of more than ${MAX_MESSAGES} messages`
    const parcel = readParcel(bytes[at]!, bytes.subarray(start, end))
    if (parcel === undefined) return `envelope with a parcel of kind ${bytes[at]} that cannot be read`
    parcels.push(parcel)
    at = end
  }
  return {
    node: bytes.toString('latin1', NODE_AT, FIRST_AT),
    first: bytes.readUIntBE(FIRST_AT, FIRST_BYTES),
    anew: (bytes[FLAGS_AT]! & ANEW) !== 0,
    parcels,
  }
}

function readParcel(kind: number, bytes: Buffer): Parcel | undefined {
  if (kind === TEXT) return bytes.toString()
  if (kind === BINARY) return bytes
  if (kind === ORDER) return readOrder(bytes.toString())
  if ((kind !== TEXT_IN_FORMAT && kind !== BINARY_IN_FORMAT) || bytes.length === 0) return undefined
  const start = 1 + bytes[0]!
  if (start > bytes.length) return undefined
  const payload = bytes.subarray(start)
  return {
    format: bytes.toString('latin1', 1, start),
    payload: kind === TEXT_IN_FORMAT ? payload.toString() : payload,
  }
}
