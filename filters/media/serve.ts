import type { IncomingMessage, ServerResponse } from 'node:http'
import { basename, dirname } from 'node:path'
import type { Logger } from 'filtered-websocket'
import { locate, RequestQueue, respond, SANDBOX_CSP, sendFile } from 'filtered-websocket/kit'
import mime from 'mime-types'

/** Seconds: one year, because a name is never used again. */
const MAX_AGE = 31_536_000
/** MIME types that browsers show and that cannot run scripts. SVG can; it is downloaded, like all other types. */
const INLINE = /^(?:image\/(?!svg)|audio\/|video\/)/

export interface ServeOptions {
  /** Absolute, without links. */
  readonly folder: string
  /** URL path of the folder, such as `/uploads`. */
  readonly url: string
  readonly log: Logger
}

/** Answers `GET URL/NAME` with the file of that name; `undefined`: the request is for another URL. */
export type Serve = (req: IncomingMessage, res: ServerResponse) => ServerResponse | undefined

/** Serves the files of a folder, read-only, without subfolders and names that begin with a dot. */
export function serveUploads({ folder, url, log }: ServeOptions): Serve {
  const mounts = [{ url: `${url}/`, folder }]
  const queue = new RequestQueue(answer, error => log.error({ err: error }, 'upload cannot be served'))

  async function answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const found = await locate(mounts, pathOf(req))
    if (found.kind !== 'file') return respond(res, 404, 'not found')
    const { file } = found
    if (dirname(file.path) !== folder) {
      await file.handle.close()
      return respond(res, 404, 'not found')
    }
    const name = basename(file.path)
    if (!INLINE.test(mime.lookup(name) || '')) res.setHeader('Content-Disposition', disposition(name))
    await sendFile(file, { maxAge: MAX_AGE, immutable: true, untrusted: true }, req, res)
  }

  return (req, res) => {
    if (!`${normalized(pathOf(req))}/`.startsWith(`${url}/`)) return undefined
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

/** Decoded, because a filter that serves the parent folder finds the file under each spelling of its path. */
function normalized(pathname: string): string {
  try {
    return decodeURIComponent(pathname).replace(/\/+/g, '/')
  } catch {
    return pathname
  }
}

/** Without `filename` for names that need escapes (RFC 6266, section 4.3); the operator may add such files. */
function disposition(name: string): string {
  return /^[\w.-]+$/.test(name) ? `attachment; filename="${name}"` : 'attachment'
}
