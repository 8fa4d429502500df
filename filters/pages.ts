import { existsSync, realpathSync, statSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { extname, join, resolve } from 'node:path'
import type { Host, OptionSpecs } from 'filtered-websocket'
import {
  isInside,
  locate,
  type Mount,
  type OpenFile,
  openInside,
  optionError,
  RequestQueue,
  respond,
  SANDBOX_CSP,
  sendFile,
} from 'filtered-websocket/kit'
import { templatesOf } from './pages/templates.ts'

export const describe = 'Serve static files and templates on the same port'

export const options = {
  'pages-root': { type: 'string', normalize: true, demandOption: true, describe: 'Folder served at /' },
  'pages-index': { type: 'string', default: 'index.html', describe: 'Index file of folders' },
  'pages-mount': {
    type: 'array',
    default: [],
    describe:
      'More folders, /URL=DIR. Their pages are sandboxed and never templates. A relative DIR starts at --pages-root',
  },
  'pages-untrusted': {
    type: 'array',
    refuseEmpty: true,
    default: [],
    describe:
      'Folders in which others can write, in addition to those of media and messaging. A relative path starts at --pages-root',
  },
  'pages-spa': {
    type: 'boolean',
    default: false,
    describe: 'Serve the index of the root for unknown paths without an extension, for single-page applications',
  },
  'pages-var': {
    type: 'array',
    default: [],
    describe: 'Template variables, NAME=VALUE. With at least one, .html files of the root are Liquid templates',
  },
  'pages-max-age': {
    type: 'number',
    default: 0,
    min: 0,
    integer: true,
    describe: 'Seconds for which browsers may cache files other than pages',
  },
  'pages-csp': {
    type: 'string',
    default:
      "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    describe:
      'Content-Security-Policy of files in the root. The default allows only scripts and sockets of this server',
  },
} as const satisfies OptionSpecs

/** Folder of the bundled client libraries, such as `/fws/client.js`. Run from source, the last build. */
const LIBRARY = ['../browser', '../dist/browser'].map(path => join(import.meta.dirname, path))
const LIBRARY_URL = '/fws/'
/** Icons that browsers request without a link to them. */
const ICON = /^\/(?:favicon\.ico|apple-touch-icon(?:-\d+x\d+)?(?:-precomposed)?\.png)$/
const ICON_SECONDS = 3600

/** Serves files and pages over plain HTTP. Responds to all requests that reach it. */
export const setup = async ({ options: chosen, log, untrustedFolders }: Host<typeof options>) => {
  const root = folderOf('--pages-root', chosen['pages-root'])
  const built = LIBRARY.find(path => existsSync(join(path, 'client.js')))
  const library = built === undefined ? undefined : realpathSync(built)
  const added = chosen['pages-mount'].map(text => mountOf(text, root))
  const mounts: readonly Mount[] = [
    { url: '/', folder: root },
    ...(library === undefined ? [] : [{ url: LIBRARY_URL, folder: library }]),
    ...added,
  ]
  for (const path of chosen['pages-untrusted'])
    untrustedFolders.add(folderOf('--pages-untrusted', resolve(root, path)), '--pages-untrusted')
  /** Checks the real path, since folders may contain each other. */
  const isSandboxed = (path: string) =>
    untrustedFolders.contains(path) || added.some(({ folder }) => isInside(folder, path))
  const { 'pages-index': index, 'pages-max-age': maxAge } = chosen
  const render =
    chosen['pages-var'].length === 0 ? undefined : await templatesOf(openTemplate, variablesOf(chosen['pages-var']))
  const queue = new RequestQueue(answer, error => log.error({ err: error }, 'a page cannot be served'))

  async function openTemplate(name: string): Promise<OpenFile> {
    const file = await openInside(root, name.split('/'), { hidden: false })
    if (!isSandboxed(file.path)) return file
    await file.handle.close()
    throw new Error(`"${file.path}" cannot be a template: it is in a mount or an untrusted folder`)
  }

  async function serve(file: OpenFile, req: IncomingMessage, res: ServerResponse): Promise<void> {
    const isPage = /^\.html?$/i.test(extname(file.path))
    const sandboxed = isSandboxed(file.path)
    if (sandboxed) res.setHeader('Content-Security-Policy', SANDBOX_CSP)
    // The same on every server, so pages of other origins may import them.
    else if (library !== undefined && isInside(library, file.path)) res.setHeader('Access-Control-Allow-Origin', '*')
    if (isPage && !sandboxed && render !== undefined) return render(file, req, res)
    const untrusted = untrustedFolders.contains(file.path)
    return sendFile(file, { maxAge: isPage ? 0 : maxAge, untrusted, copies: !sandboxed }, req, res)
  }

  async function answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const { pathname, search } = split(req.url!)
    const found = await locate(mounts, pathname)
    if (found.kind === 'malformed') return respond(res, 400, 'bad path')
    if (found.kind === 'file') return serve(found.file, req, res)
    if (found.kind === 'folder') {
      // Relative links of the index need the slash.
      if (!pathname.endsWith('/')) {
        // Relative, since a proxy may have removed a prefix of the path; `./`, since a name may begin like a scheme.
        res.setHeader('Location', `./${pathname.slice(pathname.lastIndexOf('/') + 1)}/${search}`)
        return respond(res, 301, 'moved permanently')
      }
      const inside = await locate(mounts, pathname + encodeURIComponent(index))
      if (inside.kind === 'file') return serve(inside.file, req, res)
    }
    // Browsers ask for it on their own: a site without one is not an error.
    if (ICON.test(pathname)) {
      res.setHeader('Cache-Control', `max-age=${ICON_SECONDS}`)
      res.writeHead(204).end()
      return
    }
    const fallback = chosen['pages-spa'] && extname(pathname) === '' ? index : '404.html'
    const page = await locate(mounts, `/${encodeURIComponent(fallback)}`)
    if (page.kind !== 'file') return respond(res, 404, 'not found')
    if (fallback !== index) return notFound(page.file, req, res)
    return serve(page.file, req, res)
  }

  /** Sends the operator's page with status 404. */
  async function notFound(page: OpenFile, req: IncomingMessage, res: ServerResponse): Promise<void> {
    res.statusCode = 404
    for (const name of ['range', 'if-none-match', 'if-modified-since']) delete req.headers[name]
    await serve(page, req, res)
  }

  function warn(option: string, folder: string): void {
    for (const other of untrustedFolders.overlapping(folder))
      if (other.option !== '--pages-untrusted')
        log.warn(
          `${option} ${folder} ${relationOf(folder, other.path)} ${other.option} ${other.path}: files of clients are served from there, sandboxed and never as templates; use folders that do not overlap`,
        )
  }

  return {
    start() {
      warn('--pages-root', root)
      for (const { folder } of added) warn('--pages-mount', folder)
    },

    request(req: IncomingMessage, res: ServerResponse): ServerResponse {
      res.setHeader('Content-Security-Policy', chosen['pages-csp'])
      res.setHeader('X-Content-Type-Options', 'nosniff')
      // With `no-referrer` a form would hide the Origin, and its POST be refused.
      res.setHeader('Referrer-Policy', 'same-origin')
      res.setHeader('Cross-Origin-Opener-Policy', 'same-origin')
      // Without the query: it may contain a token.
      res.once('finish', () =>
        log.debug({ method: req.method, path: split(req.url!).pathname, status: res.statusCode }),
      )
      return queue.add(req, res)
    },
  }
}

/** The real path of the folder that an option names. */
function folderOf(option: string, path: string): string {
  try {
    const folder = realpathSync(path)
    if (statSync(folder).isDirectory()) return folder
  } catch {}
  throw optionError(`${option} takes a folder, received "${path}"`)
}

function relationOf(folder: string, other: string): string {
  if (folder === other) return 'is also'
  return isInside(folder, other) ? 'contains' : 'is in'
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
