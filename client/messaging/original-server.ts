import { FILE, type Id, readFrame } from '../../protocols/clever-show/frame.ts'
import { type Kwargs, messageOf } from '../../protocols/clever-show/message.ts'
import { encode, type Frame, LIMITS } from './format.ts'
import { PULSE, RESUME } from './link.ts'

/** Milliseconds for the answer to `fws.resume`: the original has none. */
const PATIENCE = 2000
/** Questions for the time that may be unanswered. */
const MAX_ASKED = 100
/**
 * A text in quotes, or what Python writes for numbers that JSON does not have. A text without an end is one, too: else each
 * quote in it would be looked behind anew.
 */
const TOKEN = /"(?:[^"\\]|\\.)*"?|-?\b(?:NaN|Infinity)\b/g
const NOTHING = '{"value":null}'

/**
 * Whom one talks to: nobody knows yet; one of ours; one that answers of actions those alone that bring files; the original,
 * which answers nothing that it does not know.
 */
type Server = 'unknown' | 'ours' | 'strange' | 'original'

/** What is known of a server from earlier connections. */
export interface Known {
  /** It has said so: silence tells nothing then. */
  isOurs: boolean
  /** Of the latest connection: it is none of ours, and whatever it says is its own word. */
  isOriginal: boolean
}

/**
 * Makes the original look like a server of ours, as far as that goes: what it does not answer is answered here
 * (clever-show-messaging, section 2), and what is no JSON is made such (section 1.1).
 */
export class OriginalServer {
  readonly #answer: (frame: ArrayBuffer) => void
  readonly #known: Known
  /** Ids of questions for the time. */
  readonly #asked = new Set<Id>()
  #server: Server = 'unknown'
  #timer: NodeJS.Timeout | undefined

  /** @param answer - hears what is answered in its place. */
  constructor(answer: (frame: ArrayBuffer) => void, known: Known) {
    this.#answer = answer
    this.#known = known
    known.isOriginal = false
  }

  /** What goes out in the place of a frame; `undefined`: nothing. */
  said(frame: Uint8Array<ArrayBuffer>): Uint8Array | undefined {
    if (this.#server === 'ours') return frame
    const { type, name, id } = messageOf(readFrame(frame, LIMITS), LIMITS)!
    if (id === undefined || type === 'response') return frame
    if (name === RESUME) {
      if (!this.#known.isOurs) this.#timer = setTimeout(() => this.#isNoneOfOurs('original'), PATIENCE)
    } else if (id === PULSE) {
      // There is nothing that every one of them would answer.
      this.#say(name, id)
      return undefined
    } else if (type === 'message' && !(name === FILE && this.#server === 'strange')) this.#say(name, id)
    else if (name === 'fws.clock') return this.#askTime(id)
    else if (this.#server === 'original' && name.startsWith('fws.')) {
      this.#say(name, id, { error: { code: 'unknown', message: `this server does not know ${name}` } })
      return undefined
    }
    return frame
  }

  /** What is heard in the place of a frame; `undefined`: nothing. */
  heard(frame: Frame): ArrayBuffer | Frame | undefined {
    const { header, content } = frame
    const { requested_value: name, request_id: id, error } = header
    if (name === RESUME && this.#server !== 'ours') {
      clearTimeout(this.#timer)
      if (Object(error).code === 'unknown') return this.#isNoneOfOurs('strange')
      this.#server = 'ours'
      this.#known.isOurs = true
      return frame
    }
    if (header['content-type'] !== 'json') return frame
    const isTime = name === 'time' && this.#asked.delete(id as Id)
    const text = Buffer.from(content.buffer, content.byteOffset, content.length).toString()
    if (!isTime && !text.includes('NaN') && !text.includes('Infinity')) return frame
    const strict = strictly(text)
    if (isTime) {
      const { value } = JSON.parse(strict)
      return encode('response', 'fws.clock', id as Id, { error }, JSON.stringify({ value: [value, value] })).buffer
    }
    return strict === text ? frame : withContent(frame, strict)
  }

  /** The connection is gone. */
  stop(): void {
    clearTimeout(this.#timer)
  }

  #isNoneOfOurs(server: Server): undefined {
    this.#server = server
    this.#known.isOriginal = true
    this.#say(RESUME, RESUME, { error: { code: 'off', message: 'this server does not know what resuming is' } })
  }

  /** Its clock is asked for by another name; when the question came it does not tell. */
  #askTime(id: Id): Uint8Array {
    this.#asked.add(id)
    if (this.#asked.size > MAX_ASKED) this.#asked.delete(this.#asked.keys().next().value!)
    return encode('request', 'time', id, {}, '{"args":[],"kwargs":{}}')
  }

  /** When what was said has gone out. */
  #say(name: string, id: Id, fields: Kwargs = {}): void {
    queueMicrotask(() => this.#answer(encode('response', name, id, fields, NOTHING).buffer))
  }
}

function withContent({ header, bytes }: Frame, text: string): Frame {
  return { header: { ...header, 'content-encoding': 'utf-8' }, content: new TextEncoder().encode(text), bytes }
}

/** Null for the NaN and Infinity of real peers, which JSON does not have. */
export function strictly(text: string): string {
  return text.replace(TOKEN, token => (token[0] === '"' ? token : 'null'))
}
