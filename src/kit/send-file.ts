import type { ReadStream } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { basename, dirname } from 'node:path'
import { type OpenFile, openInside } from './open-inside.ts'

/** Extensions of compressed copies next to a file, in the order of preference, and their content codings. */
const COPIES = [
  ['.br', 'br'],
  ['.gz', 'gzip'],
] as const
/** MIME types that a page loads as its script, style or code; the Content-Security-Policy of the file does not apply then. */
const LOADED_BY_PAGES = /javascript|ecmascript|jscript|livescript|\/css|wasm/
/** Headers of a file, removed when it is not sent. */
const FILE_HEADERS = [
  'Accept-Ranges',
  'Cache-Control',
  'Content-Disposition',
  'Content-Encoding',
  'Content-Length',
  'Content-Type',
  'ETag',
  'Last-Modified',
]

/**
 * The Content-Security-Policy of documents that must not run scripts in the name of this server.
 *
 * @example
 * res.setHeader('Content-Security-Policy', SANDBOX_CSP)
 */
export const SANDBOX_CSP = "sandbox; default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'"

export interface SendFileOptions {
  /** Seconds for which a browser may use the file without another request. Default: 0. */
  readonly maxAge?: number
  /** The file never changes: browsers do not ask again even on a reload (RFC 8246). Default: false. */
  readonly immutable?: boolean
  /** A client may have written the file: sandboxed, and scripts and styles are sent as plain text. Default: false. */
  readonly untrusted?: boolean
  /** Whether a compressed copy next to the file may be sent in its place. Default: false. */
  readonly copies?: boolean
}

/**
 * Answers with an open file, or a compressed copy of it, and closes it: ranges, conditions and HEAD (RFC 9110). Settles
 * when the answer is under way.
 *
 * @example
 * if (found.kind === 'file') await sendFile(found.file, { maxAge: 60 }, req, res)
 */
export async function sendFile(
  asked: OpenFile,
  { maxAge = 0, immutable = false, untrusted = false, copies = false }: SendFileOptions,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<void> {
  let file = asked
  let isStreaming = false
  try {
    // Loaded by the first file: most filters that import the kit serve none.
    const [{ default: send }, { default: mime }] = await Promise.all([import('send'), import('mime-types')])
    const type = mime.contentType(basename(asked.path)) || 'application/octet-stream'
    if (untrusted) {
      res.setHeader('Content-Security-Policy', SANDBOX_CSP)
      res.setHeader('X-Content-Type-Options', 'nosniff')
    }
    res.setHeader('Content-Type', untrusted && LOADED_BY_PAGES.test(type) ? 'text/plain; charset=utf-8' : type)
    res.setHeader(
      'Cache-Control',
      maxAge > 0 ? `public, max-age=${maxAge}${immutable ? ', immutable' : ''}` : 'no-cache',
    )
    res.setHeader('Vary', 'Accept-Encoding')
    const copy = copies ? await openCopy(asked, req.headers['accept-encoding'] ?? '') : undefined
    if (copy !== undefined) {
      file = copy.file
      await asked.handle.close()
      res.setHeader('Content-Encoding', copy.coding)
    }
    // The client may have gone while files were opened.
    if (res.destroyed) return
    await new Promise<void>((resolve, reject) => {
      // `send` hands its options to createReadStream, which reads the open file and not the path.
      const options = { fd: file.handle, cacheControl: false }
      const sending = Object.assign(send(req, file.entry, options), { res })
      sending.on('error', (error: Error & { status?: number; headers?: Record<string, string> }) => {
        const { status = 500, headers = {} } = error
        if (status === 500) return isStreaming ? void res.destroy() : reject(error)
        // A range or a condition that does not hold.
        for (const name of FILE_HEADERS) res.removeHeader(name)
        res.writeHead(status, headers).end()
        resolve()
      })
      sending.on('stream', (stream: ReadStream) => {
        isStreaming = true
        // The file was truncated meanwhile: the client must not take the next answer for the rest of it.
        stream.on('end', () => {
          if (stream.bytesRead < Number(res.getHeader('Content-Length'))) res.destroy()
        })
        resolve()
      })
      res.once('finish', resolve).once('close', resolve)
      sending.send(file.entry, file.stats)
    })
  } finally {
    // The stream closes it otherwise.
    if (!isStreaming) await file.handle.close()
  }
}

/** The first compressed copy that the client accepts, and its coding. */
async function openCopy(
  { path }: OpenFile,
  accepted: string,
): Promise<{ readonly file: OpenFile; readonly coding: string } | undefined> {
  for (const [extension, coding] of COPIES) {
    // `br;q=0` refuses br (RFC 9110, section 12.5.3).
    if (!new RegExp(`(?:^|[,\\s])${coding}\\s*(?:,|$|;\\s*q=(?!0(?:\\.0*)?\\s*(?:,|$)))`, 'i').test(accepted)) continue
    const names = [basename(path) + extension]
    const file = await openInside(dirname(path), names, { links: 'none' }).catch(() => undefined)
    if (file?.stats.isFile()) return { file, coding }
    await file?.handle.close()
  }
  return undefined
}
