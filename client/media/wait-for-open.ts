import type { Connection } from '../connection.ts'
import { UploadError } from './upload.ts'

/** Settles when the connection is open. Rejects with UploadError if it is closed for good, or with the signal's reason. */
export async function waitForOpen(connection: Connection, signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted()
  if (connection.state === 'open') return
  if (connection.state === 'closed') throw new UploadError('lost', 'the connection is closed')
  const stops: (() => void)[] = []
  try {
    await new Promise<void>((resolve, reject) => {
      const abort = () => reject(signal!.reason)
      signal?.addEventListener('abort', abort)
      stops.push(
        () => signal?.removeEventListener('abort', abort),
        connection.on('open', () => resolve()),
        connection.on('close', ({ code, retryIn }) => {
          if (retryIn === undefined) reject(new UploadError('lost', `the connection is closed (${code})`))
        }),
      )
    })
  } finally {
    for (const stop of stops) stop()
  }
}
