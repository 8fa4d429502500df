import { createHash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { relative } from 'node:path'

/** Answers with a rendered page. */
export type Render = (file: string, req: IncomingMessage, res: ServerResponse) => Promise<void>

/** Pages as nunjucks templates, everything that is put into them escaped; they may include others of their folder. */
export async function templatesOf(folder: string, variables: Readonly<Record<string, string>>): Promise<Render> {
  const { default: nunjucks } = await import('nunjucks')
  const templates = new nunjucks.Environment(new nunjucks.FileSystemLoader(folder, { noCache: true }), {
    autoescape: true,
  })
  const render = (file: string) =>
    new Promise<string>((resolve, reject) =>
      templates.render(relative(folder, file), variables, (error, page) =>
        page === null ? reject(error) : resolve(page),
      ),
    )
  return async (file, req, res) => {
    const page = Buffer.from(await render(file))
    const etag = `"${createHash('sha256').update(page).digest('base64url').slice(0, 27)}"`
    res.setHeader('Cache-Control', 'no-cache')
    res.setHeader('ETag', etag)
    // Weak comparison (RFC 9110, section 13.1.2): a proxy that compresses weakens the tag.
    const known = (req.headers['if-none-match'] ?? '').split(',').map(tag => tag.trim().replace(/^W\//, ''))
    if (known.includes(etag) || known.includes('*')) {
      res.writeHead(304).end()
      return
    }
    res.setHeader('Content-Type', 'text/html; charset=utf-8')
    res.setHeader('Content-Length', page.length)
    res.end(req.method === 'HEAD' ? undefined : page)
  }
}
