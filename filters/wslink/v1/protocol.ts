import type { Encoded, Payload } from 'filtered-websocket'
import { MAX_JSON_LENGTH } from 'filtered-websocket/kit'
import { type Envelope, isMap } from '../envelope.ts'
import { unpackOwn } from '../msgpack/pack.ts'
import type { Protocol, Reader } from '../protocol.ts'
import { oversize, violation } from '../protocol-error.ts'
import { Attachments } from './attachments.ts'
import { readJson, writeJson } from './json.ts'

const ATTACHMENT = 'wslink.binary.attachment'

/** 1.x: JSON in text frames, preceded by its attachments in binary frames. */
export class ProtocolV1 implements Protocol {
  readonly name = 'wslink-1'
  readonly welcome = {}
  readonly #maxJson: number
  /** Number of the next attachment. */
  #number = 0

  /** @param maxJson - maximum characters of a message. */
  constructor(maxJson = MAX_JSON_LENGTH) {
    this.#maxJson = maxJson
  }

  reader(limit: number): Reader {
    return new ReaderV1(limit, this.#maxJson)
  }

  write(envelope: Envelope): Encoded {
    const { texts, attachments, lookalikes } = writeJson(envelope)
    if (attachments.length === 0) return texts[0]!
    const keys = attachments.map(() => this.#newKey(lookalikes))
    const announced = attachments.flatMap((bytes, i) => [announcement(keys[i]!), [bytes]])
    return [...announced, texts.map((text, i) => (i === 0 ? text : `"${keys[i - 1]}"${text}`)).join('')]
  }

  rewrite(packed: Buffer): Encoded {
    return this.write(unpackOwn(packed) as Envelope)
  }

  /** A key that is not also a string in the message. */
  #newKey(taken: ReadonlySet<string>): string {
    let key: string
    do key = `wslink_bin${this.#number++}`
    while (taken.has(key))
    return key
  }
}

function announcement(key: string): string {
  return `{"wslink": "1.0", "method": "${ATTACHMENT}", "args": ["${key}"]}`
}

class ReaderV1 implements Reader {
  #limit: number
  readonly #maxJson: number
  /** Present after admission. */
  #attachments: Attachments | undefined

  constructor(limit: number, maxJson: number) {
    this.#limit = limit
    this.#maxJson = maxJson
  }

  get since(): number | undefined {
    return this.#attachments?.since
  }

  admit(limit: number): void {
    this.#limit = limit
    this.#attachments = new Attachments(limit)
  }

  touch(now: number): void {
    this.#attachments?.touch(now)
  }

  read(payload: Payload, now: number): unknown {
    if (typeof payload !== 'string') {
      if (this.#attachments === undefined) throw violation('an attachment before authentication')
      this.#attachments.add(payload, now)
      return undefined
    }
    if (Buffer.byteLength(payload) > this.#limit) throw oversize(`a message has at most ${this.#limit} bytes`)
    const message = readJson(payload, this.#maxJson)
    if (!isMap(message)) return undefined
    if (message.id !== undefined) return this.#withAttachments(message)
    if (message.method === ATTACHMENT) this.#attachments?.announce(message.args, now)
    return undefined
  }

  #withAttachments(message: Readonly<Record<string, unknown>>): unknown {
    if (this.#attachments === undefined) return message
    const [args, kwargs] = this.#attachments.resolve([message.args, message.kwargs])
    return { ...message, args, kwargs }
  }
}
