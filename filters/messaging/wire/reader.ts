import type { Client, Payload } from 'filtered-websocket'
import type { JsonBounds } from 'filtered-websocket/kit'
import type { Codecs } from './codecs.ts'
import { type Frame, looksLikeFrame, readFrame } from './frame.ts'
import { OF_PEERS } from './json.ts'
import { type Action, type Messaging, messageOf } from './message.ts'
import { readText } from './text.ts'

/** A frame of a type that a later version of the protocol may define (clever-show-messaging, section 1.1). */
export const IGNORED = Symbol('ignored')

/** Decodes the messages of clients. */
export class Reader {
  readonly #codecs: Codecs
  readonly #maxContent: number
  readonly #bounds: JsonBounds
  readonly #maxFile: number

  /**
   * @param maxContent - bytes of the content of a frame, and characters of a string.
   * @param maxFile - bytes of a file in a frame.
   */
  constructor(codecs: Codecs, maxContent: number, maxFile: number) {
    this.#codecs = codecs
    this.#maxFile = maxFile
    this.#maxContent = maxContent
    this.#bounds = { ...OF_PEERS, maxLength: maxContent }
  }

  /**
   * A message of a client of this protocol, which gets its messages in the form that it used last; `undefined`: the payload
   * is not in this protocol.
   *
   * @param parsed - the frame, if the transport has parsed the payload.
   * @throws Malformed
   */
  read(payload: Payload, client: Client, parsed: Frame | undefined): Messaging | typeof IGNORED | undefined {
    const { framed, textual } = this.#codecs
    if (typeof payload === 'string') {
      const message = readText(payload, this.#bounds)
      if (message !== undefined && client.codec !== textual) client.codec = textual
      return message
    }
    // An earlier filter may have replaced the payload.
    if (client.codec === framed) return this.#messageOf(parsed?.bytes === payload ? parsed : this.#frameOf(payload))
    const message = looksLikeFrame(payload) ? lenient(() => this.#messageOf(this.#frameOf(payload))) : undefined
    if (message !== undefined) client.codec = framed
    return message
  }

  /**
   * The action that messaging clients get when a filter broadcasts the text of a client that does not speak this protocol;
   * `undefined`: none.
   */
  actionIn(payload: Payload): Action | undefined {
    const message = typeof payload === 'string' ? lenient(() => readText(payload, this.#bounds)) : undefined
    return message?.type === 'message' ? message : undefined
  }

  #frameOf(bytes: Buffer): Frame {
    return readFrame(bytes, this.#maxContent, this.#maxFile)
  }

  #messageOf(frame: Frame): Messaging | typeof IGNORED {
    return messageOf(frame, this.#bounds) ?? IGNORED
  }
}

/** `undefined` in place of an error: the payload is something else. */
function lenient<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}
