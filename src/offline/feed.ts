import type { Readable, Writable } from 'node:stream'
import { FwsError, messageOf } from '../contract/errors.ts'
import { Lines, readMessages } from '../kit/lines.ts'
import type { PieceWriter } from '../kit/piece-writer.ts'
import { visible } from '../kit/visible.ts'

/** Bad lines that are printed; the others are counted. */
const MAX_PRINTED = 10

export interface Feeding {
  /** Returns a promise unless the line is finished at once. @throws (also rejects) SyntaxError: the line is bad. */
  play(line: string): Promise<void> | undefined
  /** Bytes of a line; longer lines are bad. */
  readonly maxLine: number
  /** Why those are bad. */
  readonly tooLong: string
  /** Gets one line for each bad line, with its number. */
  readonly stderr: Writable
  readonly output: PieceWriter
  readonly signal: AbortSignal | undefined
}

/**
 * Passes each line of an input on when the one before is finished, until its end, the end of the output, or the signal. Returns
 * the number of bad lines, after which it goes on.
 *
 * @throws (rejects) FwsError `ERR_COMMAND`: the input cannot be read. Errors of `play` that are not about a line.
 */
export async function feed(
  input: Readable | undefined,
  { play, maxLine, tooLong, stderr, output, signal }: Feeding,
): Promise<number> {
  if (input === undefined || signal?.aborted) return 0
  /** Number of the line that is read. */
  let number = 0
  let bad = 0
  const add = (error: unknown): void => {
    if (!(error instanceof SyntaxError)) {
      const message = `line ${number}: ${messageOf(error)}`
      throw (error as { code?: unknown }).code === 'ERR_COMMAND' ? new FwsError('ERR_COMMAND', message, error) : error
    }
    if (bad++ < MAX_PRINTED) stderr.write(`fws-server: line ${number}: ${visible(error.message)}\n`)
  }
  const attempt = (line: string): Promise<void> | undefined => {
    number++
    try {
      return play(line)?.catch(add)
    } catch (error) {
      add(error)
      return undefined
    }
  }
  const lines = new Lines(maxLine, () => {
    number++
    add(new SyntaxError(tooLong))
  })
  const isEnded = () => output.isGone || signal?.aborted === true
  const end = () => void input.destroy()
  signal?.addEventListener('abort', end, { once: true })
  void output.gone.then(end)
  try {
    await readMessages(input, lines, attempt, isEnded)
  } catch (error) {
    if (isEnded()) return bad
    if (input.errored !== error) throw error
    throw new FwsError('ERR_COMMAND', `the input cannot be read: ${messageOf(error)}`, error)
  } finally {
    signal?.removeEventListener('abort', end)
  }
  if (bad > MAX_PRINTED && !output.isGone) stderr.write(`fws-server: ${bad} lines are bad\n`)
  return bad
}
