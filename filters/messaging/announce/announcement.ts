import { isHost, isPort } from '../transport/endpoint.ts'
import { readFrame } from '../wire/frame.ts'
import { frameOf, type Messaging, messageOf } from '../wire/message.ts'

const ACTION = 'server_ip'
/** Bytes of a datagram: more the original does not read. */
const MAX_BYTES = 1024
/** Characters; the original's have four digits. */
const MAX_ID = 128
const NUMBER = /^\d{1,15}(?:\.\d{1,15})?$/

/** What a server tells of itself by UDP (clever-show-messaging, section 6). */
export interface Announcement {
  readonly host: string
  readonly port: number
  /** Of the server, as long as it runs. */
  readonly id: string
  /** Seconds since 1970. */
  readonly startTime: number
}

/** A datagram as the original sends it: one frame, in which all is text. */
export function writeAnnouncement({ host, port, id, startTime }: Announcement): Buffer {
  const kwargs = { host, port: String(port), id, start_time: String(startTime) }
  return frameOf({ type: 'message', name: ACTION, args: [], kwargs })
}

/** The reverse; `undefined`: it is none, or not right. Anybody can send a datagram, so nothing that is in it throws. */
export function readAnnouncement(datagram: Buffer): Announcement | undefined {
  if (datagram.length > MAX_BYTES) return undefined
  let said: Messaging | undefined
  try {
    said = messageOf(readFrame(datagram, MAX_BYTES))
  } catch {
    return undefined
  }
  if (said?.type !== 'message' || said.name !== ACTION) return undefined
  const { host, port, id, start_time: startTime } = said.kwargs
  if (typeof host !== 'string' || !isHost(host)) return undefined
  if (typeof port !== 'string' || !NUMBER.test(port) || !isPort(Number(port))) return undefined
  if (typeof id !== 'string' || id.length > MAX_ID) return undefined
  if (typeof startTime !== 'string' || !NUMBER.test(startTime)) return undefined
  return { host, port: Number(port), id, startTime: Number(startTime) }
}
