import type { Codec, Encoded, Payload } from 'filtered-websocket'
import { publishOf } from './envelope.ts'
import type { Protocol } from './protocol.ts'

/** The format of packed publishes and of replies. */
export const FORMAT = 'wslink'
/** The core's format for notices of the server to a client, and the topic on which they are published. */
const NOTICE = 'notice'
const NOTICES = 'wslink.notice'

/** Placeholder for an encoded reply, compared by identity. */
const REPLY = Buffer.alloc(0)

/** The codecs of a server, by protocol version and topic. */
export class Codecs {
  /** Codec before authentication: encodes only replies. */
  readonly before: Codec = {
    name: 'wslink',
    formats: [FORMAT],
    encode: payload => this.#replyOf(payload),
  }
  readonly #topic: string | undefined
  /** The reply in place of `REPLY` during `sendEncoded`. */
  #reply: Encoded | undefined
  readonly #codecs = new Map<string, Codec>()

  /** @param topic - topic of broadcasts of other filters; `undefined` if clients do not get them. */
  constructor(topic: string | undefined) {
    this.#topic = topic
  }

  /** @param receives - whether the client gets a topic. */
  of(protocol: Protocol, receives: (topic: string) => boolean): Codec {
    const topic = this.#topic !== undefined && receives(this.#topic) ? this.#topic : undefined
    const name = topic === undefined ? protocol.name : `${protocol.name}-${topic}`
    let codec = this.#codecs.get(name)
    if (codec === undefined) {
      codec = this.#create(name, protocol, topic)
      this.#codecs.set(name, codec)
    }
    return codec
  }

  /** Sends an encoded reply without copying its bytes to a payload. */
  sendEncoded(reply: Encoded, send: (payload: Payload, format: string) => void): void {
    this.#reply = reply
    try {
      send(REPLY, FORMAT)
    } finally {
      this.#reply = undefined
    }
  }

  #replyOf(payload: Payload): Encoded | undefined {
    return payload === REPLY ? this.#reply : undefined
  }

  #create(name: string, protocol: Protocol, topic: string | undefined): Codec {
    return {
      name,
      formats: [FORMAT, NOTICE],
      encode: (payload, format) => {
        if (format === FORMAT) return this.#replyOf(payload) ?? protocol.rewrite(payload as Buffer)
        if (format === NOTICE) return protocol.write(publishOf(NOTICES, payload))
        return topic === undefined ? undefined : protocol.write(publishOf(topic, payload))
      },
    }
  }
}
