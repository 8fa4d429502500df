import {
  createServer as createHttp,
  type Server as HttpServer,
  type IncomingMessage,
  type RequestListener,
  type ServerResponse,
  STATUS_CODES,
} from 'node:http'
import { createServer as createHttps, type Server as HttpsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TLSSocket, TlsOptions } from 'node:tls'
import { FAILED } from '../chain/chain.ts'
import { LogLimit } from '../chain/report.ts'
import { isPromise } from '../contract/deadline.ts'
import { DROP } from '../contract/drop.ts'
import { FwsError, messageOf } from '../contract/errors.ts'
import type { Refusal } from '../contract/refusal.ts'
import { count } from '../fanout/counters.ts'
import type { Hub } from '../hub/hub.ts'
import { hostProblem, isHostAllowed } from '../kit/host.ts'
import { closeUnreadBodies } from '../kit/request-body.ts'
import { tlsFailureOf } from '../kit/tls-failure.ts'
import { readAuthorities, readTlsFiles } from '../kit/tls-files.ts'
import { badCertificate, certificateProblem } from './certificate.ts'
import { hasTooManyFields, TOO_MANY_FIELDS } from './handshake.ts'
import { answer, refusal } from './refusal.ts'
import { Tap } from './tap.ts'
import type { Upgrades } from './upgrade.ts'
import type { ByteStream } from './websocket.ts'

export interface ListenOptions {
  readonly port: number
  readonly host: string
  /** Host names answered beside loopback ones. */
  readonly hosts: readonly string[]
  /** PEM files; both or neither. */
  readonly key: string | undefined
  readonly cert: string | undefined
  /** Of an encrypted key. */
  readonly passphrase: string | undefined
  /** PEM file of the authorities that clients' certificates are checked against; `undefined`: they are asked for none. */
  readonly ca: string | undefined
  readonly clientCert: 'required' | 'optional'
  /** Milliseconds for request headers; 0: no limit. */
  readonly headersTimeout: number
  /** Milliseconds that a plain connection may be silent, or leave its answer unread. */
  readonly idleTimeout: number
}

/** Connections that may be open beside the clients: handshakes under way and plain HTTP. */
const SPARE_CONNECTIONS = 1024

/** Requests of one connection that may wait for their answers; who pipelines more and does not read is cut off. */
const MAX_PIPELINED = 32
/** One line of a kind in the log per minute: any client can make a TLS handshake fail. */
const TLS_FAILURE_LINES = [1, 60_000] as const
/** Milliseconds for a whole plain request, its body included. */
const REQUEST_TIMEOUT = 300_000

/** HTTP statuses for what Node's parser complains of. */
const PARSER_STATUS: Readonly<Record<string, number>> = {
  HPE_HEADER_OVERFLOW: 431,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
  ERR_HTTP_REQUEST_TIMEOUT: 408,
}

/** The HTTP(S) server: requests to the request chain, upgrades to Upgrades, bytes to the data chain when there is one. */
export class Listener {
  readonly #hub: Hub
  readonly #options: ListenOptions
  readonly #http: HttpServer | HttpsServer
  /** Sockets with requests that are being answered, and how many. */
  readonly #answering = new Map<Duplex, number>()
  /** Under TLS: every socket, since the HTTP server knows none before its handshake is done. */
  readonly #sockets = new Set<Socket>()
  /** The address listened on. */
  #boundTo = ''
  readonly #watched = new WeakSet<Duplex>()
  readonly #tlsFailures = new LogLimit(...TLS_FAILURE_LINES)
  #whenAnswered: (() => void) | undefined

  /** @throws FwsError `ERR_OPTION`: key, certificate or authorities cannot be used. */
  constructor(hub: Hub, upgrades: Upgrades, options: ListenOptions) {
    this.#hub = hub
    this.#options = options
    const headersTimeout = Math.ceil(options.headersTimeout)
    const settings = {
      // Checked and counted here, as every other fault of Host.
      requireHostHeader: false,
      headersTimeout,
      // Node wants it no shorter than the other.
      requestTimeout: Math.max(REQUEST_TIMEOUT, headersTimeout),
      connectionsCheckingInterval: Math.ceil(Math.min(headersTimeout || REQUEST_TIMEOUT, 30_000) / 4),
    }
    this.#http =
      options.key === undefined
        ? createHttp(settings)
        : createHttps({ ...settings, ...this.#readTls(), handshakeTimeout: headersTimeout || REQUEST_TIMEOUT })
    // None are cut off silently: who sends too many is refused.
    this.#http.maxHeadersCount = 0
    this.#http.maxConnections = hub.limits.maxClients + SPARE_CONNECTIONS
    const answer = closeUnreadBodies((req, res) => this.#answer(req, res))
    const request: RequestListener = (req, res) => {
      // Here and not for every connection: until the headers are complete they have a deadline of their own, and a timer costs memory.
      req.socket.setTimeout(options.idleTimeout)
      if (this.#expectAnswer(req, res)) answer(req, res)
    }
    this.#http.on('request', request)
    this.#http.on('checkExpectation', request)
    this.#http.on('upgrade', (req: IncomingMessage, socket: Duplex, head: Buffer) => {
      // Behind a request that is still being answered: its answer would land among the frames.
      if (this.#answering.has(socket)) socket.destroy()
      else upgrades.handle(req, socket as ByteStream, head)
    })
    this.#http.on('timeout', (socket: Duplex) => {
      // Nothing to read and a filter at work: the silence is ours, and filters have a deadline of their own.
      if (socket.writableLength > 0 || !this.#answering.has(socket)) socket.destroy()
    })
    this.#http.on('clientError', (error: NodeJS.ErrnoException, socket) => this.#badRequest(error, socket))
    if (options.key !== undefined) {
      this.#http.on('connection', socket => {
        this.#sockets.add(socket)
        socket.once('close', () => this.#sockets.delete(socket))
      })
      this.#http.on('tlsClientError', error => this.#countTlsFailure(error))
    }
    if (!hub.chains.data.empty) this.#tap(options.key === undefined ? 'connection' : 'secureConnection')
  }

  /** `ws://127.0.0.1:9000`: the address really listened on. */
  get url(): string {
    const { address, family, port } = this.#http.address() as AddressInfo
    const host = family === 'IPv6' ? `[${address}]` : address
    return `${this.#options.key === undefined ? 'ws' : 'wss'}://${host}:${port}`
  }

  /** @throws FwsError `ERR_LISTEN`: port taken, no permission, no such address. */
  listen(): Promise<void> {
    const { port, host } = this.#options
    return new Promise((resolve, reject) => {
      const refuse = (error: NodeJS.ErrnoException) => {
        const problem = error.code === 'EADDRINUSE' ? 'the port is taken; choose another with --port' : messageOf(error)
        reject(new FwsError('ERR_LISTEN', `cannot listen on ${host}:${port}: ${problem}`, error))
      }
      this.#http.once('error', refuse)
      this.#http.listen({ port, host, backlog: 1024 }, () => {
        this.#http.off('error', refuse)
        // Whether it is loopback its name does not tell: a machine's own name may lead there, too.
        this.#boundTo = (this.#http.address() as AddressInfo).address
        this.#http.on('error', error => this.#hub.log.error({ err: error }, 'listener'))
        resolve()
      })
    })
  }

  /** Whether a request for this Host is answered. */
  isHostAllowed(header: string | undefined): boolean {
    return isHostAllowed(header, this.#boundTo, this.#options.hosts)
  }

  /** Takes no more connections; settles when the requests under way have been answered. */
  close(): Promise<void> {
    this.#http.close()
    this.#http.closeIdleConnections()
    if (this.#answering.size === 0) return Promise.resolve()
    return new Promise(resolve => {
      this.#whenAnswered = resolve
    })
  }

  closeAll(): void {
    this.#http.closeAllConnections()
    for (const socket of this.#sockets) socket.destroy()
  }

  /**
   * Reads key, certificate and authorities again; answers how to use them for new connections. `undefined`: without TLS.
   *
   * @throws FwsError `ERR_OPTION`: one of them cannot be used.
   */
  reload(): (() => void) | undefined {
    if (this.#options.key === undefined) return undefined
    const tls = this.#readTls()
    return () => (this.#http as HttpsServer).setSecureContext(tls)
  }

  /** Whether the request is to be answered: its connection ends when too many wait already. */
  #expectAnswer(req: IncomingMessage, res: ServerResponse): boolean {
    if ((this.#answering.get(req.socket) ?? 0) >= MAX_PIPELINED) {
      req.socket.destroy()
      return false
    }
    this.#countAnswer(req.socket, 1)
    res.once('close', () => this.#countAnswer(req.socket, -1))
    // A peer that resets while its answer is written.
    res.on('error', error => this.#hub.log.debug({ err: error }, 'request'))
    return true
  }

  #answer(req: IncomingMessage, res: ServerResponse): void {
    const refused = this.#check(req)
    if (refused !== undefined) {
      this.#refuse(res, refused)
      return
    }
    const outcome = this.#hub.chains.request.run(req, res, this.#hub)
    if (isPromise(outcome)) (outcome as Promise<unknown>).then(late => this.#finish(late, res))
    else this.#finish(outcome, res)
  }

  #check(req: IncomingMessage): Refusal | undefined {
    const { host = '(none)', expect = '' } = req.headers
    const close = { Connection: 'close' }
    if (hasTooManyFields(req)) return refusal(431, TOO_MANY_FIELDS, close)
    const problem = certificateProblem(req.socket)
    if (problem !== undefined) return refusal(403, badCertificate(problem), close)
    const badHost = hostProblem(req)
    if (badHost !== undefined) return refusal(400, badHost, close)
    if (!this.isHostAllowed(req.headers.host)) return refusal(403, `host ${host} is not served here; see --hosts`)
    // RFC 9110, section 10.1.1.
    if (!/^(?:100-continue)?$/i.test(expect)) return refusal(417, 'only 100-continue can be expected')
    return undefined
  }

  #countAnswer(socket: Duplex, by: number): void {
    if (!this.#watched.has(socket)) {
      this.#watched.add(socket)
      // Answers that wait behind another never hear that their connection has ended.
      socket.once('close', () => this.#countAnswer(socket, -Infinity))
    }
    const requests = (this.#answering.get(socket) ?? 0) + by
    if (requests > 0) this.#answering.set(socket, requests)
    else this.#answering.delete(socket)
    if (this.#answering.size === 0) this.#whenAnswered?.()
  }

  #finish(outcome: unknown, res: ServerResponse): void {
    if (outcome === FAILED && res.headersSent) res.destroy()
    else if (outcome === FAILED) end(res, 500, 'internal error\n', { Connection: 'close' })
    else if (outcome !== DROP && !res.headersSent) {
      const Connection = res.shouldKeepAlive ? 'Upgrade' : 'close, Upgrade'
      this.#refuse(res, refusal(426, 'this is a WebSocket server', { Upgrade: 'websocket', Connection }))
    }
  }

  #refuse(res: ServerResponse, { status, reason, headers }: Refusal): void {
    count(this.#hub.counters.refusals, status)
    end(res, status, `${reason}\n`, headers)
  }

  #badRequest(error: NodeJS.ErrnoException, socket: Duplex): void {
    // Not HTTP at all (a reset, a TLS handshake that failed), or in the middle of an answer.
    if (!/^(HPE|ERR_HTTP)_/.test(error.code ?? '') || this.#answering.has(socket)) {
      // Its address it no longer knows.
      const { authorizationError: problem } = socket as TLSSocket
      if (problem) this.#hub.log.debug({ problem }, 'client certificate refused')
      socket.destroy()
      return
    }
    // Answered already: the parser complains of every read that follows.
    if (socket.writableEnded) return
    const status = PARSER_STATUS[error.code ?? ''] ?? 400
    count(this.#hub.counters.refusals, status)
    this.#hub.log.debug({ code: error.code, status }, 'bad request')
    answer(socket, status)
  }

  /** The HTTP server's own handler gets a tap in place of each socket. */
  #tap(event: 'connection' | 'secureConnection'): void {
    const handlers = this.#http.listeners(event)
    this.#http.removeAllListeners(event)
    this.#http.on(event, (socket: Socket) => {
      const tap = new Tap(socket, this.#hub.chains.data)
      for (const handler of handlers) handler.call(this.#http, tap)
    })
  }

  #countTlsFailure({ code = 'unknown' }: NodeJS.ErrnoException): void {
    count(this.#hub.counters.tlsFailures, code)
    const failure = tlsFailureOf(code)
    if (failure === undefined) return
    const { isOver, suppressed } = this.#tlsFailures.take(code)
    if (!isOver) this.#hub.log.warn({ code, ...(suppressed > 0 && { suppressed }) }, failure)
  }

  #readTls(): TlsOptions {
    const { key, cert, passphrase, ca, clientCert } = this.#options
    const warn = (warning: string) => this.#hub.log.warn(warning)
    try {
      return {
        ...readTlsFiles({ key: key!, cert: cert!, passphrase }, '--', warn),
        minVersion: 'TLSv1.2',
        ...(ca !== undefined && {
          ca: readAuthorities('--ca', ca, warn),
          requestCert: true,
          rejectUnauthorized: clientCert === 'required',
        }),
      }
    } catch (error) {
      throw new FwsError('ERR_OPTION', messageOf(error), error)
    }
  }
}

function end(res: ServerResponse, status: number, body: string, headers?: Refusal['headers']): void {
  // What a filter has set was meant for its own answer: its Content-Length would not be ours.
  for (const name of res.getHeaderNames()) res.removeHeader(name)
  res.writeHead(status, STATUS_CODES[status] ?? '', {
    'Content-Type': 'text/plain; charset=utf-8',
    'X-Content-Type-Options': 'nosniff',
    ...headers,
  })
  res.end(body)
}
