import {
  createServer as createHttp,
  type Server as HttpServer,
  type IncomingMessage,
  type RequestListener,
  type ServerResponse,
} from 'node:http'
import { createServer as createHttps, type Server as HttpsServer } from 'node:https'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TLSSocket, TlsOptions } from 'node:tls'
import { FAILED } from '../chain/chain.ts'
import { isPromise } from '../contract/deadline.ts'
import { DROP } from '../contract/drop.ts'
import type { Refusal } from '../contract/refusal.ts'
import { count } from '../fanout/counters.ts'
import type { Hub } from '../hub/hub.ts'
import { isHostAllowed, originForm } from '../kit/host.ts'
import { RateLimitedLog } from '../kit/rate-limited-log.ts'
import { closeUnreadBodies } from '../kit/request-body.ts'
import { answerWith } from '../kit/respond.ts'
import { tlsFailureOf } from '../kit/tls-failure.ts'
import type { ByteStream } from '../websocket/endpoint.ts'
import { Accepted } from './accepted.ts'
import type { Arrivals } from './arrivals.ts'
import { changeProblem, requestProblem, SAFE_METHOD } from './checks.ts'
import { listenOn, socketPath, urlOf } from './listen.ts'
import { offersWebSocket, withoutOffer } from './offered-protocol.ts'
import { PendingRequests } from './pending-requests.ts'
import { type Proxies, UNIX } from './proxies.ts'
import { answer, refusal } from './refusal.ts'
import { Tap } from './tap.ts'
import { readTls, type TlsSettings } from './tls.ts'
import type { Upgrades } from './upgrade.ts'

export interface ListenOptions extends TlsSettings {
  readonly port: number
  /** Name, address, or path of a Unix socket. */
  readonly host: string
  /** Path whose requests are answered `ok`. */
  readonly healthPath: string | undefined
  /** Allowed Host names in addition to loopback. */
  readonly hosts: readonly string[]
  /** Their connections do not pass the accept chain. */
  readonly proxies: Proxies
  /** Milliseconds for request headers; 0 disables the limit. */
  readonly headersTimeout: number
  /** Milliseconds without traffic after which a plain connection is closed. */
  readonly idleTimeout: number
}

/** Connections in addition to `--max-clients`, for handshakes and plain HTTP. */
const SPARE_CONNECTIONS = 1024

/** Log lines per kind and minute, of what any client can cause: failed TLS handshakes, refused connections. */
const LINES_PER_MINUTE = [1, 60_000] as const
/** Milliseconds for a plain request including its body. */
const REQUEST_TIMEOUT = 300_000

/** HTTP statuses for error codes of Node's parser. */
const PARSER_STATUS: Readonly<Record<string, number>> = {
  HPE_HEADER_OVERFLOW: 431,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
  ERR_HTTP_REQUEST_TIMEOUT: 408,
}

/** The HTTP(S) server: passes requests to the request chain, upgrades to Upgrades, and bytes to the data chain if there is one. */
export class Listener {
  readonly #hub: Hub
  readonly #arrivals: Arrivals
  readonly #options: ListenOptions
  readonly #http: HttpServer | HttpsServer
  readonly requests = new PendingRequests()
  /** With TLS all sockets: the HTTP server does not track a socket before the TLS handshake is done. */
  readonly #sockets = new Set<Socket>()
  /** The bound address. */
  #boundTo = ''
  /** The last Host header that was allowed: nearly all requests have the same. */
  #allowedHost: string | undefined
  readonly #limitedLog: RateLimitedLog

  /** @throws FwsError `ERR_OPTION` if key, certificate or authorities cannot be used. */
  constructor(hub: Hub, arrivals: Arrivals, upgrades: Upgrades, options: ListenOptions) {
    this.#hub = hub
    this.#arrivals = arrivals
    this.#options = options
    this.#limitedLog = new RateLimitedLog(hub.log, ...LINES_PER_MINUTE)
    const headersTimeout = Math.ceil(options.headersTimeout)
    const settings = {
      // Checked and counted in `#check`.
      requireHostHeader: false,
      headersTimeout,
      // Node refuses a value below headersTimeout.
      requestTimeout: Math.max(REQUEST_TIMEOUT, headersTimeout),
      connectionsCheckingInterval: Math.ceil(Math.min(headersTimeout || REQUEST_TIMEOUT, 30_000) / 4),
    }
    this.#http =
      options.key === undefined
        ? createHttp(settings)
        : // As `createHttp` does: a peer that has ended its stream still gets its answers.
          createHttps({
            ...settings,
            allowHalfOpen: true,
            ...this.#readTls(),
            handshakeTimeout: headersTimeout || REQUEST_TIMEOUT,
          })
    // Without this Node silently drops fields; requests with too many are refused instead.
    this.#http.maxHeadersCount = 0
    this.#http.maxConnections = hub.limits.maxClients + SPARE_CONNECTIONS
    this.#http.on('drop', connection => this.#countDropped(connection?.remoteAddress))
    const answer = closeUnreadBodies((req, res) => this.#answer(req, res))
    const request: RequestListener = (req, res) => {
      // Not per connection: headersTimeout applies until the headers are complete, and a timer costs memory.
      req.socket.setTimeout(options.idleTimeout)
      if (!this.requests.add(req, res)) return
      // The peer may reset the connection during the response.
      res.on('error', error => hub.log.debug({ err: error }, 'request'))
      answer(req, res)
    }
    this.#http.on('request', request)
    this.#http.on('checkExpectation', request)
    const connection = options.key === undefined ? 'connection' : 'secureConnection'
    const parsers = this.#http.listeners(connection)
    const parse = (socket: Duplex) => {
      for (const parser of parsers) parser.call(this.#http, socket)
    }
    // `shouldUpgradeCallback` of Node 24.9 decides the same, but loses bytes behind the request.
    this.#http.on('upgrade', (req: IncomingMessage, socket: Duplex, head: Buffer) => {
      // A response to an earlier request would be written between the frames.
      if (this.requests.has(socket)) socket.destroy()
      else if (offersWebSocket(req)) upgrades.handle(req, socket as ByteStream, head)
      else {
        socket.unshift(withoutOffer(req, head))
        parse(socket)
      }
    })
    this.#http.on('timeout', (socket: Duplex) => {
      // While a filter works on the response the peer is idle; filters have their own deadline.
      if (socket.writableLength > 0 || !this.requests.has(socket)) socket.destroy()
    })
    this.#http.on('clientError', (error: NodeJS.ErrnoException, socket) => this.#badRequest(error, socket))
    if (options.key !== undefined) {
      this.#http.on('connection', socket => {
        this.#sockets.add(socket)
        socket.once('close', () => this.#sockets.delete(socket))
      })
      this.#http.on('tlsClientError', error => this.#countTlsFailure(error))
    }
    if (!hub.chains.data.empty) {
      this.#http.removeAllListeners(connection)
      this.#http.on(connection, (socket: Socket) => parse(new Tap(socket, this.remoteOf(socket), hub.chains.data)))
    }
    // Last, since it replaces all listeners: a connection that is closed must not reach them.
    if (!hub.chains.accept.empty) {
      const accepted = this.#http.listeners('connection')
      this.#http.removeAllListeners('connection')
      this.#http.on('connection', (socket: Socket) => {
        if (this.#accepts(socket)) for (const next of accepted) next.call(this.#http, socket)
      })
    }
  }

  /** The URL that clients connect to: `ws://127.0.0.1:9000`, `ws+unix:/run/fws.sock`. */
  get url(): string {
    return urlOf(this.#http, this.#options.key === undefined ? 'ws' : 'wss')
  }

  /** @throws FwsError `ERR_LISTEN`: port taken, no permission, no such address. */
  async listen(): Promise<void> {
    await listenOn(this.#http, this.#options.host, this.#options.port)
    const bound = this.#http.address()
    // The bound address and not the host name decides about loopback: a machine's own name may resolve to it.
    this.#boundTo = typeof bound === 'string' ? bound : bound!.address
    this.#http.on('error', error => this.#hub.log.error({ err: error }, 'listener'))
  }

  /** The address of a peer, or `unix`. */
  remoteOf({ remoteAddress }: Pick<Socket, 'remoteAddress'>): string {
    return remoteAddress ?? (socketPath(this.#options.host) === undefined ? '' : UNIX)
  }

  /** Whether requests with this Host header are served. */
  isHostAllowed(header: string | undefined): boolean {
    if (header !== undefined && header === this.#allowedHost) return true
    const isAllowed = isHostAllowed(header, this.#boundTo, this.#options.hosts)
    if (isAllowed) this.#allowedHost = header
    return isAllowed
  }

  /** Closes the port; settles when all pending requests are answered. */
  close(): Promise<void> {
    this.#http.close()
    this.#http.closeIdleConnections()
    return this.requests.answered()
  }

  closeAll(): void {
    this.#http.closeAllConnections()
    for (const socket of this.#sockets) socket.destroy()
  }

  /**
   * Reads key, certificate and authorities again; returns a function that uses them for new connections, or `undefined` without
   * TLS.
   *
   * @throws FwsError `ERR_OPTION` if one of them cannot be used.
   */
  reload(): (() => void) | undefined {
    if (this.#options.key === undefined) return undefined
    const tls = this.#readTls()
    return () => (this.#http as HttpsServer).setSecureContext(tls)
  }

  /** Runs the accept chain, and closes the connection if it is dropped. */
  #accepts(socket: Socket): boolean {
    const { proxies } = this.#options
    const remote = proxies.remoteOf(this.remoteOf(socket), undefined)
    if (proxies.trusts(remote)) return true
    const { accept } = this.#hub.chains
    const outcome = accept.run(new Accepted(socket, remote, this.#hub))
    if (outcome !== DROP && outcome !== FAILED) return true
    socket.destroy()
    count(this.#hub.counters.refusals, 'accept handler')
    const filters = accept.steps.map(({ filter }) => filter)
    this.#limitedLog.add('warn', { remote, filters }, 'connection refused by an accept handler', 'accept handler')
    return false
  }

  #answer(req: IncomingMessage, res: ServerResponse): void {
    if (isHealthCheck(req, this.#options.healthPath)) {
      answerWith(res, refusal(200, 'ok'))
      return
    }
    const refused = this.#check(req)
    if (refused !== undefined) {
      this.#refuse(req, res, refused)
      return
    }
    const outcome = this.#hub.chains.routes.of(req.url!).request.run(req, res, this.#hub)
    if (isPromise(outcome)) (outcome as Promise<unknown>).then(late => this.#finish(late, req, res))
    else this.#finish(outcome, req, res)
  }

  #check(req: IncomingMessage): Refusal | undefined {
    const problem = requestProblem(req, this)
    if (problem !== undefined) return problem
    // RFC 9110, section 10.1.1.
    if (!/^(?:100-continue)?$/i.test(req.headers.expect ?? '')) return refusal(417, 'only 100-continue can be expected')
    return changeProblem(req, this.#arrivals.checks)
  }

  #finish(outcome: unknown, req: IncomingMessage, res: ServerResponse): void {
    if (outcome === FAILED && res.headersSent) res.destroy()
    else if (outcome === FAILED) answerWith(res, refusal(500, 'internal error', { Connection: 'close' }))
    else if (outcome !== DROP && !res.headersSent) {
      const Connection = res.shouldKeepAlive ? 'Upgrade' : 'close, Upgrade'
      this.#refuse(req, res, refusal(426, 'this is a WebSocket server', { Upgrade: 'websocket', Connection }))
    }
  }

  #refuse(req: IncomingMessage, res: ServerResponse, refused: Refusal): void {
    this.#arrivals.countRefusal(refused, this.#arrivals.remoteOf(req), 'request')
    answerWith(res, refused)
  }

  #badRequest(error: NodeJS.ErrnoException, socket: Duplex): void {
    // Not an HTTP error (a reset, a failed TLS handshake), or in the middle of a response.
    if (!/^(HPE|ERR_HTTP)_/.test(error.code ?? '') || this.requests.has(socket)) {
      // Without the address: the socket has lost it.
      const { authorizationError: problem } = socket as TLSSocket
      if (problem) this.#hub.log.debug({ problem }, 'client certificate refused')
      socket.destroy()
      return
    }
    // Already answered: the parser reports an error for each further read.
    if (socket.writableEnded) return
    const status = PARSER_STATUS[error.code ?? ''] ?? 400
    count(this.#hub.counters.refusals, status)
    this.#hub.log.debug({ code: error.code, status }, 'bad request')
    answer(socket, status)
  }

  #countTlsFailure({ code = 'unknown' }: NodeJS.ErrnoException): void {
    count(this.#hub.counters.tlsFailures, code)
    const failure = tlsFailureOf(code)
    if (failure !== undefined) this.#limitedLog.add('warn', { code }, failure, code)
  }

  /** A connection above `maxConnections`, which Node closes at once. */
  #countDropped(remote: string | undefined): void {
    count(this.#hub.counters.refusals, 'connection limit')
    const text = `connection refused: ${this.#http.maxConnections} connections are open; see --max-clients`
    this.#limitedLog.add('warn', { remote }, text, 'connection limit')
  }

  #readTls(): TlsOptions {
    return readTls(this.#options, warning => this.#hub.log.warn(warning))
  }
}

/** A request of a load balancer. It is answered before the checks: some send no Host, or the address as Host. */
function isHealthCheck({ method = '', url = '' }: IncomingMessage, path: string | undefined): boolean {
  if (path === undefined || !SAFE_METHOD.test(method)) return false
  const target = originForm(url)
  return target === path || target.startsWith(`${path}?`)
}
