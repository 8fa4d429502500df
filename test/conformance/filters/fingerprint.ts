import { createHash } from 'node:crypto'
import type { Payload } from 'filtered-websocket'

/** Identifies a message, short enough for a log line. */
export function fingerprint(payload: Payload): string {
  const bytes = Buffer.from(payload)
  const content = bytes.length <= 100 ? bytes.toString('hex') : createHash('sha256').update(bytes).digest('hex')
  return `${typeof payload === 'string' ? 'text' : 'binary'} of ${bytes.length}: ${content}`
}
