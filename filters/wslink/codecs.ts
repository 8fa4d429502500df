import type { Codec, Encoded, Payload } from 'filtered-websocket'
import { publishOf } from './envelope.ts'
import type { Generation } from './generation.ts'

/** The format of packed publishes, and of answers. */
export const FORMAT = 'wslink'
/** The format of the core for text that the server itself has for one client, and the topic on which it is published. */
const NOTICE = 'notice'
const NOTICES = 'wslink.notice'

/** No publish is it: it is compared by identity. */
const STANDS_FOR_ANSWER = Buffer.alloc(0)

/** How everything looks to the clients of one server. */
export class Codecs {
  /** Of a client that has not said a good hello: it reads answers to it, and nothing else. */
  readonly before: Codec = {
    name: 'wslink',
    formats: [FORMAT],
    encode: payload => this.#answerOf(payload),
  }
  readonly #topic: string | undefined
  /** What `STANDS_FOR_ANSWER` stands for, while it is handed to the core. */
  #answer: Encoded | undefined
  readonly #known = new Map<string, Codec>()

  /** @param topic - on which what other filters broadcast is published; `undefined`: it is not for these clients. */
  constructor(topic: string | undefined) {
    this.#topic = topic
  }

  /** @param hears - whether the client listens to a topic. */
  of(generation: Generation, hears: (topic: string) => boolean): Codec {
    const topic = this.#topic !== undefined && hears(this.#topic) ? this.#topic : undefined
    const name = topic === undefined ? generation.name : `${generation.name}-${topic}`
    let codec = this.#known.get(name)
    if (codec === undefined) {
      codec = this.#create(name, generation, topic)
      this.#known.set(name, codec)
    }
    return codec
  }

  /** Hands over an answer that is encoded already, so that its bytes are not copied to become a payload. */
  hand(answer: Encoded, over: (payload: Payload, format: string) => void): void {
    this.#answer = answer
    try {
      over(STANDS_FOR_ANSWER, FORMAT)
    } finally {
      this.#answer = undefined
    }
  }

  #answerOf(payload: Payload): Encoded | undefined {
    return payload === STANDS_FOR_ANSWER ? this.#answer : undefined
  }

  #create(name: string, generation: Generation, topic: string | undefined): Codec {
    return {
      name,
      formats: [FORMAT, NOTICE],
      encode: (payload, format) => {
        if (format === FORMAT) return this.#answerOf(payload) ?? generation.rewrite(payload as Buffer)
        if (format === NOTICE) return generation.write(publishOf(NOTICES, payload))
        return topic === undefined ? undefined : generation.write(publishOf(topic, payload))
      },
    }
  }
}
