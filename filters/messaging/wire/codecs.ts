import type { Codec, Payload } from 'filtered-websocket'
import { readFrame } from '../../../protocols/clever-show/frame.ts'
import { messageOf } from '../../../protocols/clever-show/message.ts'
import { readText, writeText } from '../../../protocols/clever-show/text.ts'
import { limitsOf, TRUSTED } from './limits.ts'
import { type Action, frameOf, type Messaging } from './message.ts'

/** The format of payloads for messaging clients: a Buffer is a frame, a string is JSON. */
export const FORMAT = 'messaging'
const PEER_LIMITS = limitsOf()

/** Converts payloads of other filters to actions for messaging clients, and actions to strings for other filters. */
export class Codecs {
  /** Frames, for peers on TCP and clients that send binary messages. They do not get the Buffers of other filters. */
  readonly framed: Codec
  /** JSON strings. Buffers are not changed, and files are not delivered. */
  readonly textual: Codec
  /** JSON strings, and frames for files only. The Buffers of other filters are not delivered. */
  readonly mixed: Codec
  readonly #action: string

  /** @param action - name of the action that carries a plain string. */
  constructor(action: string) {
    this.#action = action
    const codec = (name: string, encode: Codec['encode']) => ({ name, formats: [FORMAT], encode })
    this.framed = codec('messaging', (payload, format) => this.#frame(payload, format))
    this.textual = codec('messaging-text', (payload, format) => this.#text(payload, format))
    this.mixed = codec('messaging-json', (payload, format) => this.#textOrFile(payload, format))
  }

  /** Whether a codec is one of these. */
  has(codec: Codec): boolean {
    return codec === this.framed || codec === this.textual || codec === this.mixed
  }

  /** Encodes a message for a client with a codec of these, to be sent with `FORMAT`. */
  payloadFor(codec: Codec, message: Messaging): Payload {
    return (codec === this.framed ? undefined : writeText(message)) ?? frameOf(message)
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

  #textOrFile(payload: Payload, format: string | undefined): Payload | undefined {
    if (typeof payload === 'string' || format !== undefined) return this.#text(payload, format) ?? payload
    return undefined
  }
}

/** The action in a JSON string. */
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
