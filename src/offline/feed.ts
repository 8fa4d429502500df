import type { Readable } from 'node:stream'
import { FwsError, messageOf } from '../contract/errors.ts'
import { Lines, readMessages } from '../kit/lines.ts'
import type { PieceWriter } from '../kit/piece-writer.ts'
import type { Problems } from './problems.ts'

export interface Feeding {
  /** Returns a promise unless the line is finished at once. @throws (also rejects) SyntaxError: the line is bad. */
  play(line: string): Promise<void> | undefined
  /** Bytes of a line; longer lines are bad. */
  readonly maxLine: number
  /** Why those are bad. */
  readonly tooLong: string
  readonly problems: Problems
  readonly output: PieceWriter
  readonly signal: AbortSignal | undefined
}

/**
 * Passes each line of an input on when the one before is finished, until its end, the end of the output, or the signal.
 *
 * @throws (rejects) FwsError `ERR_COMMAND`: the input cannot be read. Errors of `play` that are not about a line.
 */
export async function feed(
  input: Readable | undefined,
  { play, maxLine, tooLong, problems, output, signal }: Feeding,
): Promise<void> {
  if (input === undefined || signal?.aborted) return
  const add = (error: unknown) => problems.add(error)
  const attempt = (line: string): Promise<void> | undefined => {
    problems.line++
    try {
      return play(line)?.catch(add)
    } catch (error) {
      add(error)
      return undefined
    }
  }
  const lines = new Lines(maxLine, () => {
    problems.line++
    add(new SyntaxError(tooLong))
  })
  const isEnded = () => output.isGone || signal?.aborted === true
  const end = () => void input.destroy()
  signal?.addEventListener('abort', end, { once: true })
  void output.gone.then(end)
  try {
    await readMessages(input, lines, attempt, isEnded)
  } catch (error) {
    if (isEnded()) return
    if (input.errored !== error) throw error
    throw new FwsError('ERR_COMMAND', `the input cannot be read: ${messageOf(error)}`, error)
  } finally {
    signal?.removeEventListener('abort', end)
  }
}
