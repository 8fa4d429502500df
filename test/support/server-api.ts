import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { text } from 'node:stream/consumers'

export const API_KEY = 'a-key-of-this-test'

export interface ApiAnswer {
  readonly status: number
  readonly body: unknown
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
}

export interface ApiCall {
  /** Default: `/api`. */
  readonly path?: string
  readonly method?: string
  /** Default: the key of the tests. */
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Buffer
}

/** Sends a request to a server. Its body is parsed if it is JSON. */
export async function ask(
  url: string,
  { path = '/api', method = 'POST', headers = { 'X-API-Key': API_KEY }, body = '' }: ApiCall = {},
): Promise<ApiAnswer> {
  const req = request(new URL(path, url.replace(/^ws/, 'http')), { method, headers })
  req.end(body)
  const [res] = (await once(req, 'response')) as [IncomingMessage]
  const content = await text(res)
  const isJson = res.headers['content-type'] === 'application/json' && !content.includes('\n')
  return { status: res.statusCode!, body: isJson ? JSON.parse(content) : content, headers: res.headers }
}

/** Calls a method of the server API with the key of the tests; returns its answer. */
export async function call(url: string, method: string, params: unknown = {}): Promise<unknown> {
  return (await ask(url, { path: `/api/${method}`, body: JSON.stringify(params) })).body
}
