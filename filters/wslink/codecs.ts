import type { Codec, Encoded, Payload } from 'filtered-websocket'
import { publishOf } from './envelope.ts'
import type { Generation } from './generation.ts'

/** The format of packed publishes, and of answers. */
export const FORMAT = 'wslink'

/** How everything looks to the clients of one server. */
export class Codecs {
  /** Of a client that has not said a good hello: it reads answers to it, and nothing else. */
  readonly before: Codec = {
    name: 'wslink',
    formats: [FORMAT],
    encode: payload => this.#answers.get(payload as Buffer),
  }
  readonly #topic: string | undefined
  /** Answers that are on their way, by the payload that stands for them. */
  readonly #answers = new WeakMap<Buffer, Encoded>()
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

  /** A payload that stands for an answer which is encoded already, so that its bytes are not copied to become one. */
  standFor(answer: Encoded): Payload {
    const payload = Buffer.alloc(0)
    this.#answers.set(payload, answer)
    return payload
  }

  #create(name: string, generation: Generation, topic: string | undefined): Codec {
    return {
      name,
      formats: [FORMAT],
      encode: (payload, format) => {
        if (format === FORMAT) return this.#answers.get(payload as Buffer) ?? generation.rewrite(payload as Buffer)
        return topic === undefined ? undefined : generation.write(publishOf(topic, payload))
      },
    }
  }
}
