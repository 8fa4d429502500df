import { isHostname, isPort } from 'filtered-websocket/kit'
import { readFrame } from './frame.ts'
import { frameOf, type Messaging, messageOf } from './message.ts'

const ACTION = 'server_ip'
/** Bytes of a datagram: clever-show reads no more. */
const MAX_BYTES = 1024
/** Characters; the ids of clever-show have four digits. */
const MAX_ID = 128
const NUMBER = /^\d{1,15}(?:\.\d{1,15})?$/

/** The content of a server's announcement by UDP (clever-show-messaging, section 6). */
export interface Announcement {
  readonly host: string
  readonly port: number
  /** The same until the server stops. */
  readonly id: string
  /** Seconds since 1970. */
  readonly startTime: number
}

/** The datagram in the form of clever-show: one frame, whose values are strings. */
export function writeAnnouncement({ host, port, id, startTime }: Announcement): Buffer {
  const kwargs = { host, port: String(port), id, start_time: String(startTime) }
  return frameOf({ type: 'message', name: ACTION, args: [], kwargs })
}

/** Reads a datagram, which may come from any sender; `undefined`: it is no valid announcement. Never throws. */
export function readAnnouncement(datagram: Buffer): Announcement | undefined {
  if (datagram.length > MAX_BYTES) return undefined
  let message: Messaging | undefined
  try {
    message = messageOf(readFrame(datagram, MAX_BYTES))
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
