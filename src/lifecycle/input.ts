import type { Readable } from 'node:stream'
import { FwsError } from '../contract/errors.ts'

/**
 * Standard input for one filter, opened when it is asked for.
 *
 * @throws (when asked for) FwsError `ERR_FILTER`: the server has no standard input, or another filter has it.
 */
export function singleInput(streams: { readonly stdin?: Readable | undefined }): () => Readable {
  let isTaken = false
  return () => {
    if (isTaken) throw new FwsError('ERR_FILTER', 'another filter reads standard input')
    const { stdin } = streams
    if (stdin === undefined)
      throw new FwsError('ERR_FILTER', 'no standard input: createServer({ stdin: process.stdin })')
    isTaken = true
    return stdin
  }
}
