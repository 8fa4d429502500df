import { FILE, type Id, readFrame } from '../../protocols/clever-show/frame.ts'
import { type Kwargs, messageOf } from '../../protocols/clever-show/message.ts'
import { encode, type Frame, LIMITS } from './format.ts'
import { PULSE, RESUME } from './session.ts'

/** Milliseconds for the response to `fws.resume`, which clever-show does not send. */
const RESUME_TIMEOUT = 2000
/** Unanswered requests for the time. */
const MAX_TIME_REQUESTS = 100
/**
 * A quoted string, or a number of Python that JSON does not have. It also matches a string without an end, as otherwise the
 * search would start again at each of its quotes.
 */
const TOKEN = /"(?:[^"\\]|\\.)*"?|-?\b(?:NaN|Infinity)\b/g
const NULL = '{"value":null}'

/**
 * `filter`: the filter `messaging`. `partial`: another server that reports unknown requests, but responds to no action except
 * files. `clever-show`: a server that ignores unknown requests and responds to no action.
 */
type Kind = 'unknown' | 'filter' | 'partial' | 'clever-show'

/** State of a server that outlives a connection. */
export interface ServerState {
  /** The filter has responded before, so no response is not a sign of clever-show. */
  isKnown: boolean
  /** The server of the latest connection has no filter `messaging`, so all messages are its own. */
  isCleverShow: boolean
}

/**
 * Makes a clever-show server look like the filter `messaging`: creates the responses that it does not send
 * (clever-show-messaging, section 2), and converts its JSON to strict JSON (section 1.1).
 */
export class CleverShowServer {
  readonly #respond: (frame: ArrayBuffer) => void
  readonly #state: ServerState
  /** Ids of requests for the time. */
  readonly #timeRequests = new Set<Id>()
  #kind: Kind = 'unknown'
  #timer: NodeJS.Timeout | undefined

  /** @param respond - called with created responses. */
  constructor(respond: (frame: ArrayBuffer) => void, state: ServerState) {
    this.#respond = respond
    this.#state = state
    state.isCleverShow = false
  }

  /** The frame to send; `undefined`: none. */
  outgoing(frame: Uint8Array<ArrayBuffer>): Uint8Array | undefined {
    if (this.#kind === 'filter') return frame
    const { type, name, id } = messageOf(readFrame(frame, LIMITS), LIMITS)!
    if (id === undefined || type === 'response') return frame
    if (name === RESUME) {
      if (!this.#state.isKnown) this.#timer = setTimeout(() => this.#isWithoutFilter('clever-show'), RESUME_TIMEOUT)
    } else if (id === PULSE) {
      // There is no request that all these servers respond to.
      this.#createResponse(name, id)
      return undefined
    } else if (type === 'message' && !(name === FILE && this.#kind === 'partial')) this.#createResponse(name, id)
    else if (name === 'fws.clock') return this.#timeRequest(id)
    else if (this.#kind === 'clever-show' && name.startsWith('fws.')) {
      this.#createResponse(name, id, { error: { code: 'unknown', message: `this server has no request ${name}` } })
      return undefined
    }
    return frame
  }

  /** The frame for the client; `undefined`: none. */
  incoming(frame: Frame): ArrayBuffer | Frame | undefined {
    const { header, content } = frame
    const { requested_value: name, request_id: id, error } = header
    if (name === RESUME && this.#kind !== 'filter') {
      clearTimeout(this.#timer)
      if (Object(error).code === 'unknown') return this.#isWithoutFilter('partial')
      this.#kind = 'filter'
      this.#state.isKnown = true
      return frame
    }
    if (header['content-type'] !== 'json') return frame
    const isTime = name === 'time' && this.#timeRequests.delete(id as Id)
    const text = Buffer.from(content.buffer, content.byteOffset, content.length).toString()
    if (!isTime && !text.includes('NaN') && !text.includes('Infinity')) return frame
    const strict = toStrictJson(text)
    if (isTime) {
      const { value } = JSON.parse(strict)
      return encode('response', 'fws.clock', id as Id, { error }, JSON.stringify({ value: [value, value] })).buffer
    }
    if (strict === text) return frame
    return { ...frame, header: { ...header, 'content-encoding': 'utf-8' }, content: new TextEncoder().encode(strict) }
  }

  /** The connection has ended. */
  stop(): void {
    clearTimeout(this.#timer)
  }

  #isWithoutFilter(kind: Kind): undefined {
    this.#kind = kind
    this.#state.isCleverShow = true
    this.#createResponse(RESUME, RESUME, { error: { code: 'off', message: `this server has no request ${RESUME}` } })
  }

  /** clever-show has another name for the request, and responds with one time only. */
  #timeRequest(id: Id): Uint8Array {
    this.#timeRequests.add(id)
    if (this.#timeRequests.size > MAX_TIME_REQUESTS)
      this.#timeRequests.delete(this.#timeRequests.values().next().value!)
    return encode('request', 'time', id, {}, '{"args":[],"kwargs":{}}')
  }

  /** After the frame was sent. */
  #createResponse(name: string, id: Id, fields: Kwargs = {}): void {
    queueMicrotask(() => this.#respond(encode('response', name, id, fields, NULL).buffer))
  }
}

/** Replaces NaN and Infinity by null. */
export function toStrictJson(text: string): string {
  return text.replace(TOKEN, token => (token[0] === '"' ? token : 'null'))
}
