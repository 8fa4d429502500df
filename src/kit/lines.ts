import type { Readable } from 'node:stream'
import type { Payload } from '../contract/payload.ts'

/** How messages are separated on standard input and output: the choices of `--stdin-framing` and `--stdout-framing`. */
export const FRAMINGS = ['lines', 'nul', 'json', 'length'] as const
export type FramingName = (typeof FRAMINGS)[number]

/** Splits bytes into messages. A message of more than a maximum is skipped, and not kept in memory. */
export interface Framing<T = Payload> {
  /** Adds a chunk; all messages of the one before MUST have been read. */
  add(chunk: Buffer): void
  /** The next complete message; `undefined` if the chunk has no further one. */
  next(): T | undefined
  /** Whether the bytes end within a message. */
  readonly hasRest: boolean
  /** The bytes that are left as a message; `undefined` if it is skipped. */
  last(): T | undefined
}

const RETURN = 0x0d

/**
 * Passes each message of a stream on when the one before is handled, until the end of the stream, or until `isStopped` after a message.
 *
 * @param handle - returns a promise if the next message has to wait.
 * @throws (rejects) errors of the stream, and those of `handle`.
 */
export async function readMessages<T>(
  stream: AsyncIterable<Buffer | string>,
  framing: Framing<T>,
  handle: (message: T) => Promise<void> | undefined,
  isStopped: () => boolean,
): Promise<void> {
  for await (const chunk of stream) {
    framing.add(Buffer.from(chunk))
    for (let message = framing.next(); message !== undefined; message = framing.next()) {
      const handled = handle(message)
      if (handled !== undefined) await handled
      if (isStopped()) return
    }
  }
  const rest = framing.hasRest ? framing.last() : undefined
  if (rest !== undefined) await handle(rest)
}

/** Calls `handle` with each line of a stream at once, also with a last one that has no end. */
export function onLines(stream: Readable, lines: Lines, handle: (line: string) => void): void {
  stream.on('data', (chunk: Buffer) => {
    lines.add(chunk)
    for (let line = lines.next(); line !== undefined; line = lines.next()) handle(line)
  })
  stream.once('end', () => {
    const rest = lines.hasRest ? lines.last() : undefined
    if (rest !== undefined) handle(rest)
  })
}

/**
 * Splits bytes into lines, without their line ends: LF or CR LF, or a NUL byte. A line of more than `max` bytes is skipped;
 * `onSkip` is called as soon as it is too long.
 *
 * @example
 * onLines(stream, new Lines(limits['max-payload'], () => log.warn('line skipped')), handle)
 */
export class Lines implements Framing<string> {
  readonly #max: number
  readonly #onSkip: () => void
  readonly #end: number
  #chunk: Buffer = Buffer.alloc(0)
  /** Where the next line begins in it. */
  #at = 0
  /** The beginning of a line that continues in the next chunk. */
  #parts: Buffer[] = []
  #length = 0
  #isSkipping = false

  constructor(max: number, onSkip: () => void, end: '\n' | '\0' = '\n') {
    this.#max = max
    this.#onSkip = onSkip
    this.#end = end.charCodeAt(0)
  }

  add(chunk: Buffer): void {
    this.#chunk = chunk
    this.#at = 0
  }

  next(): string | undefined {
    for (;;) {
      const start = this.#at
      const end = this.#chunk.indexOf(this.#end, start)
      this.#at = end === -1 ? this.#chunk.length : end + 1
      // Most lines are whole in the chunk, and are not copied.
      if (end !== -1 && !this.hasRest && end - start <= this.#max)
        return this.#chunk.toString('utf8', start, this.#withoutReturn(this.#chunk, end, start))
      this.#keep(this.#chunk.subarray(start, end === -1 ? this.#at : end))
      if (end === -1) return undefined
      const line = this.last()
      if (line !== undefined) return line
    }
  }

  last(): string | undefined {
    const line = this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts)
    const end = this.#withoutReturn(line, line.length, 0)
    const wasSkipped = this.#isSkipping
    this.#parts = []
    this.#length = 0
    this.#isSkipping = false
    if (wasSkipped) return undefined
    if (end <= this.#max) return line.toString('utf8', 0, end)
    this.#onSkip()
    return undefined
  }

  /** The end of a line, before the CR of CR LF. */
  #withoutReturn(bytes: Buffer, end: number, start: number): number {
    return this.#end !== 0 && end > start && bytes[end - 1] === RETURN ? end - 1 : end
  }

  get hasRest(): boolean {
    return this.#isSkipping || this.#length > 0
  }

  #keep(bytes: Buffer): void {
    this.#length += bytes.length
    // One byte more, as a CR at the end does not count.
    if (this.#isSkipping) return
    if (this.#length > this.#max + 1) {
      this.#isSkipping = true
      this.#parts = []
      this.#onSkip()
    } else if (bytes.length > 0) this.#parts.push(bytes)
  }
}
