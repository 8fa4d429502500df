import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Outcome } from '../chain/chain.ts'
import { closeCodeOf, cutReason, REFUSED_PROTOCOL } from '../contract/close.ts'
import { isPromise, withDeadline } from '../contract/deadline.ts'
import type { Refusal } from '../contract/refusal.ts'
import { count } from '../fanout/counters.ts'
import { Deflate } from '../fanout/deflate.ts'
import { frame } from '../fanout/frame.ts'
import type { Hub } from '../hub/hub.ts'
import { fieldsOf } from '../kit/fields-of.ts'
import { Heartbeat, type Pinged } from '../kit/heartbeat.ts'
import { linger } from '../kit/linger.ts'
import { ServerClient } from '../peer/client.ts'
import { closeFrame } from '../websocket/close-frame.ts'
import { type ByteStream, Endpoint, type EndpointOptions } from '../websocket/endpoint.ts'
import { certificateOf, commonNameOf } from './certificate.ts'
import { type Checks, handshakeProblem } from './checks.ts'
import { RequestHandshake } from './handshake.ts'
import { type Offer, readOffer, switchingProtocols, windowsOf } from './negotiation.ts'
import type { Proxies } from './proxies.ts'
import { answer, refusal, refusalOf } from './refusal.ts'
import { Tap } from './tap.ts'

const SHUTTING_DOWN = refusal(503, 'the server is shutting down', { 'Retry-After': '1' })
const TOO_MANY_CLIENTS = refusal(503, 'too many clients', { 'Retry-After': '5' })

export interface UpgradeOptions extends Checks {
  readonly proxies: Proxies
  /** Bytes of one message. */
  readonly maxPayload: number
  /** Control frames per second and connection; 0 disables the limit. */
  readonly maxControl: number
  /** Smallest message to compress, in bytes; `undefined` disables compression. */
  readonly compressFrom: number | undefined
  /** Milliseconds for all connect filters together; 0 disables the limit. */
  readonly handshakeTimeout: number
  /** Milliseconds between pings; 0 disables them. */
  readonly heartbeat: number
  /** Whether new clients are accepted: false while draining. */
  readonly isAccepting: () => boolean
  /** The address of a socket's peer. */
  readonly remoteOf: (socket: Pick<Socket, 'remoteAddress'>) => string
}

/** A handshake that passed the checks. */
interface Opening {
  readonly req: IncomingMessage
  readonly socket: ByteStream
  readonly offer: Offer
  readonly handshake: RequestHandshake
  readonly client: ServerClient
}

/** Turns an HTTP upgrade into an open client: checks, the connect chain, the 101 response. */
export class Upgrades {
  readonly #hub: Hub
  readonly #options: UpgradeOptions
  readonly #endpoints: EndpointOptions
  readonly #heartbeat: Heartbeat<Pinged>
  readonly #deflate: Deflate | undefined
  #warnedAt = 0
  /** Functions that refuse the handshakes whose connect chain has not settled. */
  readonly #pending = new Set<() => void>()

  constructor(hub: Hub, options: UpgradeOptions) {
    this.#hub = hub
    this.#options = options
    this.#heartbeat = new Heartbeat(options.heartbeat)
    this.#endpoints = { maxPayload: options.maxPayload, maxControl: options.maxControl, heartbeat: this.#heartbeat }
    if (options.compressFrom !== undefined) this.#deflate = new Deflate(options.compressFrom)
  }

  /** Handles an `upgrade` event. */
  handle(req: IncomingMessage, socket: ByteStream, head: Buffer): void {
    // Before anything asynchronous: a reset must not end the process.
    socket.on('error', ignore)
    const problem = this.#options.isAccepting() ? handshakeProblem(req, this.#options) : SHUTTING_DOWN
    const offer = problem ?? readOffer(req.headers, this.#deflate !== undefined)
    const isFull = this.#hub.population + this.#pending.size >= this.#hub.limits.maxClients
    if ('status' in offer) this.#refuse(socket, this.#remoteOf(req), offer)
    else if (isFull) this.#refuse(socket, this.#remoteOf(req), TOO_MANY_CLIENTS)
    else this.#connect(req, socket, head, offer)
  }

  /** Refuses all pending handshakes. */
  refusePending(): void {
    for (const stop of this.#pending) stop()
  }

  stop(): void {
    this.#heartbeat.stop()
  }

  /** @param head - bytes behind the request. */
  #connect(req: IncomingMessage, socket: ByteStream, head: Buffer, offer: Offer): void {
    // At once: a socket whose last bytes are out of it ends during an async chain, also if they are still to be handled.
    if (head.length > 0) socket.unshift(head)
    const peer: unknown = socket
    const id = peer instanceof Tap ? peer.id : undefined
    const handshake = new RequestHandshake(req)
    const route = this.#hub.chains.routes.of(req.url!)
    const client = new ServerClient(this.#hub, { id, remote: this.#remoteOf(req), handshake, route, frame })
    const certificate = certificateOf(socket)
    if (certificate !== undefined) {
      client.state.certificate = certificate
      client.identity = commonNameOf(certificate)
    }
    const opening = { req, socket, offer, handshake, client }
    const outcome = client.route.connect.run(client)
    if (isPromise(outcome)) this.#await(opening, outcome as Promise<Outcome<ServerClient>>)
    else this.#decide(opening, outcome as Outcome<ServerClient>)
  }

  /** Awaits an async connect chain, unless the peer disconnects, the deadline passes or the server stops first. */
  #await(opening: Opening, outcome: Promise<Outcome<ServerClient>>): void {
    const { client, socket } = opening
    let over = false
    const end = () => {
      if (over) return false
      over = true
      this.#hub.arriving.delete(client)
      this.#pending.delete(stop)
      socket.off('close', abandon)
      return true
    }
    const fail = (refused: Refusal) => {
      if (!end()) return
      client.abandoned()
      this.#refuse(socket, client.remote, refused)
    }
    const stop = () => fail(SHUTTING_DOWN)
    const abandon = () => {
      if (end()) client.abandoned()
    }
    this.#hub.arriving.add(client)
    this.#pending.add(stop)
    socket.once('close', abandon)
    withDeadline(outcome, this.#options.handshakeTimeout, 'the connect chain').then(
      settled => end() && this.#decide(opening, settled),
      () => fail(refusal(503, 'the handshake took too long')),
    )
  }

  #decide(opening: Opening, outcome: Outcome<ServerClient>): void {
    const { client, socket, offer } = opening
    const refused = refusalOf(client.refusal, outcome) ?? (this.#options.isAccepting() ? undefined : SHUTTING_DOWN)
    if (refused === undefined && socket.readable && socket.writable) {
      this.#open(opening)
      return
    }
    // Without an open client no disconnect chain runs: filters release their resources.
    client.abandoned()
    const code = refused === undefined ? undefined : closeCodeOf(refused.status)
    if (refused === undefined) socket.destroy()
    else if (code !== undefined && offer.protocols.has(REFUSED_PROTOCOL)) this.#close(opening, code, refused)
    else this.#refuse(socket, client.remote, refused)
  }

  #open({ req, socket, offer, handshake, client }: Opening): void {
    const windows = windowsOf(offer.compression)
    handshake.protocol = protocolOf(handshake.protocol, offer.protocols)
    socket.write(switchingProtocols(req, handshake.protocol, offer), 'latin1')
    handshake.releaseRequest()
    const framed = this.#deflate?.frameFor(windows.server) ?? frame
    new Endpoint(socket, client, framed, windows.client, this.#endpoints).open()
  }

  /** Refuses a client that reads the reason from a Close frame, as browsers hide the status. */
  #close({ req, socket, offer, client }: Opening, code: number, refused: Refusal): void {
    this.#countRefusal(refused, client.remote)
    socket.write(switchingProtocols(req, REFUSED_PROTOCOL, offer))
    socket.write(closeFrame(code, cutReason(refused.reason ?? '')))
    linger(socket)
  }

  #remoteOf(req: IncomingMessage): string {
    const { proxies, remoteOf } = this.#options
    return proxies.remoteOf(remoteOf(req.socket), fieldsOf(req, 'x-forwarded-for').join())
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

/**
 * The subprotocol of the response: the one that a filter has selected, or the first that the client offers, since browsers fail
 * the connection without one.
 */
function protocolOf(selected: string | undefined, offered: ReadonlySet<string>): string | undefined {
  const isSelected = selected !== undefined && selected !== REFUSED_PROTOCOL
  const protocol = isSelected ? selected : [...offered].find(name => name !== REFUSED_PROTOCOL)
  return protocol !== undefined && offered.has(protocol) ? protocol : undefined
}

function ignore(): void {}
