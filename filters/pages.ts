import { existsSync, realpathSync, statSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { basename, extname, join, resolve, sep } from 'node:path'
import type { Host, OptionSpecs } from 'filtered-websocket'
import { optionError } from 'filtered-websocket/kit'
import { end } from './pages/end.ts'
import { sendFile } from './pages/file.ts'
import { locate, type Mount } from './pages/locate.ts'
import { isUpload, STRANGERS_CSP } from './pages/strangers.ts'
import { templatesOf } from './pages/templates.ts'
import { Turns } from './pages/turns.ts'

export const options = {
  'pages-root': { type: 'string', normalize: true, demandOption: true, describe: 'folder that is served at /' },
  'pages-index': { type: 'string', default: 'index.html', describe: 'file that answers for a folder' },
  'pages-mount': {
    type: 'array',
    default: [],
    describe: 'more folders, such as /uploads=DIR; a relative DIR is taken from the root',
  },
  'pages-spa': {
    type: 'boolean',
    default: false,
    describe: 'answer paths that are no file with the index of the root, for applications of a single page',
  },
  'pages-var': {
    type: 'array',
    default: [],
    describe: 'NAME=VALUE: with at least one, .html files are nunjucks templates and get them all',
  },
  'pages-max-age': {
    type: 'number',
    default: 0,
    min: 0,
    integer: true,
    describe: 'seconds that a browser may use a file that is no page without asking again',
  },
  'pages-csp': {
    type: 'string',
    default:
      "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    describe: 'Content-Security-Policy of what is in the root; scripts and sockets of this server alone are allowed',
  },
} as const satisfies OptionSpecs

/** The client libraries as browsers load them, each one file: `/fws/client.js`. From the source they are those of the last build. */
const LIBRARY = ['../browser', '../dist/browser'].map(path => join(import.meta.dirname, path))
const LIBRARY_URL = '/fws/'

/** Serves files and pages to plain HTTP requests, and answers all that no filter before it has answered. */
export const setup = async ({ options: chosen, log }: Host<typeof options>) => {
  const root = folderOf('--pages-root', chosen['pages-root'])
  const library = LIBRARY.find(path => existsSync(join(path, 'client.js')))
  const strangers = chosen['pages-mount'].map(text => mountOf(text, root))
  const mounts: readonly Mount[] = [
    { url: '/', folder: root },
    ...(library === undefined ? [] : [{ url: LIBRARY_URL, folder: realpathSync(library) }]),
    ...strangers,
  ]
  /** By whatever way one gets there: a mount may lie within the root. */
  const isStrange = (path: string) =>
    isUpload(basename(path)) || strangers.some(({ folder }) => path.startsWith(folder + sep))
  const { 'pages-index': index, 'pages-max-age': maxAge } = chosen
  const render =
    chosen['pages-var'].length === 0 ? undefined : await templatesOf(root, variablesOf(chosen['pages-var']))

  const turns = new Turns()

  async function show(path: string, req: IncomingMessage, res: ServerResponse): Promise<void> {
    const isPage = /^\.html?$/i.test(extname(path))
    const isOurs = !isStrange(path)
    if (!isOurs) res.setHeader('Content-Security-Policy', STRANGERS_CSP)
    if (isPage && isOurs && render !== undefined) await render(path, req, res)
    else
      await sendFile(
        { path, maxAge: isPage ? 0 : maxAge, isStrange: isUpload(basename(path)), mayBeCopy: isOurs },
        req,
        res,
      )
  }

  async function answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const { pathname, search } = split(req.url!)
    const found = await locate(mounts, pathname)
    if (found.kind === 'nonsense') return end(res, 400, 'bad path')
    if (found.kind === 'folder') {
      // Its page has relative links.
      if (!pathname.endsWith('/')) {
        res.setHeader('Location', `${pathname.replace(/^\/+/, '/')}/${search}`)
        return end(res, 301, 'see there')
      }
      const inside = await locate(mounts, pathname + encodeURIComponent(index))
      if (inside.kind === 'file') return show(inside.path, req, res)
    }
    if (found.kind === 'file' && !pathname.endsWith('/')) return show(found.path, req, res)
    const fallback = chosen['pages-spa'] && extname(pathname) === '' ? index : '404.html'
    const page = await locate(mounts, `/${encodeURIComponent(fallback)}`)
    if (page.kind !== 'file') return end(res, 404, 'not found')
    if (fallback !== index) return notFound(page.path, req, res)
    return show(page.path, req, res)
  }

  /** A page of one's own, with the status that it is about. */
  async function notFound(path: string, req: IncomingMessage, res: ServerResponse): Promise<void> {
    res.statusCode = 404
    for (const name of ['range', 'if-none-match', 'if-modified-since']) delete req.headers[name]
    await show(path, req, res)
  }

  function fail(error: unknown, res: ServerResponse): void {
    log.error({ err: error }, 'page cannot be shown')
    if (res.headersSent) res.destroy()
    else end(res, 500, 'internal error')
  }

  return {
    request(req: IncomingMessage, res: ServerResponse): ServerResponse {
      res.setHeader('Content-Security-Policy', chosen['pages-csp'])
      res.setHeader('X-Content-Type-Options', 'nosniff')
      res.setHeader('Referrer-Policy', 'no-referrer')
      res.setHeader('Cross-Origin-Opener-Policy', 'same-origin')
      if (req.method === 'GET' || req.method === 'HEAD') {
        turns
          .wait(req, res)
          .then(() => (req.socket.destroyed ? undefined : answer(req, res)))
          .catch(error => fail(error, res))
      } else {
        res.setHeader('Allow', 'GET, HEAD')
        end(res, 405, 'GET and HEAD only')
      }
      // Without the query, which may hold a token.
      res.once('finish', () =>
        log.debug({ method: req.method, path: split(req.url!).pathname, status: res.statusCode }),
      )
      return res
    },
  }
}

/** Without links, so that what lies in it can be told from what does not. */
function folderOf(option: string, path: string): string {
  try {
    const folder = realpathSync(path)
    if (statSync(folder).isDirectory()) return folder
  } catch {}
  throw optionError(`${option} takes a folder, received "${path}"`)
}

function mountOf(text: string, root: string): Mount {
  const [, url, path] = /^(\/[^=]*)=(.+)$/.exec(text) ?? []
  if (url === undefined) throw optionError(`--pages-mount takes /URL=DIR, received "${text}"`)
  return { url: url.endsWith('/') ? url : `${url}/`, folder: folderOf('--pages-mount', resolve(root, path!)) }
}

function variablesOf(texts: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    texts.map(text => {
      const [, name, value] = /^([A-Za-z_]\w*)=([\s\S]*)$/.exec(text) ?? []
      if (name === undefined) throw optionError(`--pages-var takes NAME=VALUE, received "${text}"`)
      return [name, value!]
    }),
  )
}

function split(target: string): { pathname: string; search: string } {
  const at = target.indexOf('?')
  return at === -1 ? { pathname: target, search: '' } : { pathname: target.slice(0, at), search: target.slice(at) }
}
