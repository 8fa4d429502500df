import { type ServerResponse, STATUS_CODES } from 'node:http'
import type { Refusal } from '../contract/refusal.ts'

/** A response without a body (RFC 9110, section 6.4.1). */
const NOT_MODIFIED = 304

/**
 * Answers a request with a status and one line of plain text.
 *
 * @example
 * respond(res, 404, 'not found')
 */
export function respond(res: ServerResponse, status: number, text: string): void {
  res.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8' }).end(`${text}\n`)
}

/**
 * Answers a request with a status, one line of plain text and headers, in place of all headers that were set before.
 *
 * @example
 * const client = await server.admit(req, { for: 'request' })
 * if ('status' in client) return answerWith(res, client)
 */
export function answerWith(res: ServerResponse, { status, reason, headers }: Refusal): ServerResponse {
  // Such as Content-Length: they belong to another response.
  for (const name of res.getHeaderNames()) res.removeHeader(name)
  const fields = lineFields(status, reason, headers)
  return res.writeHead(status, STATUS_CODES[status] ?? '', fields.headers).end(fields.body)
}

/** The headers and the body of a response of one line. */
export function lineFields(
  status: number,
  reason: string | undefined,
  headers: Refusal['headers'],
): { readonly headers: Readonly<Record<string, string>>; readonly body: string } {
  if (status === NOT_MODIFIED) return { headers: { ...headers }, body: '' }
  const body = `${reason ?? STATUS_CODES[status] ?? status}\n`
  return {
    headers: {
      'Content-Type': 'text/plain; charset=utf-8',
      'Content-Length': String(Buffer.byteLength(body)),
      'X-Content-Type-Options': 'nosniff',
      ...headers,
    },
    body,
  }
}
