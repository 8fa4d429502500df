import type { Bytes } from './bytes.ts'
import { readFrame } from './frame.ts'
import type { Limits } from './json.ts'
import { frameOf, type Messaging, messageOf } from './message.ts'

const ACTION = 'server_ip'
/** Bytes of a datagram: clever-show does not read more. */
const MAX_BYTES = 1024
/** Characters; those of clever-show have four digits. */
const MAX_ID = 128
const NUMBER = /^\d{1,15}(?:\.\d{1,15})?$/
const MAX_PORT = 65_535
/** Characters of a name in DNS. */
const MAX_NAME = 253
const NAME = /^[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?$/i
const IPV6 = /^([\da-f:.]+)(?:%\w+)?$/i

/** What a server sends of itself by UDP (clever-show-messaging, section 6). */
export interface Announcement {
  readonly host: string
  readonly port: number
  /** Of the server, as long as it runs. */
  readonly id: string
  /** Seconds since 1970. */
  readonly startTime: number
}

/** A datagram as clever-show sends it: one frame, in which all values are strings. */
export function writeAnnouncement<B extends Uint8Array>(
  { host, port, id, startTime }: Announcement,
  bytes: Bytes<B>,
): B {
  const kwargs = { host, port: String(port), id, start_time: String(startTime) }
  return frameOf({ type: 'message', name: ACTION, args: [], kwargs }, bytes)
}

/** The reverse; `undefined`: another datagram, or not right. It does not throw, as every machine can send a datagram. */
export function readAnnouncement(datagram: Uint8Array, parse: Limits['parse']): Announcement | undefined {
  if (datagram.length > MAX_BYTES) return undefined
  const limits = { maxContent: MAX_BYTES, parse }
  let message: Messaging | undefined
  try {
    message = messageOf(readFrame(datagram, limits), limits)
  } catch {
    return undefined
  }
  if (message?.type !== 'message' || message.name !== ACTION) return undefined
  const { host, port, id, start_time: startTime } = message.kwargs
  if (typeof host !== 'string' || !isHost(host)) return undefined
  if (typeof port !== 'string' || !NUMBER.test(port) || !isPort(Number(port))) return undefined
  if (typeof id !== 'string' || id.length > MAX_ID) return undefined
  if (typeof startTime !== 'string' || !NUMBER.test(startTime)) return undefined
  return { host, port: Number(port), id, startTime: Number(startTime) }
}

/** Whether a string is an IP address or could be a name in DNS. */
export function isHost(text: string): boolean {
  if (text.length > MAX_NAME) return false
  const [, address] = IPV6.exec(text) ?? []
  return NAME.test(text) || (address !== undefined && URL.canParse(`http://[${address}]`))
}

/** Whether a server may listen on a port. */
export function isPort(number: number): boolean {
  return Number.isInteger(number) && number >= 1 && number <= MAX_PORT
}
