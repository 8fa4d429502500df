import { isPayload, type Payload } from '../contract/payload.ts'
import { type Order, readOrder } from './order.ts'

/** Version of the layout below; a node refuses other versions. */
const VERSION = 1
const FLAGS_AT = 1
const RESTARTED = 1
const NODE_AT = 2
const NODE_BYTES = 16
const FIRST_AT = NODE_AT + NODE_BYTES
const FIRST_BYTES = 6
const HEAD_BYTES = FIRST_AT + FIRST_BYTES
/** Header of one message: kind and length. */
const ENTRY_BYTES = 5
/** Messages per envelope. */
export const MAX_MESSAGES = 1024
const TEXT = 0
const BINARY = 1
const ORDER = 2
const TEXT_IN_FORMAT = 3
const BINARY_IN_FORMAT = 4

/** A message with a format. */
export interface Formatted {
  readonly payload: Payload
  /** ASCII, at most 64 characters. */
  readonly format: string
}

/** A message between nodes: a broadcast or an order. */
export type NodeMessage = Payload | Formatted | Order

/**
 * The messages of one node to one topic in one turn of the event loop. Layout in bytes, numbers big-endian: 1 version,
 * 1 flags (1: `restarted`), 16 node, 6 `first`; then for each message 1 kind (0 text, 1 binary, 2 an order as JSON, 3 text and
 * 4 binary with a format), 4 length, the content; the content of kinds 3 and 4 begins with 1 length and the format.
 */
export interface Envelope {
  /** Id of the sender: 16 bytes as Latin-1. */
  readonly node: string
  /** Sequence number of the first message, per sender and topic. */
  readonly first: number
  /** The sender has restarted numbering: a gap before `first` is not a loss. */
  readonly restarted: boolean
  readonly messages: readonly NodeMessage[]
}

/** The id of a node as in envelopes. */
export function nodeBytes(uuid: string): Buffer {
  return Buffer.from(uuid.replaceAll('-', ''), 'hex')
}

export function writeEnvelope(
  node: Buffer,
  { first, restarted, messages }: Pick<Envelope, 'first' | 'restarted' | 'messages'>,
): Buffer {
  let size = HEAD_BYTES
  for (const message of messages) size += ENTRY_BYTES + sizeOf(message)
  const envelope = Buffer.allocUnsafe(size)
  envelope[0] = VERSION
  envelope[FLAGS_AT] = restarted ? RESTARTED : 0
  node.copy(envelope, NODE_AT)
  envelope.writeUIntBE(first, FIRST_AT, FIRST_BYTES)
  let at = HEAD_BYTES
  for (const message of messages) {
    const start = at + ENTRY_BYTES
    let end = start
    const format = formatOf(message)
    if (format !== undefined) {
      envelope[end++] = format.length
      end += envelope.write(format, end, 'latin1')
    }
    const content = contentOf(message)
    end += typeof content === 'string' ? envelope.write(content, end) : content.copy(envelope, end)
    envelope[at] = kindOf(message)
    envelope.writeUInt32BE(end - start, at + 1)
    at = end
  }
  return envelope
}

/** Bytes of the content in an envelope. */
export function sizeOf(message: NodeMessage): number {
  const format = formatOf(message)
  return Buffer.byteLength(contentOf(message)) + (format === undefined ? 0 : 1 + format.length)
}

function contentOf(message: NodeMessage): Payload {
  if (isPayload(message)) return message
  return isOrder(message) ? JSON.stringify(message) : message.payload
}

function formatOf(message: NodeMessage): string | undefined {
  return isPayload(message) || isOrder(message) ? undefined : message.format
}

function kindOf(message: NodeMessage): number {
  if (isPayload(message)) return typeof message === 'string' ? TEXT : BINARY
  if (isOrder(message)) return ORDER
  return typeof message.payload === 'string' ? TEXT_IN_FORMAT : BINARY_IN_FORMAT
}

export function isOrder(message: Formatted | Order): message is Order {
  return 'target' in message
}

/** Whether an envelope comes from this node; checked before parsing, because a bus also delivers a node's own envelopes. */
export function isFrom(node: Buffer, envelope: Buffer): boolean {
  return envelope.length > FIRST_AT && node.compare(envelope, NODE_AT, FIRST_AT) === 0
}

/** Parses an envelope; returns an error message if it is not valid. */
export function readEnvelope(bytes: Buffer): Envelope | string {
  if (bytes[0] !== VERSION)
    return `envelope of version ${bytes[0] ?? 'none'}, this node reads ${VERSION}; are all nodes of one release?`
  if (bytes.length < HEAD_BYTES) return 'envelope cut short in its head'
  const messages: NodeMessage[] = []
  let at = HEAD_BYTES
  while (at < bytes.length) {
    const start = at + ENTRY_BYTES
    if (start > bytes.length) return 'envelope cut short between messages'
    const end = start + bytes.readUInt32BE(at + 1)
    if (end > bytes.length) return 'envelope cut short in a message'
    if (messages.length === MAX_MESSAGES) return `envelope of more than ${MAX_MESSAGES} messages`
    const message = readMessage(bytes[at]!, bytes.subarray(start, end))
    if (message === undefined) return `envelope with a message of kind ${bytes[at]} that cannot be read`
    messages.push(message)
    at = end
  }
  return {
    node: bytes.toString('latin1', NODE_AT, FIRST_AT),
    first: bytes.readUIntBE(FIRST_AT, FIRST_BYTES),
    restarted: (bytes[FLAGS_AT]! & RESTARTED) !== 0,
    messages,
  }
}

function readMessage(kind: number, bytes: Buffer): NodeMessage | undefined {
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
