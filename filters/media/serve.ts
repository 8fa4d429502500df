import type { IncomingMessage, ServerResponse } from 'node:http'
import { basename, dirname } from 'node:path'
import type { Logger } from 'filtered-websocket'
import mime from 'mime-types'
import { end } from '../pages/end.ts'
import { sendFile } from '../pages/file.ts'
import { locate } from '../pages/locate.ts'
import { STRANGERS_CSP } from '../pages/strangers.ts'
import { Turns } from '../pages/turns.ts'

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

/** Serves the files of a folder, none of a folder in it, to be read; what begins with a dot is not there. */
export function serverOf({ folder, url, log }: ServeOptions): Serve {
  const turns = new Turns()
  const mounts = [{ url: `${url}/`, folder }]

  async function answer(pathname: string, req: IncomingMessage, res: ServerResponse): Promise<void> {
    const found = await locate(mounts, pathname)
    const isOurs = found.kind === 'file' && dirname(found.path) === folder && !pathname.endsWith('/')
    if (!isOurs) return end(res, 404, 'not found')
    const name = basename(found.path)
    if (!SHOWN.test(mime.lookup(name) || '')) res.setHeader('Content-Disposition', disposition(name))
    await sendFile(
      { path: found.path, maxAge: MAX_AGE, isImmutable: true, isStrange: true, mayBeCopy: false },
      req,
      res,
    )
  }

  function fail(error: unknown, res: ServerResponse): void {
    log.error({ err: error }, 'upload cannot be shown')
    if (res.headersSent) res.destroy()
    else end(res, 500, 'internal error')
  }

  return (req, res) => {
    const pathname = req.url!.split('?', 1)[0]!
    if (!`${plain(pathname)}/`.startsWith(`${url}/`)) return undefined
    res.setHeader('Content-Security-Policy', STRANGERS_CSP)
    res.setHeader('X-Content-Type-Options', 'nosniff')
    res.setHeader('Referrer-Policy', 'no-referrer')
    res.setHeader('Cross-Origin-Resource-Policy', 'same-origin')
    if (req.method === 'GET' || req.method === 'HEAD') {
      turns
        .wait(req, res)
        .then(() => (req.socket.destroyed ? undefined : answer(pathname, req, res)))
        .catch(error => fail(error, res))
    } else {
      res.setHeader('Allow', 'GET, HEAD')
      end(res, 405, 'GET and HEAD only')
    }
    return res
  }
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
