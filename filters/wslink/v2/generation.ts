import type { Encoded, Payload } from 'filtered-websocket'
import { MAX_JSON_LENGTH } from 'filtered-websocket/kit'
import type { Envelope } from '../envelope.ts'
import type { Generation, Reader } from '../generation.ts'
import { Packer, unpack } from '../msgpack/pack.ts'
import { Assembler } from './assembler.ts'
import { chunksOf } from './chunks.ts'

/** 2.x: msgpack in chunks of binary frames. */
export class Generation2 implements Generation {
  readonly name = 'wslink-2'
  readonly welcome: Generation['welcome']
  readonly #maxFrame: number
  readonly #maxJson: number
  readonly #packer = new Packer()
  /** Of the next message; ids differ between all that may be under way to one client. */
  #id = 0

  /**
   * @param maxFrame - bytes of a chunk with its head, in both directions.
   * @param maxJson - bytes of a message besides its byte arrays.
   */
  constructor(maxFrame: number, maxJson = MAX_JSON_LENGTH) {
    this.#maxFrame = maxFrame
    this.#maxJson = maxJson
    this.welcome = { maxMsgSize: maxFrame }
  }

  reader(limit: number): Reader {
    return new Reader2(limit, this.#maxJson)
  }

  write(envelope: Envelope): Encoded {
    return this.#chunks(this.#packer.pack(envelope))
  }

  rewrite(packed: Buffer): Encoded {
    return this.#chunks([packed])
  }

  #chunks(message: readonly Uint8Array[]): Encoded {
    this.#id = (this.#id + 1) >>> 0
    return chunksOf(message, this.#maxFrame, this.#id)
  }
}

class Reader2 implements Reader {
  readonly #assembler: Assembler
  readonly #maxJson: number

  constructor(limit: number, maxJson: number) {
    this.#maxJson = maxJson
    this.#assembler = new Assembler(limit)
  }

  get since(): number | undefined {
    return this.#assembler.since
  }

  admit(limit: number): void {
    this.#assembler.limit = limit
  }

  touch(now: number): void {
    this.#assembler.touch(now)
  }

  /** Text is ignored, as the original does. */
  read(payload: Payload, now: number): unknown {
    if (typeof payload === 'string') return undefined
    const message = this.#assembler.add(payload, now)
    return message === undefined ? undefined : unpack(message, this.#maxJson)
  }
}
