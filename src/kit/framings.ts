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

/**
 * Makes the framing of an input.
 *
 * @param max - bytes of a payload.
 * @param onSkip - called with the reason for each message that is skipped.
 */
export function createFraming(name: FramingName, max: number, onSkip: (why: string) => void): Framing<Incoming> {
  const tooLong = () => onSkip('longer than --max-payload')
  if (name === 'json') return new JsonLines(max, onSkip)
  if (name === 'length')
    return new Payloads(
      new LengthFrames(max, why => (why === 'too long' ? tooLong() : onSkip('the input has ended within it'))),
    )
  return new Payloads(new Lines(max, tooLong, name === 'nul' ? '\0' : '\n'))
}

/** Messages that have only a payload. */
class Payloads implements Framing<Incoming> {
  readonly #framing: Framing

  constructor(framing: Framing) {
    this.#framing = framing
  }

  add(chunk: Buffer): void {
    this.#framing.add(chunk)
  }

  next(): Incoming | undefined {
    return incoming(this.#framing.next())
  }

  get hasRest(): boolean {
    return this.#framing.hasRest
  }

  last(): Incoming | undefined {
    return incoming(this.#framing.last())
  }
}

/** One JSON object a line: `data` or `binary`, and `topic`. Other fields are ignored, so that the lines of filter `stdout` are input. */
class JsonLines implements Framing<Incoming> {
  readonly #lines: Lines
  readonly #max: number
  readonly #onSkip: (why: string) => void

  constructor(max: number, onSkip: (why: string) => void) {
    this.#lines = new Lines(JSON_FACTOR * max + JSON_REST, () => onSkip('longer than --max-payload'))
    this.#max = max
    this.#onSkip = onSkip
  }

  add(chunk: Buffer): void {
    this.#lines.add(chunk)
  }

  next(): Incoming | undefined {
    for (;;) {
      const line = this.#lines.next()
      if (line === undefined) return undefined
      const message = this.#read(line)
      if (message !== undefined) return message
    }
  }

  get hasRest(): boolean {
    return this.#lines.hasRest
  }

  last(): Incoming | undefined {
    const line = this.#lines.last()
    return line === undefined ? undefined : this.#read(line)
  }

  #read(line: string): Incoming | undefined {
    try {
      const message = messageIn(JSON.parse(line))
      if (Buffer.byteLength(message.payload) <= this.#max) return message
      this.#onSkip('longer than --max-payload')
    } catch (error) {
      // A message of JSON.parse quotes the line.
      this.#onSkip(error instanceof WrongLine ? error.message : 'not JSON')
    }
    return undefined
  }
}

class WrongLine extends Error {}

/** @throws WrongLine */
function messageIn(value: unknown): Incoming {
  if (typeof value !== 'object' || value === null) throw new WrongLine('not a JSON object')
  const { topic } = value as { topic?: unknown }
  if (topic !== undefined && typeof topic !== 'string') throw new WrongLine('"topic" must be a string')
  const payload = payloadOf(value)
  if (payload === undefined) throw new WrongLine('a JSON object without "data" and "binary"')
  return topic === undefined ? { payload } : { payload, topic }
}

/** @throws WrongLine */
function payloadOf(value: object): Payload | undefined {
  try {
    return payloadIn(value)
  } catch (error) {
    throw new WrongLine((error as Error).message)
  }
}

function incoming(payload: Payload | undefined): Incoming | undefined {
  return payload === undefined ? undefined : { payload }
}
