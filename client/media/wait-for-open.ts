import type { Connection } from '../connection.ts'
import { UploadError } from './upload.ts'

/** Settles when there is a connection. Rejects when there will be none, or with the reason of the signal. */
export async function opened(connection: Connection, signal: AbortSignal | undefined): Promise<void> {
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
