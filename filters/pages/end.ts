import type { ServerResponse } from 'node:http'

/** Answers with a status and one line. */
export function end(res: ServerResponse, status: number, text: string): void {
  res.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8' }).end(`${text}\n`)
}
