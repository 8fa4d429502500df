import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { closeCodeOf, cutReason, REFUSED_PROTOCOL } from '../contract/close.ts'
import type { Refusal } from '../contract/refusal.ts'
import { Deflate } from '../fanout/deflate.ts'
import { frame } from '../fanout/frame.ts'
import type { Hub } from '../hub/hub.ts'
import { Heartbeat, type Pinged } from '../kit/heartbeat.ts'
import { linger } from '../kit/linger.ts'
import type { ServerClient } from '../peer/client.ts'
import { closeFrame } from '../websocket/close-frame.ts'
import { type ByteStream, Endpoint, type EndpointOptions } from '../websocket/endpoint.ts'
import { type Arrivals, GONE } from './arrivals.ts'
import { handshakeProblem } from './checks.ts'
import { type Offer, readOffer, switchingProtocols, windowsOf } from './negotiation.ts'
import { answer } from './refusal.ts'

export interface UpgradeOptions {
  /** Bytes of one message. */
  readonly maxPayload: number
  /** Control frames per second and connection; 0 disables the limit. */
  readonly maxControl: number
  /** Smallest message to compress, in bytes; `undefined` disables compression. */
  readonly compressFrom: number | undefined
  /** Milliseconds between pings; 0 disables them. */
  readonly heartbeat: number
}

/** A handshake that passed the checks. */
interface Opening {
  readonly req: IncomingMessage
  readonly socket: ByteStream
  readonly offer: Offer
  readonly client: ServerClient
}

/** Turns an HTTP upgrade into an open client: checks, the connect chain, the 101 response. */
export class Upgrades {
  readonly #hub: Hub
  readonly #arrivals: Arrivals
  readonly #endpoints: EndpointOptions
  readonly #heartbeat: Heartbeat<Pinged>
  readonly #deflate: Deflate | undefined

  constructor(hub: Hub, arrivals: Arrivals, options: UpgradeOptions) {
    this.#hub = hub
    this.#arrivals = arrivals
    this.#heartbeat = new Heartbeat(options.heartbeat)
    this.#endpoints = { maxPayload: options.maxPayload, maxControl: options.maxControl, heartbeat: this.#heartbeat }
    if (options.compressFrom !== undefined) this.#deflate = new Deflate(options.compressFrom)
  }

  /** Handles an `upgrade` event. @param head - bytes behind the request. */
  handle(req: IncomingMessage, socket: ByteStream, head: Buffer): void {
    // Before anything asynchronous: a reset must not end the process.
    socket.on('error', ignore)
    const problem = this.#arrivals.problemOf(() => handshakeProblem(req, this.#arrivals.checks))
    const offer = problem ?? readOffer(req.headers, this.#deflate !== undefined)
    if ('status' in offer) {
      this.#refuse(socket, this.#arrivals.remoteOf(req), offer)
      return
    }
    // At once: a socket whose last bytes are out of it ends during an async chain, also if they are still to be handled.
    if (head.length > 0) socket.unshift(head)
    const opening = { req, socket, offer, client: this.#arrivals.create(req, 'websocket', frame) }
    const whenGone = (handler: () => void) => {
      socket.once('close', handler)
      return () => socket.off('close', handler)
    }
    this.#arrivals.run(opening.client, whenGone, refused => this.#decide(opening, refused))
  }

  stop(): void {
    this.#heartbeat.stop()
  }

  #decide(opening: Opening, refused: Refusal | undefined): void {
    const { client, socket, offer } = opening
    if (refused === GONE) return
    if (refused === undefined) {
      if (socket.readable && socket.writable) this.#open(opening)
      else {
        client.abandoned()
        socket.destroy()
      }
      return
    }
    const code = closeCodeOf(refused.status)
    if (code !== undefined && offer.protocols.has(REFUSED_PROTOCOL)) this.#close(opening, code, refused)
    else this.#refuse(socket, client.remote, refused)
  }

  #open({ req, socket, offer, client }: Opening): void {
    const handshake = client.handshake!
    const windows = windowsOf(offer.compression)
    handshake.protocol = protocolOf(handshake.protocol, offer.protocols)
    socket.write(switchingProtocols(req, handshake.protocol, offer), 'latin1')
    const framed = this.#deflate?.frameFor(windows.server) ?? frame
    new Endpoint(socket, client, framed, windows.client, this.#endpoints).open()
  }

  /** Refuses a client that reads the reason from a Close frame, as browsers hide the status. */
  #close({ req, socket, offer, client }: Opening, code: number, refused: Refusal): void {
    this.#arrivals.countRefusal(refused, client.remote, 'handshake')
    socket.write(switchingProtocols(req, REFUSED_PROTOCOL, offer))
    socket.write(closeFrame(code, cutReason(refused.reason ?? '')))
    linger(socket)
  }

  #refuse(socket: Duplex, remote: string, refused: Refusal): void {
    const { status, reason, headers } = refused
    this.#arrivals.countRefusal(refused, remote, 'handshake')
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
