import type { Payload } from '../contract/payload.ts'
import { payloadIn } from './json-payload.ts'
import { LengthFrames } from './length-frames.ts'
import { type Framing, type FramingName, Lines } from './lines.ts'

/** A message of the input. */
export interface Incoming {
  readonly payload: Payload
  /** Topic of its broadcasts. Default: that of the input. */
  readonly topic?: string
}

/** Bytes of a JSON line for each byte of its payload (`\u0000`), and for all else. */
const JSON_FACTOR = 6
const JSON_REST = 4096
const TOO_LONG = 'longer than --max-payload'

/**
 * Makes the framing of an input.
 *
 * @param max - bytes of a payload.
 * @param onSkip - called with the reason for each message that is skipped.
 */
export function createFraming(name: FramingName, max: number, onSkip: (why: string) => void): Framing<Incoming> {
  const tooLong = () => onSkip(TOO_LONG)
  switch (name) {
    case 'json':
      return new Converted(new Lines(JSON_FACTOR * max + JSON_REST, tooLong), line => {
        try {
          return messageIn(line, max)
        } catch (error) {
          onSkip((error as Error).message)
          return undefined
        }
      })
    case 'length':
      return new Converted(
        new LengthFrames(max, why => (why === 'too long' ? tooLong() : onSkip('the input has ended within it'))),
        incoming,
      )
    default:
      return new Converted(new Lines(max, tooLong, name === 'nul' ? '\0' : '\n'), incoming)
  }
}

/** A framing with a conversion of its messages, which skips those that become `undefined`. */
class Converted<T> implements Framing<Incoming> {
  readonly #framing: Framing<T>
  readonly #convert: (message: T) => Incoming | undefined

  constructor(framing: Framing<T>, convert: (message: T) => Incoming | undefined) {
    this.#framing = framing
    this.#convert = convert
  }

  add(chunk: Buffer): void {
    this.#framing.add(chunk)
  }

  next(): Incoming | undefined {
    for (;;) {
      const message = this.#framing.next()
      if (message === undefined) return undefined
      const converted = this.#convert(message)
      if (converted !== undefined) return converted
    }
  }

  get hasRest(): boolean {
    return this.#framing.hasRest
  }

  last(): Incoming | undefined {
    const message = this.#framing.last()
    return message === undefined ? undefined : this.#convert(message)
  }
}

/**
 * One JSON object: `data` or `binary`, and `topic`. Other fields are ignored, so that the lines of filter `stdout` are input.
 *
 * @throws SyntaxError: the message does not quote the line.
 */
function messageIn(line: string, max: number): Incoming {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    throw new SyntaxError('not JSON')
  }
  if (typeof value !== 'object' || value === null) throw new SyntaxError('not a JSON object')
  const { topic } = value as { topic?: unknown }
  if (topic !== undefined && typeof topic !== 'string') throw new SyntaxError('"topic" must be a string')
  const payload = payloadIn(value)
  if (payload === undefined) throw new SyntaxError('a JSON object without "data" and "binary"')
  if (Buffer.byteLength(payload) > max) throw new SyntaxError(TOO_LONG)
  return topic === undefined ? { payload } : { payload, topic }
}

function incoming(payload: Payload): Incoming {
  return { payload }
}
