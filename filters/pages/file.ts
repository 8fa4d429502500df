import type { ReadStream } from 'node:fs'
import { lstat } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { basename, dirname } from 'node:path'
import mime from 'mime-types'
import send from 'send'

/** Endings of compressed copies that lie beside a file, in the order of preference, and how HTTP calls them. */
const COPIES = [
  ['.br', 'br'],
  ['.gz', 'gzip'],
] as const
/** What a page loads as part of itself; a Content-Security-Policy of the file is not asked then. */
const LOADED_BY_PAGES = /javascript|ecmascript|\/css|wasm/

/** What was said of a file before it turned out that it is not sent. */
const ABOUT_THE_FILE = [
  'Accept-Ranges',
  'Cache-Control',
  'Content-Disposition',
  'Content-Encoding',
  'Content-Length',
  'Content-Type',
  'ETag',
  'Last-Modified',
]

export interface Sending {
  /** Absolute, without links, and known to be allowed. */
  readonly path: string
  /** Seconds that it may be used without asking again. */
  readonly maxAge: number
  /** It never changes: a browser need not ask even when its page is reloaded (RFC 8246). */
  readonly isImmutable?: boolean
  /** A stranger put it there: a page must not run it as its script, or wear it as its style. */
  readonly isStrange?: boolean
  /** Whether a compressed copy beside it may be sent in its place. */
  readonly mayBeCopy: boolean
}

/** Answers with a file, or a compressed copy of it: ranges, conditions and HEAD as HTTP has them. Settles once it is under way. */
export async function sendFile(
  { path, maxAge, isImmutable = false, isStrange = false, mayBeCopy }: Sending,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<void> {
  const [copy, encoding] = mayBeCopy ? await copyOf(path, req.headers['accept-encoding'] ?? '') : [path]
  const type = mime.contentType(basename(path)) || 'application/octet-stream'
  res.setHeader('Content-Type', isStrange && LOADED_BY_PAGES.test(type) ? 'text/plain; charset=utf-8' : type)
  res.setHeader(
    'Cache-Control',
    maxAge > 0 ? `public, max-age=${maxAge}${isImmutable ? ', immutable' : ''}` : 'no-cache',
  )
  res.setHeader('Vary', 'Accept-Encoding')
  if (encoding !== undefined) res.setHeader('Content-Encoding', encoding)
  await new Promise<void>((resolve, reject) => {
    const sending = send(req, `/${encodeURIComponent(basename(copy))}`, {
      root: dirname(copy),
      dotfiles: 'allow',
      index: false,
      cacheControl: false,
    })
    sending.on('error', (error: Error & { status?: number; headers?: Record<string, string> }) => {
      const { status = 500, headers = {} } = error
      if (status === 500) return reject(error)
      // A range or a condition that cannot be met; or gone since it was looked at.
      for (const name of ABOUT_THE_FILE) res.removeHeader(name)
      res.writeHead(status, headers).end()
      resolve()
    })
    sending.on('stream', (file: ReadStream) => {
      // It has been cut meanwhile: what follows would be taken for the rest of it.
      file.on('end', () => {
        if (file.bytesRead < Number(res.getHeader('Content-Length'))) res.destroy()
      })
      resolve()
    })
    res.once('close', resolve)
    sending.pipe(res)
  })
}

/** What to send, and its content coding if it is not the file itself. */
async function copyOf(path: string, accepted: string): Promise<readonly [string, string?]> {
  for (const [ending, encoding] of COPIES) {
    // `br;q=0` says that it is not (RFC 9110, section 12.5.3).
    if (!new RegExp(`(?:^|[,\\s])${encoding}\\s*(?:,|$|;\\s*q=(?!0(?:\\.0*)?\\s*(?:,|$)))`, 'i').test(accepted))
      continue
    // Not a link: that could lead anywhere.
    const isThere = await lstat(path + ending).then(
      stats => stats.isFile(),
      () => false,
    )
    if (isThere) return [path + ending, encoding]
  }
  return [path]
}
