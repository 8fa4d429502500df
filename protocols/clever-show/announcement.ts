import { isHostname, isPort } from '../../src/kit/hostname.ts'
import type { Bytes } from './bytes.ts'
import { readFrame } from './frame.ts'
import type { Limits } from './json.ts'
import { frameOf, type Messaging, messageOf } from './message.ts'

const ACTION = 'server_ip'
/** Bytes of a datagram; clever-show reads no more. */
const MAX_BYTES = 1024
/** Characters of an id; clever-show uses four digits. */
const MAX_ID = 128
const NUMBER = /^\d{1,15}(?:\.\d{1,15})?$/

/** The address of a server, which it broadcasts by UDP (clever-show-messaging, section 6). */
export interface Announcement {
  readonly host: string
  readonly port: number
  /** Constant while the server runs. */
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

/** Reads a datagram; `undefined`: it is not a valid announcement. Never throws, as any machine can send a datagram. */
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
  if (typeof host !== 'string' || !isHostname(host)) return undefined
  if (typeof port !== 'string' || !NUMBER.test(port) || !isPort(Number(port))) return undefined
  if (typeof id !== 'string' || id.length > MAX_ID) return undefined
  if (typeof startTime !== 'string' || !NUMBER.test(startTime)) return undefined
  return { host, port: Number(port), id, startTime: Number(startTime) }
}
