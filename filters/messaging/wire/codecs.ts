import type { Codec, Payload } from 'filtered-websocket'
import { readFrame } from '../../../protocols/clever-show/frame.ts'
import { messageOf } from '../../../protocols/clever-show/message.ts'
import { readText, writeText } from '../../../protocols/clever-show/text.ts'
import { limitsOf, TRUSTED } from './limits.ts'
import { type Action, frameOf } from './message.ts'

/** The format of payloads for messaging clients: a Buffer is a frame, a string is JSON text. */
export const FORMAT = 'messaging'
const PEER_LIMITS = limitsOf()

/** Converts payloads of other filters to actions for messaging clients, and actions to strings for other filters. */
export class Codecs {
  /** Frames, for peers on TCP and clients that send binary messages. They do not get the Buffers of other filters. */
  readonly framed: Codec
  /** JSON text, for browsers. Buffers are not changed. */
  readonly textual: Codec
  readonly #action: string

  /** @param action - name of the action that carries a plain string. */
  constructor(action: string) {
    this.#action = action
    this.framed = { name: 'messaging', formats: [FORMAT], encode: (payload, format) => this.#frame(payload, format) }
    this.textual = {
      name: 'messaging-text',
      formats: [FORMAT],
      encode: (payload, format) => this.#text(payload, format),
    }
  }

  /** Whether a codec is one of these two. */
  has(codec: Codec): boolean {
    return codec === this.framed || codec === this.textual
  }

  /** Encodes a message for a client with a codec of these two, to be sent with `FORMAT`. */
  payloadFor(codec: Codec, message: Parameters<typeof frameOf>[0]): Payload {
    return (codec === this.textual ? writeText(message) : undefined) ?? frameOf(message)
  }

  /** An action as a string for filters that do not read `message.messaging`. */
  plainOf(action: Action): string {
    const { name, args, kwargs } = action
    const [text] = args
    const isText = name === this.#action && args.length === 1 && typeof text === 'string'
    // A string that looks like an action would be read as that action.
    if (isText && Object.keys(kwargs).length === 0 && actionIn(text) === undefined) return text
    return writeText(forOthers(action))!
  }

  /** The action that a string of another filter becomes. */
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

/** The action that a string states as JSON text. */
function actionIn(text: string): Action | undefined {
  try {
    const message = readText(text, PEER_LIMITS)
    return message?.type === 'message' ? forOthers(message) : undefined
  } catch {
    return undefined
  }
}

/** Without `id`, as receivers must not answer it, and without `topic`, which only the server sets. */
function forOthers({ type, name, args, kwargs, at }: Action): Action {
  return { type, name, args, kwargs, ...(at !== undefined && { at }) }
}
