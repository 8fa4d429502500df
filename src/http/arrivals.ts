import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Outcome } from '../chain/chain.ts'
import { isPromise, withDeadline } from '../contract/deadline.ts'
import type { Handshake } from '../contract/peer.ts'
import type { Refusal } from '../contract/refusal.ts'
import type { Transport } from '../contract/transport.ts'
import { count } from '../fanout/counters.ts'
import type { Hub } from '../hub/hub.ts'
import { fieldsOf } from '../kit/fields-of.ts'
import { ServerClient } from '../peer/client.ts'
import { certificateOf, commonNameOf } from './certificate.ts'
import type { Checks } from './checks.ts'
import { RequestHandshake } from './handshake.ts'
import type { Proxies } from './proxies.ts'
import { refusal, refusalOf } from './refusal.ts'
import { Tap } from './tap.ts'

const SHUTTING_DOWN = refusal(503, 'the server is shutting down', { 'Retry-After': '1' })
const TOO_MANY_CLIENTS = refusal(503, 'too many clients', { 'Retry-After': '5' })
const TOO_SLOW = refusal(503, 'the handshake took too long')
/** For a client that has gone meanwhile: the response is not sent, and not counted. */
export const GONE = refusal(499, 'the client has gone')

export interface ArrivalOptions extends Checks {
  readonly proxies: Proxies
  /** Milliseconds for all connect filters together; 0 disables the limit. */
  readonly handshakeTimeout: number
  /** Whether new clients are accepted: false while draining. */
  readonly isAccepting: () => boolean
  /** The address of a socket's peer. */
  readonly remoteOf: (socket: Pick<Socket, 'remoteAddress'>) => string
}

/** Calls the handler once when the peer has gone; returns the function that removes it. */
export type WhenGone = (handler: () => void) => () => void

/** Clients from their request to the end of the connect chain, for handshakes and for plain requests. */
export class Arrivals {
  readonly #hub: Hub
  readonly #options: ArrivalOptions
  #warnedAt = 0
  /** Functions that refuse the clients whose connect chain has not settled. */
  readonly #pending = new Set<() => void>()

  constructor(hub: Hub, options: ArrivalOptions) {
    this.#hub = hub
    this.#options = options
  }

  get checks(): Checks {
    return this.#options
  }

  /** The refusal of a request that asks for a client. @param check - finds what is wrong with the request itself. */
  problemOf(check: () => Refusal | undefined): Refusal | undefined {
    if (!this.#options.isAccepting()) return SHUTTING_DOWN
    return check() ?? (this.#hub.isFull ? TOO_MANY_CLIENTS : undefined)
  }

  /** Creates the client of a request. */
  create(req: IncomingMessage, kind: Handshake['kind'], frame: Transport['frame']): ServerClient {
    const peer: unknown = req.socket
    const client = new ServerClient(this.#hub, {
      id: kind === 'websocket' && peer instanceof Tap ? peer.id : undefined,
      remote: this.remoteOf(req),
      handshake: new RequestHandshake(req, kind),
      route: this.#hub.chains.routes.of(req.url!),
      frame,
    })
    const certificate = certificateOf(req.socket)
    if (certificate !== undefined) {
      client.state.certificate = certificate
      client.identity = commonNameOf(certificate)
    }
    return client
  }

  /**
   * Runs the connect chain, unless the peer disconnects, the deadline passes or the server stops first.
   *
   * @param then - called once, with the refusal of a client that may not open; its resources are released.
   */
  run(client: ServerClient, whenGone: WhenGone, then: (refused: Refusal | undefined) => void): void {
    const settle = (refused: Refusal | undefined) => {
      // Without an open client no disconnect chain runs: filters release their resources.
      if (refused !== undefined) client.abandoned()
      then(refused)
    }
    const outcome = client.route.connect.run(client)
    if (isPromise(outcome)) this.#await(client, outcome as Promise<Outcome<ServerClient>>, whenGone, settle)
    else settle(this.#refusalAfter(client, outcome as Outcome<ServerClient>))
  }

  #await(
    client: ServerClient,
    outcome: Promise<Outcome<ServerClient>>,
    whenGone: WhenGone,
    settle: (refused: Refusal | undefined) => void,
  ): void {
    let isOver = false
    const end = (refused: Refusal | undefined) => {
      if (isOver) return
      isOver = true
      this.#hub.arriving.delete(client)
      this.#pending.delete(stop)
      ignoreEnd()
      settle(refused)
    }
    const stop = () => end(SHUTTING_DOWN)
    this.#hub.arriving.add(client)
    this.#pending.add(stop)
    const ignoreEnd = whenGone(() => end(GONE))
    withDeadline(outcome, this.#options.handshakeTimeout, 'the connect chain').then(
      settled => end(this.#refusalAfter(client, settled)),
      () => end(TOO_SLOW),
    )
  }

  #refusalAfter(client: ServerClient, outcome: Outcome<ServerClient>): Refusal | undefined {
    return refusalOf(client.refusal, outcome) ?? (this.#options.isAccepting() ? undefined : SHUTTING_DOWN)
  }

  /** Refuses all clients whose connect chain has not settled. */
  refusePending(): void {
    for (const stop of this.#pending) stop()
  }

  remoteOf(req: IncomingMessage): string {
    const { proxies, remoteOf } = this.#options
    return proxies.remoteOf(remoteOf(req.socket), fieldsOf(req, 'x-forwarded-for').join())
  }

  /** Counts and logs a refusal. @param what - `handshake` or `request`. */
  countRefusal({ status, reason }: Refusal, remote: string, what: string): void {
    count(this.#hub.counters.refusals, status)
    // A refused origin is a common mistake, so one 403 per second is logged as a warning.
    const isFirst = status === 403 && Date.now() - this.#warnedAt > 1000
    if (isFirst) this.#warnedAt = Date.now()
    this.#hub.log[isFirst ? 'warn' : 'debug']({ status, reason, remote }, `${what} refused`)
  }
}
