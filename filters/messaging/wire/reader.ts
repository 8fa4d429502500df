import type { Client, Payload } from 'filtered-websocket'
import type { JsonBounds } from 'filtered-websocket/kit'
import type { Codecs } from './codecs.ts'
import { type Frame, looksLikeFrame, readFrame } from './frame.ts'
import { OF_PEERS } from './json.ts'
import { type Messaging, messageOf } from './message.ts'
import { readText } from './text.ts'

/** A frame of a type that this protocol may have some day (clever-show-messaging, section 1.1). */
export const IGNORED = Symbol('ignored')

/** Finds out what clients say. */
export class Reader {
  readonly #codecs: Codecs
  readonly #maxContent: number
  readonly #bounds: JsonBounds
  readonly #maxFile: number

  /**
   * @param maxContent - bytes of the content of a frame, and characters of a text.
   * @param maxFile - the same for a file.
   */
  constructor(codecs: Codecs, maxContent: number, maxFile: number) {
    this.#codecs = codecs
    this.#maxFile = maxFile
    this.#maxContent = maxContent
    this.#bounds = { ...OF_PEERS, maxLength: maxContent }
  }

  /**
   * What a client says; `undefined`: nothing of this protocol. A client without a protocol has this one from then on, in
   * the form in which it speaks. Of one that has another, only texts that are actions are heard.
   *
   * @param parsed - the frame, if the transport has parsed the payload.
   * @throws Malformed when a client of this protocol says what cannot be understood.
   */
  read(payload: Payload, client: Client, parsed: Frame | undefined): Messaging | typeof IGNORED | undefined {
    const isOurs = this.#codecs.has(client.codec)
    if (typeof payload === 'string') return this.#readText(payload, client, isOurs)
    const isFramed = client.codec === this.#codecs.framed
    if (!isFramed && (!looksLikeFrame(payload) || (!isOurs && client.codec.name !== 'plain'))) return undefined
    const said = attempt(isFramed, () => this.#readFrame(payload, parsed))
    if (said !== undefined && !isFramed) client.codec = this.#codecs.framed
    return said
  }

  #readFrame(bytes: Buffer, parsed: Frame | undefined): Messaging | typeof IGNORED {
    // An earlier filter may have replaced the payload.
    const frame = parsed?.bytes === bytes ? parsed : readFrame(bytes, this.#maxContent, this.#maxFile)
    return messageOf(frame, this.#bounds) ?? IGNORED
  }

  #readText(text: string, client: Client, isOurs: boolean): Messaging | undefined {
    const said = attempt(isOurs, () => readText(text, this.#bounds))
    if (said === undefined) return undefined
    if (!isOurs && client.codec.name !== 'plain') return said.type === 'message' ? said : undefined
    if (client.codec !== this.#codecs.textual) client.codec = this.#codecs.textual
    return said
  }
}

/** What is not understood of a client that has not spoken this protocol yet is something else. */
function attempt<T>(isStrict: boolean, read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    if (isStrict) throw error
    return undefined
  }
}
