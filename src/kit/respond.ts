import type { ServerResponse } from 'node:http'

/**
 * Answers a request with a status and one line of plain text.
 *
 * @example
 * respond(res, 404, 'not found')
 */
export function respond(res: ServerResponse, status: number, text: string): void {
  res.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8' }).end(`${text}\n`)
}
