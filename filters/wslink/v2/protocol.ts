import type { Encoded, Payload } from 'filtered-websocket'
import { MAX_JSON_LENGTH } from 'filtered-websocket/kit'
import type { Envelope } from '../envelope.ts'
import { Packer, unpack } from '../msgpack/pack.ts'
import type { Protocol, Reader } from '../protocol.ts'
import { Assembler } from './assembler.ts'
import { chunksOf } from './chunks.ts'

/** 2.x: msgpack in chunks of binary frames. */
export class ProtocolV2 implements Protocol {
  readonly name = 'wslink-2'
  readonly welcome: Protocol['welcome']
  readonly #maxFrame: number
  readonly #maxJson: number
  readonly #packer = new Packer()
  /** Id of the last message; ids must differ between concurrent messages. */
  #id = 0

  /**
   * @param maxFrame - maximum bytes of a chunk with its header, in both directions.
   * @param maxJson - maximum bytes of a message besides its byte arrays.
   */
  constructor(maxFrame: number, maxJson = MAX_JSON_LENGTH) {
    this.#maxFrame = maxFrame
    this.#maxJson = maxJson
    this.welcome = { maxMsgSize: maxFrame }
  }

  reader(limit: number): Reader {
    return new ReaderV2(limit, this.#maxJson)
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

class ReaderV2 implements Reader {
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

  /** Ignores text frames, as wslink (Python) does. */
  read(payload: Payload, now: number): unknown {
    if (typeof payload === 'string') return undefined
    const message = this.#assembler.add(payload, now)
    return message === undefined ? undefined : unpack(message, this.#maxJson)
  }
}
