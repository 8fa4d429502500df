import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { WebSocketServer } from 'ws'
import type { Outcome } from '../chain/chain.ts'
import { closeCodeOf, cutReason, REFUSED_PROTOCOL } from '../contract/close.ts'
import { isPromise, withDeadline } from '../contract/deadline.ts'
import type { Refusal } from '../contract/refusal.ts'
import { count } from '../fanout/counters.ts'
import { Deflate } from '../fanout/deflate.ts'
import { frame } from '../fanout/frame.ts'
import type { Hub } from '../hub/hub.ts'
import { originForm } from '../kit/host.ts'
import { ServerClient } from '../peer/client.ts'
import { badCertificate, certificateOf, certificateProblem, commonNameOf } from './certificate.ts'
import { withoutBadOffers } from './extensions.ts'
import {
  hasTooManyFields,
  isEncrypted,
  malformedOf,
  RequestHandshake,
  TOO_MANY_FIELDS,
  withoutEmptyElements,
} from './handshake.ts'
import { Heartbeat } from './heartbeat.ts'
import { originProblem } from './origin.ts'
import type { OriginPattern } from './origin-pattern.ts'
import type { Proxies } from './proxies.ts'
import { answer, refusal, refusalOf } from './refusal.ts'
import { Tap } from './tap.ts'
import { type ByteStream, bind, ClientSocket } from './websocket.ts'

/** Milliseconds for a peer's answer to a Close frame. */
const CLOSE_TIMEOUT = 10_000
/**
 * Limits of fragments and socket reads per message, each of which costs far more memory than its bytes: at least `MIN_PIECES`,
 * or --max-payload divided by these sizes. A TCP segment holds at least 536 bytes.
 */
const MIN_PIECES = 1024
const MIN_FRAGMENT = 4096
const MIN_CHUNK = 512
const SHUTTING_DOWN = 'the server is shutting down'

export interface UpgradeOptions {
  readonly origins: readonly OriginPattern[]
  readonly proxies: Proxies
  /** Bytes of one message. */
  readonly maxPayload: number
  /** Smallest message to compress, in bytes; `undefined` disables compression. */
  readonly compressFrom: number | undefined
  /** Milliseconds for all connect filters together; 0 disables the limit. */
  readonly handshakeTimeout: number
  /** Milliseconds between pings; 0 disables them. */
  readonly heartbeat: number
  /** Whether new clients are accepted: false while draining. */
  readonly isAccepting: () => boolean
  /** Whether handshakes with this Host header are served. */
  readonly isHostAllowed: (host: string) => boolean
  /** The address of a socket's peer. */
  readonly remoteOf: (socket: Pick<Socket, 'remoteAddress'>) => string
}

type Accept = (verified: boolean) => void

/** Turns an HTTP upgrade into an open client: checks, the connect chain, the 101 response. */
export class Upgrades {
  readonly #hub: Hub
  readonly #options: UpgradeOptions
  readonly #wss: WebSocketServer
  readonly #heartbeat: Heartbeat
  /** State of each handshake. */
  readonly #handshakes = new WeakMap<
    IncomingMessage,
    { readonly client: ServerClient; readonly handshake: RequestHandshake; extensions?: string; refused?: Refusal }
  >()
  readonly #deflate: Deflate | undefined
  #warnedAt = 0
  /** Functions that refuse the handshakes whose connect chain has not settled. */
  readonly #pending = new Set<() => void>()

  constructor(hub: Hub, options: UpgradeOptions) {
    this.#hub = hub
    this.#options = options
    this.#heartbeat = new Heartbeat(options.heartbeat)
    if (options.compressFrom !== undefined) this.#deflate = new Deflate(options.compressFrom)
    this.#wss = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      // Without context takeover a client needs no compression window between messages.
      perMessageDeflate: this.#deflate !== undefined && {
        serverNoContextTakeover: true,
        clientNoContextTakeover: true,
      },
      maxPayload: options.maxPayload,
      WebSocket: ClientSocket,
      handleProtocols: (offered, req) => this.#protocol(offered, req),
      // Called for well-formed handshakes; ws waits for `accept`.
      verifyClient: ({ req }: { req: IncomingMessage }, accept: Accept) => this.#connect(req, accept),
      // Missing in the types of ws.
      ...{
        closeTimeout: CLOSE_TIMEOUT,
        maxFragments: Math.max(MIN_PIECES, Math.ceil(options.maxPayload / MIN_FRAGMENT)),
        maxBufferedChunks: Math.max(MIN_PIECES, Math.ceil(options.maxPayload / MIN_CHUNK)),
      },
    })
    this.#wss.on('wsClientError', (error, socket, req) => {
      this.#refuse(
        socket,
        this.#remoteOf(req),
        req.method === 'GET' ? refusal(400, error.message) : refusal(405, error.message, { Allow: 'GET' }),
      )
    })
    this.#wss.on('headers', (headers, req) => {
      const extensions = headers.find(header => header.startsWith('Sec-WebSocket-Extensions:'))
      if (extensions !== undefined) this.#handshakes.get(req)!.extensions = extensions
    })
  }

  /** Handles an `upgrade` event. */
  handle(req: IncomingMessage, socket: ByteStream, head: Buffer): void {
    // Before anything asynchronous: a reset must not end the process.
    socket.on('error', ignore)
    const refusal = this.#check(req)
    // What ws refuses: a list of protocols to upgrade to, empty elements, and compression offers that a server must decline.
    const { headers } = req
    const { 'sec-websocket-protocol': protocols, 'sec-websocket-extensions': extensions } = headers
    headers.upgrade = 'websocket'
    if (protocols !== undefined) headers['sec-websocket-protocol'] = withoutEmptyElements(protocols)
    if (extensions !== undefined && this.#deflate !== undefined)
      headers['sec-websocket-extensions'] = withoutBadOffers(extensions)
    if (refusal !== undefined) this.#refuse(socket, this.#remoteOf(req), refusal)
    else this.#wss.handleUpgrade(req, socket, head, ws => this.#open(ws as ClientSocket, req, socket))
  }

  /** Refuses all pending handshakes. */
  refusePending(): void {
    for (const stop of this.#pending) stop()
  }

  stop(): void {
    this.#heartbeat.stop()
  }

  #check(req: IncomingMessage): Refusal | undefined {
    const { host = '' } = req.headers
    const options = this.#options
    if (!options.isAccepting()) return refusal(503, SHUTTING_DOWN, { 'Retry-After': '1' })
    if (hasTooManyFields(req)) return refusal(431, TOO_MANY_FIELDS)
    const malformed = malformedOf(req)
    if (malformed !== undefined) return refusal(400, malformed)
    const problem = certificateProblem(req.socket)
    if (problem !== undefined) return refusal(403, badCertificate(problem))
    if (!options.isHostAllowed(host)) return refusal(403, `host ${host} is not served here; see --hosts`)
    req.url = originForm(req.url!)
    if (!req.url.startsWith('/') || !URL.canParse(`ws://${host}${req.url}`)) return refusal(400, 'bad request target')
    if (req.headers['sec-websocket-version'] !== '13') {
      return refusal(426, 'only WebSocket version 13 is supported', { 'Sec-WebSocket-Version': '13' })
    }
    const badOrigin = originProblem(req.headers, options.origins, isEncrypted(req))
    if (badOrigin !== undefined) return refusal(403, badOrigin)
    if (this.#hub.population + this.#pending.size >= this.#hub.limits.maxClients) {
      return refusal(503, 'too many clients', { 'Retry-After': '5' })
    }
    return undefined
  }

  #connect(req: IncomingMessage, accept: Accept): void {
    const { socket } = req
    const peer: unknown = socket
    const id = peer instanceof Tap ? peer.id : undefined
    const handshake = new RequestHandshake(req)
    const client = new ServerClient(this.#hub, { id, remote: this.#remoteOf(req), handshake, frame })
    const certificate = certificateOf(socket)
    if (certificate !== undefined) {
      client.state.certificate = certificate
      client.identity = commonNameOf(certificate)
    }
    this.#handshakes.set(req, { client, handshake })
    const outcome = this.#hub.chains.connect.run(client)
    if (!isPromise(outcome)) {
      this.#decide(req, outcome as Outcome<ServerClient>, accept)
      return
    }
    this.#await(req, outcome as Promise<Outcome<ServerClient>>, accept)
  }

  /** Awaits an async connect chain, unless the peer disconnects, the deadline passes or the server stops first. */
  #await(req: IncomingMessage, outcome: Promise<Outcome<ServerClient>>, accept: Accept): void {
    const { socket } = req
    const { client } = this.#handshakes.get(req)!
    let over = false
    const end = () => {
      if (over) return false
      over = true
      this.#hub.arriving.delete(client)
      this.#pending.delete(stop)
      socket.off('close', abandon)
      return true
    }
    const fail = (reason: string) => {
      if (!end()) return
      client.abandoned()
      this.#refuse(socket, client.remote, refusal(503, reason))
    }
    const stop = () => fail(SHUTTING_DOWN)
    const abandon = () => {
      if (end()) client.abandoned()
    }
    this.#hub.arriving.add(client)
    this.#pending.add(stop)
    socket.once('close', abandon)
    withDeadline(outcome, this.#options.handshakeTimeout, 'the connect chain').then(
      settled => end() && this.#decide(req, settled, accept),
      () => fail('the handshake took too long'),
    )
  }

  #decide(req: IncomingMessage, outcome: Outcome<ServerClient>, accept: Accept): void {
    const opening = this.#handshakes.get(req)!
    const { client, handshake } = opening
    const refused =
      refusalOf(client.refusal, outcome) ?? (this.#options.isAccepting() ? undefined : refusal(503, SHUTTING_DOWN))
    const isClosed =
      refused !== undefined &&
      closeCodeOf(refused.status) !== undefined &&
      handshake.protocols.includes(REFUSED_PROTOCOL)
    if (isClosed) {
      opening.refused = refused
      handshake.protocol = REFUSED_PROTOCOL
    }
    if (refused === undefined || isClosed) accept(true)
    // Without an open client no disconnect chain runs: filters release their resources on the signal. The client is also not
    // open if ws found the socket closed.
    if (!client.isBound) client.abandoned()
    if (refused !== undefined && !isClosed) this.#refuse(req.socket, client.remote, refused)
  }

  #protocol(offered: Set<string>, req: IncomingMessage): string | false {
    const { handshake, refused } = this.#handshakes.get(req)!
    if (handshake.protocol === REFUSED_PROTOCOL && refused === undefined) handshake.protocol = undefined
    // Browsers fail the connection if none of their subprotocols is selected.
    handshake.protocol ??= [...offered].find(protocol => protocol !== REFUSED_PROTOCOL)
    return handshake.protocol !== undefined && offered.has(handshake.protocol) ? handshake.protocol : false
  }

  #open(ws: ClientSocket, req: IncomingMessage, socket: ByteStream): void {
    const { client, handshake, extensions, refused } = this.#handshakes.get(req)!
    if (refused !== undefined) {
      this.#countRefusal(refused, client.remote)
      ws.on('error', ignore)
      ws.close(closeCodeOf(refused.status), cutReason(refused.reason ?? ''))
      return
    }
    this.#heartbeat.add(ws)
    handshake.releaseRequest()
    bind(ws, client, socket, this.#deflate?.frameFor(extensions) ?? frame)
  }

  #remoteOf(req: IncomingMessage): string {
    const { proxies, remoteOf } = this.#options
    return proxies.remoteOf(remoteOf(req.socket), req.headersDistinct['x-forwarded-for']?.join(','))
  }

  #countRefusal({ status, reason }: Refusal, remote: string): void {
    count(this.#hub.counters.refusals, status)
    // A refused origin is a common mistake, so one 403 per second is logged as a warning.
    const isFirst = status === 403 && Date.now() - this.#warnedAt > 1000
    if (isFirst) this.#warnedAt = Date.now()
    this.#hub.log[isFirst ? 'warn' : 'debug']({ status, reason, remote }, 'handshake refused')
  }

  #refuse(socket: Duplex, remote: string, refused: Refusal): void {
    const { status, reason, headers } = refused
    this.#countRefusal(refused, remote)
    try {
      answer(socket, status, reason, headers)
    } catch (error) {
      // For example a reason or header of a filter that is not valid HTTP.
      this.#hub.log.error({ err: error, status }, 'refusal cannot be written')
      socket.destroy()
    }
  }
}

function ignore(): void {}
