import type { Client, Payload } from 'filtered-websocket'
import { looksLikeFrame, readFrame } from '../../../protocols/clever-show/frame.ts'
import type { Limits } from '../../../protocols/clever-show/json.ts'
import { messageOf } from '../../../protocols/clever-show/message.ts'
import { withPart } from '../../../protocols/clever-show/part.ts'
import { readText } from '../../../protocols/clever-show/text.ts'
import type { Codecs } from './codecs.ts'
import type { Action, Frame, Messaging } from './message.ts'

/** A frame of a type that a later version of the protocol may define (clever-show-messaging, section 1.1). */
export const IGNORED = Symbol('ignored')

/** Decodes the messages of clients. */
export class Reader {
  readonly #codecs: Codecs
  readonly #limits: Limits

  constructor(codecs: Codecs, limits: Limits) {
    this.#codecs = codecs
    this.#limits = limits
  }

  /**
   * A message of a client of this protocol; `undefined`: the payload is not in this protocol. A client of `messaging` or
   * `messaging-frames` gets its messages in the form that it used last.
   *
   * @param parsed - the frame, if the transport has parsed the payload.
   * @throws Malformed
   */
  read(payload: Payload, client: Client, parsed: Frame | undefined): Messaging | typeof IGNORED | undefined {
    const { framed, textual } = this.#codecs
    if (typeof payload === 'string') {
      const message = readText(payload, this.#limits)
      if (message !== undefined && client.codec === framed) client.codec = textual
      return message
    }
    // An earlier filter may have replaced the payload.
    if (client.codec !== textual) return this.#messageOf(parsed?.bytes === payload ? parsed : this.#frameOf(payload))
    const message = looksLikeFrame(payload) ? lenient(() => this.#messageOf(this.#frameOf(payload))) : undefined
    if (message !== undefined) client.codec = framed
    return message
  }

  /**
   * The action that messaging clients get when a filter broadcasts the string of a client without this protocol;
   * `undefined`: none.
   */
  actionIn(payload: Payload): Action | undefined {
    const message = typeof payload === 'string' ? lenient(() => readText(payload, this.#limits)) : undefined
    return message?.type === 'message' ? message : undefined
  }

  #frameOf(bytes: Buffer): Frame {
    return readFrame(bytes, this.#limits)
  }

  #messageOf(frame: Frame): Messaging | typeof IGNORED {
    const message = messageOf(frame, this.#limits)
    return message === undefined ? IGNORED : withPart(message)
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
