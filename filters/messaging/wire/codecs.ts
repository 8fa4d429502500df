import type { Codec, Payload } from 'filtered-websocket'
import { readFrame } from '../../../protocols/clever-show/frame.ts'
import { messageOf } from '../../../protocols/clever-show/message.ts'
import { readText, writeText } from '../../../protocols/clever-show/text.ts'
import { limitsOf, TRUSTED } from './limits.ts'
import { type Action, frameOf } from './message.ts'

/** The format of messages between filters and nodes: bytes are a frame, a text is the form for browsers. */
export const FORMAT = 'messaging'
const PEERS = limitsOf()

/** How the texts of other filters look to clients of this one, and theirs to other filters. */
export class Codecs {
  /** Frames: for peers on TCP, and for those who send binary messages. What other filters send as bytes is not for them. */
  readonly framed: Codec
  /** Texts in JSON, for browsers. Bytes stay as they are. */
  readonly textual: Codec
  readonly #action: string

  /** @param action - the name of an action that is nothing but a text. */
  constructor(action: string) {
    this.#action = action
    this.framed = { name: 'messaging', formats: [FORMAT], encode: (...sent) => this.#frame(...sent) }
    this.textual = { name: 'messaging-text', formats: [FORMAT], encode: (...sent) => this.#text(...sent) }
  }

  /** Whether a codec is one of ours. */
  has(codec: Codec): boolean {
    return codec === this.framed || codec === this.textual
  }

  /** A message for a client of such a codec, to be sent with `FORMAT`. */
  payloadFor(codec: Codec, message: Parameters<typeof frameOf>[0]): Payload {
    return (codec === this.textual ? writeText(message) : undefined) ?? frameOf(message)
  }

  /** An action as filters see it that know nothing of actions. */
  plainOf(action: Action): string {
    const { name, args, kwargs } = action
    const [text] = args
    const isText = name === this.#action && args.length === 1 && typeof text === 'string'
    // What looks like an action would become that one.
    if (isText && Object.keys(kwargs).length === 0 && actionIn(text) === undefined) return text
    return writeText(forOthers(action))!
  }

  /** The reverse: a text that is an action in the form for browsers is that action. */
  #actionOf(text: string): Action {
    return actionIn(text) ?? { type: 'message', name: this.#action, args: [text], kwargs: {} }
  }

  #frame(payload: Payload, format: string | undefined): Payload | undefined {
    if (format === undefined) return typeof payload === 'string' ? frameOf(this.#actionOf(payload)) : undefined
    return typeof payload === 'string' ? frameOf(readText(payload, TRUSTED)!) : payload
  }

  #text(payload: Payload, format: string | undefined): Payload | undefined {
    if (format === undefined) return typeof payload === 'string' ? writeText(this.#actionOf(payload)) : payload
    return typeof payload === 'string' ? payload : writeText(messageOf(readFrame(payload, TRUSTED), TRUSTED)!)
  }
}

/** Whoever says such a text is taken to say the action, so that nobody can have others say it. */
function actionIn(text: string): Action | undefined {
  try {
    const message = readText(text, PEERS)
    return message?.type === 'message' ? forOthers(message) : undefined
  } catch {
    return undefined
  }
}

/** Who gets it from another must not answer to an id, nor take a topic on a client's word. */
function forOthers({ type, name, args, kwargs, at }: Action): Action {
  return { type, name, args, kwargs, ...(at !== undefined && { at }) }
}
