import { createHash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { OpenFile } from 'filtered-websocket/kit'

/** Opens an included template. Rejects if it does not exist or is not allowed. */
export type OpenTemplate = (name: string) => Promise<OpenFile>

/** Sends a rendered page, and closes its file. */
export type Render = (page: OpenFile, req: IncomingMessage, res: ServerResponse) => Promise<void>

/** Total characters of the templates of a page. */
const MAX_TEMPLATE = 4_194_304
/** Per page: parsed characters, milliseconds, and memory in about bytes. */
const LIMITS = { parseLimit: MAX_TEMPLATE, renderLimit: 1000, memoryLimit: 16_777_216 }

/**
 * Renders pages as Liquid templates; output is escaped.
 *
 * @param variables - only strings, so that templates cannot reach objects of this process.
 */
export async function templatesOf(open: OpenTemplate, variables: Readonly<Record<string, string>>): Promise<Render> {
  const { Liquid } = await import('liquidjs')
  const refuseSync = () => {
    throw new Error('templates are read asynchronously')
  }
  const engine = new Liquid({
    ...LIMITS,
    globals: variables,
    outputEscape: 'escape',
    ownPropertyOnly: true,
    strictFilters: true,
    relativeReference: false,
    fs: {
      resolve: (_, name) => name,
      exists: async () => true,
      readFile: async name => contentOf(await open(name)),
      existsSync: refuseSync,
      readFileSync: refuseSync,
    },
  })
  return async (file, req, res) => {
    const page = Buffer.from(String(await engine.parseAndRender(await contentOf(file))))
    const etag = `"${createHash('sha256').update(page).digest('base64url').slice(0, 27)}"`
    res.setHeader('Cache-Control', 'no-cache')
    res.setHeader('ETag', etag)
    // Weak comparison (RFC 9110, section 13.1.2): a proxy that compresses weakens the tag.
    const tags = (req.headers['if-none-match'] ?? '').split(',').map(tag => tag.trim().replace(/^W\//, ''))
    if (tags.includes(etag) || tags.includes('*')) {
      res.writeHead(304).end()
      return
    }
    res.setHeader('Content-Type', 'text/html; charset=utf-8')
    res.setHeader('Content-Length', page.length)
    res.end(req.method === 'HEAD' ? undefined : page)
  }
}

async function contentOf({ handle, stats, path }: OpenFile): Promise<string> {
  try {
    if (!stats.isFile()) throw new Error(`template "${path}" is not a regular file`)
    if (stats.size > MAX_TEMPLATE)
      throw new Error(`template "${path}" has ${stats.size} bytes; at most ${MAX_TEMPLATE} are allowed`)
    return await handle.readFile('utf8')
  } finally {
    await handle.close()
  }
}
