import type { IncomingMessage, ServerResponse } from 'node:http'
import { basename, dirname } from 'node:path'
import type { Logger } from 'filtered-websocket'
import { locate, RequestQueue, respond, SANDBOX_CSP, sendFile } from 'filtered-websocket/kit'
import mime from 'mime-types'

/** A year, in seconds: a name is given once. */
const MAX_AGE = 31_536_000
/** What a browser shows without running anything in it. All else it saves: SVG, too, is a document. */
const SHOWN = /^(?:image\/(?!svg)|audio\/|video\/)/

export interface ServeOptions {
  /** Absolute, without links. */
  readonly folder: string
  /** `/uploads`. */
  readonly url: string
  readonly log: Logger
}

/** Answers `GET URL/NAME` with the file of that name; `undefined`: the request is for another URL. */
export type Serve = (req: IncomingMessage, res: ServerResponse) => ServerResponse | undefined

/** Serves the files that lie directly in a folder, read-only; names that begin with a dot are missing. */
export function serverOf({ folder, url, log }: ServeOptions): Serve {
  const mounts = [{ url: `${url}/`, folder }]
  const queue = new RequestQueue(answer, error => log.error({ err: error }, 'upload cannot be shown'))

  async function answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const found = await locate(mounts, pathOf(req))
    if (found.kind !== 'file') return respond(res, 404, 'not found')
    const { file } = found
    if (dirname(file.path) !== folder) {
      await file.handle.close()
      return respond(res, 404, 'not found')
    }
    const name = basename(file.path)
    if (!SHOWN.test(mime.lookup(name) || '')) res.setHeader('Content-Disposition', disposition(name))
    await sendFile(file, { maxAge: MAX_AGE, immutable: true, untrusted: true }, req, res)
  }

  return (req, res) => {
    if (!`${plain(pathOf(req))}/`.startsWith(`${url}/`)) return undefined
    res.setHeader('Content-Security-Policy', SANDBOX_CSP)
    res.setHeader('X-Content-Type-Options', 'nosniff')
    res.setHeader('Referrer-Policy', 'no-referrer')
    res.setHeader('Cross-Origin-Resource-Policy', 'same-origin')
    return queue.add(req, res)
  }
}

function pathOf(req: IncomingMessage): string {
  return req.url!.split('?', 1)[0]!
}

/** However it is spelled: a filter that serves the folder around this one would find it in each spelling. */
function plain(pathname: string): string {
  try {
    return decodeURIComponent(pathname).replace(/\/+/g, '/')
  } catch {
    return pathname
  }
}

/** An operator may have put a file of any name there (RFC 6266, section 4.3). */
function disposition(name: string): string {
  return /^[\w.-]+$/.test(name) ? `attachment; filename="${name}"` : 'attachment'
}
