import {
  type About,
  type Codec,
  type Encoded,
  EVERYONE,
  type Loss,
  type LossReason,
  type Payload,
  type StreamEntry,
} from 'filtered-websocket'
import { readJson } from 'filtered-websocket/kit'
import { closing } from './closing.ts'
import { UNSUBSCRIBED } from './codes.ts'

/** The format of messages that are encoded already. */
export const FORMAT = 'centrifuge'
/** The core's format for notices of the server to a client. They are not sent: the protocol has its own forms. */
const NOTICE = 'notice'

/** Placeholder for an encoded message in parts, compared by identity. */
const PARTS = Buffer.alloc(0)
/** The syntax of JSON is checked at any size: the payload has been accepted already. */
const BOUNDS = { maxLength: Number.POSITIVE_INFINITY }

/** The codecs of a server. All connected clients share one, and so the frame of each message. */
export class Codecs {
  #parts: Encoded | undefined
  /** For clients before the reply to `connect`: they get only replies. */
  readonly before: Codec = {
    name: 'centrifuge',
    formats: [FORMAT, NOTICE],
    encode: (payload, format) => (format === FORMAT ? this.#encoded(payload) : undefined),
    closing,
  }
  readonly connected: Codec

  /** @param onLost - called when the members of a channel, or only one of them, are informed of a loss. */
  constructor(onLost: (channel: string, only?: string) => void) {
    this.connected = {
      name: 'centrifuge',
      formats: [FORMAT, NOTICE],
      encode: (payload, format, about) => {
        if (format === FORMAT) return this.#encoded(payload)
        return format === NOTICE ? undefined : pushOf(payload, about)
      },
      lost: ({ topic }: Loss, _reason: LossReason, only?: string) => {
        if (topic === EVERYONE) return undefined
        onLost(topic, only)
        return unsubscribePush(topic, UNSUBSCRIBED.insufficientState, 'insufficient state')
      },
      closing,
    }
  }

  /** Sends a message in parts, which are not copied if they are large. */
  sendParts(parts: readonly Uint8Array[], send: (payload: Payload, format: string) => void): void {
    this.#parts = [{ text: parts }]
    try {
      send(PARTS, FORMAT)
    } finally {
      this.#parts = undefined
    }
  }

  #encoded(payload: Payload): Encoded | undefined {
    return payload === PARTS ? this.#parts : payload
  }
}

/** A message to a topic is a publication; other messages have no channel. Binary ones are not sent. */
function pushOf(payload: Payload, about: About | undefined): string | undefined {
  const data = dataOf(payload)
  if (data === undefined) return undefined
  if (about === undefined || about.topic === EVERYONE) return `{"push":{"message":{"data":${data}}}}`
  const pub = publicationOf(data, about.position?.offset)
  return `{"push":{"channel":${JSON.stringify(about.topic)},"pub":${pub}}}`
}

export function unsubscribePush(channel: string, code: number, reason: string): string {
  return JSON.stringify({ push: { channel, unsubscribe: { code, reason } } })
}

/** Entries as JSON without brackets. Skips binary ones and those in a format of another protocol. */
export function publicationsOf(entries: readonly StreamEntry[]): string {
  return entries
    .flatMap(({ payload, format, offset }) => {
      const data = format === undefined ? dataOf(payload) : undefined
      return data === undefined ? [] : publicationOf(data, offset)
    })
    .join(',')
}

/** @param data - JSON. */
function publicationOf(data: string, offset: number | undefined): string {
  return offset === undefined ? `{"data":${data}}` : `{"data":${data},"offset":${offset}}`
}

/** A payload as JSON on one line, since newlines separate messages; text that is not JSON is a JSON string. */
function dataOf(payload: Payload): string | undefined {
  if (typeof payload !== 'string') return undefined
  try {
    readJson(payload, BOUNDS)
  } catch {
    return JSON.stringify(payload)
  }
  return /[\r\n]/.test(payload) ? payload.replace(/[\r\n]/g, ' ') : payload
}
