import { createServer, type Server as HttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Host, OptionSpecs, Server } from 'filtered-websocket'
import {
  closeUnreadBodies,
  formatEndpoint,
  hostProblem,
  isHostAllowed,
  isLoopback,
  listen,
  originForm,
  redactor,
} from 'filtered-websocket/kit'
import { metricsOf } from './health/metrics.ts'
import { Sampler } from './health/sample.ts'
import { Traces } from './health/traces.ts'

export const describe = 'Serve /healthz, /readyz, /metrics, /top and /trace on a separate port'

export const mayUse = ['presence']
export const listens = true

export const options = {
  'health-port': {
    type: 'number',
    default: 9001,
    min: 0,
    max: 65_535,
    integer: true,
    describe: 'Port of /healthz, /readyz, /metrics, /top and /trace; 0 selects a free port',
  },
  'health-host': {
    type: 'string',
    default: '127.0.0.1',
    describe: 'Address of that port. It has no password: keep it off public networks',
  },
  'health-payloads': {
    type: 'boolean',
    default: false,
    describe: 'Show text messages in /trace, without their secrets. Default: sizes only',
  },
  'health-redact': {
    type: 'array',
    default: [],
    describe: 'Names of fields whose values /trace hides, in addition to token, password and the like',
  },
} as const satisfies OptionSpecs

/** Concurrent connections: only probes and scrapers connect. */
const MAX_CONNECTIONS = 256
const TIMEOUT_MS = 5000
const NOT_HERE = 'only for this machine; use a tunnel, such as ssh -L'
const SETTINGS = {
  headersTimeout: TIMEOUT_MS,
  requestTimeout: TIMEOUT_MS,
  connectionsCheckingInterval: 1000,
  // This filter checks and counts it.
  requireHostHeader: false,
}

/**
 * Opens a port for operators: `/healthz` (the process is alive), `/readyz` (200, or 503 with the failed checks), `/metrics`
 * (Prometheus text format), and, for this machine only, `/top` (a sample for `fws-server top`)
 * and `/trace` (calls of handlers as JSON lines).
 */
export const setup = ({ options: chosen, log, find }: Host<typeof options>) => {
  const presence = find('presence')
  /** Bound address. */
  let boundTo = ''
  let http: HttpServer | undefined
  let metrics: ReturnType<typeof metricsOf> | undefined
  let sampler: Sampler | undefined
  let traces: Traces | undefined

  async function answer(req: IncomingMessage, res: ServerResponse, server: Server): Promise<void> {
    const refuse = (status: number, reason: string) => {
      const { refusals } = server.counters
      refusals[status] = (refusals[status] ?? 0) + 1
      send(res, status, reason)
    }
    const badHost = hostProblem(req)
    if (badHost !== undefined) return refuse(400, badHost)
    if (!isHostAllowed(req.headers.host, boundTo)) return refuse(403, 'this Host is not served here')
    if (req.method !== 'GET' && req.method !== 'HEAD') return send(res, 405, 'GET only')
    const [path, query = ''] = originForm(req.url!).split('?')
    switch (path) {
      case '/healthz':
        return send(res, 200, 'ok')
      case '/readyz': {
        const { ready, checks } = server
        return send(res, ready ? 200 : 503, JSON.stringify({ ready, checks }), 'application/json')
      }
      case '/metrics':
        return send(res, 200, await metrics!.text(), metrics!.contentType)
      case '/top':
        if (!isFromHere(req)) return refuse(403, NOT_HERE)
        return send(res, 200, JSON.stringify(await sampler!.sample()), 'application/json')
      case '/trace': {
        if (!isFromHere(req)) return refuse(403, NOT_HERE)
        if (req.method !== 'GET') return send(res, 405, 'GET only')
        const refusal = traces!.begin(new URLSearchParams(query), res)
        return refusal && send(res, ...refusal)
      }
      default:
        return send(res, 404, '/healthz, /readyz, /metrics, /top or /trace')
    }
  }

  return {
    async start(server: Server): Promise<void> {
      metrics = metricsOf(server, presence)
      sampler = new Sampler(server)
      traces = new Traces(server, chosen['health-payloads'] ? redactor(chosen['health-redact']) : undefined)
      const handle = closeUnreadBodies((req, res) => {
        answer(req, res, server).catch(error => {
          log.error({ err: error }, 'a health request failed')
          send(res, 500, 'failed')
        })
      })
      http = createServer(SETTINGS, handle)
      http.maxConnections = MAX_CONNECTIONS
      http.setTimeout(TIMEOUT_MS)
      const listening = http
      const { address, port } = await listen(
        listening,
        { port: chosen['health-port'], host: chosen['health-host'] },
        { port: '--health-port', host: '--health-host' },
      )
      boundTo = address
      listening.on('error', error => log.error({ err: error }, 'health port failed'))
      log.info({ url: `http://${formatEndpoint({ host: address, port })}` }, 'health answers')
    },
    stop(): void {
      metrics?.stop()
      sampler?.stop()
      http?.close()
      http?.closeAllConnections()
    },
  }
}

/** Whether a program of this machine asks, and not a page of another name or origin in a browser of this machine. */
function isFromHere({ socket, headers }: IncomingMessage): boolean {
  const { remoteAddress = '' } = socket
  const { host, 'sec-fetch-site': site = 'none' } = headers
  return isLoopback(remoteAddress) && isHostAllowed(host, remoteAddress) && site === 'none'
}

function send(res: ServerResponse, status: number, body: string, type = 'text/plain; charset=utf-8'): void {
  res.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' }).end(`${body}\n`)
}
