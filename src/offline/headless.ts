import type { IncomingHttpHeaders } from 'node:http'
import type { ChannelEvent } from '../contract/filter.ts'
import type { Handshake } from '../contract/peer.ts'
import type { Refusal } from '../contract/refusal.ts'
import type { Transport } from '../contract/transport.ts'
import { refusalOf } from '../http/refusal.ts'
import type { Hub } from '../hub/hub.ts'
import { type Assembly, assemble, type Streams } from '../lifecycle/assembly.ts'
import { Consumer } from '../lifecycle/consumer.ts'
import { addStops, startFilters } from '../lifecycle/filter-setup.ts'
import type { Plan } from '../lifecycle/plan.ts'
import { Undo } from '../lifecycle/undo.ts'
import { ServerClient } from '../peer/client.ts'

/** Milliseconds that each step of a stop has. */
const STOP_TIMEOUT = 1000

/** Host of the handshakes. */
const HOST = 'test'

/** The request of a client. */
export interface HeadlessRequest {
  /** Path and query. Default: `/`. */
  readonly url?: string | undefined
  readonly headers?: IncomingHttpHeaders | undefined
  /** Subprotocols offered. */
  readonly protocols?: readonly string[] | undefined
}

/** A client of a server without a listener. */
export interface HeadlessCaller {
  /** Default: random. */
  readonly id?: string
  readonly remote: string
  readonly handshake: Handshake
  /** Frames one message; the same function for all clients. */
  readonly frame: Transport['frame']
}

/** The handshake of a client without a socket. @param url - path and query. */
export function handshakeOf(
  kind: Handshake['kind'],
  { url = '/', headers = {}, protocols = [] }: HeadlessRequest,
): Handshake {
  const base = `${kind === 'websocket' ? 'ws' : 'http'}://${HOST}`
  return {
    kind,
    request: undefined,
    // Not relative to the base, since `//x` and `/\\x` would be another host.
    url: new URL(base + url),
    headers: { host: HOST, ...lowerCased(headers) },
    protocols,
    protocol: undefined,
  }
}

function lowerCased(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
}

/** A server without a listener: the real chains, fan-out and storage, for clients without a socket. */
export class Headless {
  readonly assembly: Assembly
  readonly #consumer: Consumer
  readonly #undo: Undo

  /**
   * Opens the storage and starts the filters.
   *
   * @param signal - aborts the wait for a module that hangs.
   * @throws FwsError as `createServer`; everything that was started is stopped again.
   */
  static async start(plan: Plan, streams: Streams, signal?: AbortSignal): Promise<Headless> {
    const headless = new Headless(await assemble(plan, streams, signal))
    await headless.#start(signal)
    return headless
  }

  private constructor(assembly: Assembly) {
    const { hub, log } = assembly
    this.assembly = assembly
    this.#consumer = new Consumer(hub)
    this.#undo = new Undo(log, STOP_TIMEOUT)
    this.#undo.add('closing the storage', () => assembly.close())
    this.#undo.add('sending to other nodes', () => hub.fabric?.stop())
    this.#undo.add('appending to streams', () => hub.kept?.close())
    addStops(assembly, this.#undo)
  }

  get hub(): Hub {
    return this.assembly.hub
  }

  /** Runs the connect chain; returns the accepted client, which `open` binds to a transport, or the refusal. */
  async arrive(caller: HeadlessCaller): Promise<{ client: ServerClient } | { refused: Refusal }> {
    const { hub } = this
    const { url } = caller.handshake
    const route = hub.chains.routes.of(url.pathname + url.search)
    const client = new ServerClient(hub, { ...caller, route })
    hub.arriving.add(client)
    const outcome = await route.connect.run(client)
    hub.arriving.delete(client)
    const refused = refusalOf(client.refusal, outcome)
    if (refused === undefined) return { client }
    client.abandoned()
    return { refused }
  }

  /** Runs the consumer chain with an event. */
  async publish(event: ChannelEvent): Promise<void> {
    await this.#consumer.handle(event)
    this.hub.fanout.flush()
  }

  /** Settles when the events of channels are handled, and the entries of kept topics delivered; `undefined` if they are. */
  settled(): Promise<unknown> | undefined {
    const { kept } = this.hub
    return this.#consumer.settled()?.then(() => kept?.settled()) ?? kept?.settled()
  }

  /** Ends all clients with 1006, then stops the filters and closes the storage. */
  async stop(): Promise<void> {
    for (const client of [...this.hub.clients.values()]) client.terminate()
    await this.hub.empty()
    await this.#undo.run()
  }

  async #start(signal: AbortSignal | undefined): Promise<void> {
    const { hub, filters, options, storage } = this.assembly
    try {
      hub.kept?.start()
      await hub.fabric?.start()
      await startFilters(filters, hub, options['filter-timeout'] * 1000, signal)
      this.#undo.add('ending subscriptions', () => this.#consumer.stop())
      if (storage.bus !== undefined) await this.#consumer.subscribe(storage.bus, storage.channels ?? [])
    } catch (error) {
      await this.#undo.run()
      throw error
    }
    this.assembly.state = 'listening'
  }
}
