import { stat } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { basename, dirname } from 'node:path'
import mime from 'mime-types'
import send from 'send'

/** Endings of compressed copies that lie beside a file, in the order of preference, and how HTTP calls them. */
const COPIES = [
  ['.br', 'br'],
  ['.gz', 'gzip'],
] as const

/**
 * Answers with a file, or a compressed copy beside it: ranges, conditions and HEAD as HTTP has them.
 *
 * @param path - absolute, and known to be allowed.
 * @param maxAge - seconds that it may be used without asking again.
 */
export async function sendFile(path: string, req: IncomingMessage, res: ServerResponse, maxAge: number): Promise<void> {
  const [copy, encoding] = await copyOf(path, req.headers['accept-encoding'] ?? '')
  res.setHeader('Content-Type', mime.contentType(basename(path)) || 'application/octet-stream')
  res.setHeader('Cache-Control', maxAge > 0 ? `public, max-age=${maxAge}` : 'no-cache')
  res.setHeader('Vary', 'Accept-Encoding')
  if (encoding !== undefined) res.setHeader('Content-Encoding', encoding)
  await new Promise<void>((resolve, reject) => {
    const stream = send(req, `/${encodeURIComponent(basename(copy))}`, {
      root: dirname(copy),
      dotfiles: 'allow',
      index: false,
      cacheControl: false,
    })
    stream.on('error', (error: Error & { status?: number; headers?: Record<string, string> }) => {
      const { status = 500, headers = {} } = error
      if (status === 500) return reject(error)
      // A range or a condition that cannot be met; or gone since it was looked at.
      for (const name of ['Content-Type', 'Content-Encoding', 'Cache-Control']) res.removeHeader(name)
      res.writeHead(status, headers).end()
    })
    res.once('close', resolve)
    stream.pipe(res)
  })
}

/** What to send, and its content coding if it is not the file itself. */
async function copyOf(path: string, accepted: string): Promise<readonly [string, string?]> {
  for (const [ending, encoding] of COPIES) {
    // `br;q=0` says that it is not (RFC 9110, section 12.5.3).
    if (!new RegExp(`(?:^|[,\\s])${encoding}\\s*(?:,|$|;\\s*q=(?!0(?:\\.0*)?\\s*(?:,|$)))`, 'i').test(accepted))
      continue
    const isThere = await stat(path + ending).then(
      stats => stats.isFile(),
      () => false,
    )
    if (isThere) return [path + ending, encoding]
  }
  return [path]
}
