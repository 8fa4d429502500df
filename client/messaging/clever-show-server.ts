import { FILE, type Frame, type Id } from '../../protocols/clever-show/frame.ts'
import { type Failure, messageOf } from '../../protocols/clever-show/message.ts'
import { contentOf, MAX_CONTENT, type Outgoing, type Received } from './format.ts'
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
/** The length of a frame bounds the cost of its JSON. */
const LIMITS = { maxContent: MAX_CONTENT, parse: parseJson }

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
  readonly #respond: (response: Received) => void
  readonly #state: ServerState
  /** Ids of requests for the time. */
  readonly #timeRequests = new Set<Id>()
  #kind: Kind = 'unknown'
  #timer: NodeJS.Timeout | undefined

  /** @param respond - called with created responses. */
  constructor(respond: (response: Received) => void, state: ServerState) {
    this.#respond = respond
    this.#state = state
    state.isCleverShow = false
  }

  /** The message to send; `undefined`: none. */
  outgoing(message: Outgoing): Outgoing | undefined {
    if (this.#kind === 'filter') return message
    const { type, name, id } = message
    if (id === undefined || type === 'response') return message
    if (name === RESUME) {
      if (!this.#state.isKnown) this.#timer = setTimeout(() => this.#isWithoutFilter('clever-show'), RESUME_TIMEOUT)
    } else if (id === PULSE) {
      // There is no request that all these servers respond to.
      this.#createResponse(name, id)
      return undefined
    } else if (type === 'message' && !(name === FILE && this.#kind === 'partial')) this.#createResponse(name, id)
    else if (name === 'fws.clock') return this.#timeRequest(id)
    else if (this.#kind === 'clever-show' && name.startsWith('fws.')) {
      this.#createResponse(name, id, { code: 'unknown', message: `this server has no request ${name}` })
      return undefined
    }
    return message
  }

  /** The message for the client; `undefined`: of an unknown type. @throws Malformed */
  incoming(frame: Frame<Uint8Array<ArrayBuffer>>): Received | undefined {
    const { requested_value: name, request_id: id, error } = frame.header
    if (name === RESUME && this.#kind !== 'filter') {
      clearTimeout(this.#timer)
      if (Object(error).code === 'unknown') return this.#isWithoutFilter('partial')
      this.#kind = 'filter'
      this.#state.isKnown = true
    }
    const message = messageOf(frame, LIMITS)
    if (message?.type !== 'response' || name !== 'time' || !this.#timeRequests.delete(id as Id)) return message
    return { ...message, name: 'fws.clock', value: [message.value, message.value] }
  }

  /** The connection has ended. */
  stop(): void {
    clearTimeout(this.#timer)
  }

  #isWithoutFilter(kind: Kind): undefined {
    this.#kind = kind
    this.#state.isCleverShow = true
    this.#createResponse(RESUME, RESUME, { code: 'off', message: `this server has no request ${RESUME}` })
  }

  /** clever-show has another name for the request, and responds with one time only. */
  #timeRequest(id: Id): Outgoing {
    this.#timeRequests.add(id)
    if (this.#timeRequests.size > MAX_TIME_REQUESTS)
      this.#timeRequests.delete(this.#timeRequests.values().next().value!)
    return { type: 'request', name: 'time', id, content: contentOf() }
  }

  /** After the message was sent. */
  #createResponse(name: string, id: Id, error?: Failure): void {
    queueMicrotask(() => this.#respond({ type: 'response', name, id, value: null, ...(error && { error }) }))
  }
}

function parseJson(text: string): unknown {
  return JSON.parse(/NaN|Infinity/.test(text) ? toStrictJson(text) : text)
}

/** Replaces NaN and Infinity by null. */
export function toStrictJson(text: string): string {
  return text.replace(TOKEN, token => (token[0] === '"' ? token : 'null'))
}
