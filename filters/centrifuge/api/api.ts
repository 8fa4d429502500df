import { isUtf8 } from 'node:buffer'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { DROP, type Drop, type Host, type Server } from 'filtered-websocket'
import { originForm, RateLimitedLog, readBody, readJson } from 'filtered-websocket/kit'
import { Census } from './census.ts'
import { hasKey } from './key.ts'
import { answersTo, errorAnswer, Methods, type MethodsHost } from './methods.ts'
import { isObject } from './params.ts'

export interface ApiHost extends Pick<MethodsHost, 'presence'>, Pick<Host, 'log' | 'every' | 'limits' | 'storage'> {
  readonly keys: readonly string[]
}

/** The path of the server API, with all methods below it. */
export const API_PATH = '/api'
/** Milliseconds between two registrations of this node. */
const ENTER_MS = 10_000
/** Methods of one request to `/api` itself. */
const MAX_LINES = 1000
const NOT_ALLOWED = 'send the key as X-API-Key, or as Authorization: apikey KEY; a key in the URL is not accepted'

/**
 * Centrifugo's server API: `POST /api/METHOD` with parameters as JSON, or `POST /api` with `{"method":NAME,"params":{}}` in lines, as
 * older SDKs send them. The caller acts as the operator: no connect guard and no permit applies.
 */
export function serverApi({ keys, limits, log, every, ...host }: ApiHost) {
  const maxBody = limits['max-payload']
  const census = new Census(host.storage)
  const limitedLog = new RateLimitedLog(log)
  const keyLog = new RateLimitedLog(log, 1, 60_000)
  const methods = new Methods({
    ...host,
    census,
    onError: (error, method) => limitedLog.add('error', { err: error, method }, 'a method of the server API failed'),
  })

  async function answerTo(req: IncomingMessage, server: Server): Promise<Answer> {
    if (req.method !== 'POST') return refusal(405, 'POST only', { Allow: 'POST' })
    if (!hasKey(req, keys)) {
      const { refusals } = server.counters
      refusals[401] = (refusals[401] ?? 0) + 1
      keyLog.add('warn', { remote: req.socket.remoteAddress }, 'request to the server API without a valid key')
      return refusal(401, NOT_ALLOWED, { 'WWW-Authenticate': 'apikey', Connection: 'close' })
    }
    const name = pathOf(req.url!).slice(API_PATH.length + 1)
    if (name !== '' && !methods.has(name)) return refusal(404, `unknown method ${JSON.stringify(name.slice(0, 100))}`)
    const body = await readBody(req, maxBody)
    if (body === undefined) return refusal(413, `a request has at most ${maxBody} bytes, see --max-payload`)
    if (!isUtf8(body)) return refusal(400, 'the body is not UTF-8')
    const text = body.toString()
    return name === '' ? runLines(text, server) : runMethod(name, text, server)
  }

  async function runMethod(name: string, text: string, server: Server): Promise<Answer> {
    const params = jsonIn(text === '' ? '{}' : text, maxBody)
    if (params === undefined) return refusal(400, 'the body is not JSON')
    return { status: 200, body: await methods.call(name, params, server) }
  }

  async function runLines(text: string, server: Server): Promise<Answer> {
    const lines = text.split('\n').filter(line => line.trim() !== '')
    if (lines.length > MAX_LINES) return refusal(413, `a request has at most ${MAX_LINES} commands`)
    const commands = lines.map(line => jsonIn(line, maxBody))
    if (commands.length === 0 || !commands.every(isCommand))
      return refusal(400, 'each line is {"method":NAME,"params":{}}')
    const answers = await answersTo(commands, ({ method, params }) => methods.call(method, params, server))
    return { status: 200, body: answers.join('\n') }
  }

  async function request(req: IncomingMessage, res: ServerResponse, server: Server): Promise<Drop> {
    try {
      const { status, body, headers } = await answerTo(req, server)
      const length = { 'Content-Length': Buffer.byteLength(body) }
      res.writeHead(status, { 'Content-Type': 'application/json', ...length, ...headers }).end(body)
    } catch (error) {
      // The client has disconnected in the middle of its request.
      if (req.complete) throw error
    }
    return DROP
  }

  every(ENTER_MS, () => census.enter())
  return {
    request,
    start: (server: Server) => census.start(server),
    stop: () => census.stop(),
  }
}

/** Whether a request target is one of the server API. */
export function isApi(target: string): boolean {
  return `${pathOf(target)}/`.startsWith(`${API_PATH}/`)
}

function pathOf(target: string): string {
  return originForm(target).split('?')[0]!
}

interface Answer {
  readonly status: number
  /** JSON. */
  readonly body: string
  readonly headers?: Readonly<Record<string, string>>
}

function refusal(status: number, message: string, headers: Answer['headers'] = {}): Answer {
  return { status, body: errorAnswer({ code: status, message }), headers }
}

function isCommand(value: unknown): value is { readonly method: string; readonly params: unknown } {
  return isObject(value) && typeof value.method === 'string'
}

/** `undefined` if it is not JSON, or beyond the bounds. */
function jsonIn(text: string, maxLength: number): unknown {
  try {
    return readJson(text, { maxLength })
  } catch {
    return undefined
  }
}
