import type { MessageViews } from '../contract/client.ts'
import { messageOf } from '../contract/errors.ts'
import type { Handshake } from '../contract/peer.ts'
import type { RecordedEvent } from '../kit/recorded-event.ts'
import type { ServerClient } from '../peer/client.ts'
import { type Headless, handshakeOf } from './headless.ts'
import { frame, OfflineClient } from './offline-client.ts'

/** A client that the server has refused or closed. */
const GONE = Symbol('gone')
const KINDS: readonly unknown[] = ['websocket', 'stream', 'request'] satisfies Handshake['kind'][]
const TRY_LATER = 503
/** Turns of the event loop without output after which work that handlers have left behind is taken as done, and all turns of a line. */
const QUIET_TURNS = 3
const MAX_TURNS = 100

/** Plays events on the chains of a server without a listener, one after the other. */
export class Player {
  /** Events of clients that the server had refused or closed before. */
  ignored = 0
  readonly #headless: Headless
  readonly #maxPayload: number
  readonly #emit: (line: string) => void
  /** Output of the event that is played, and the names of the clients that get it. */
  readonly #output: string[] = []
  readonly #names: (string | undefined)[] = []
  #isPlaying = false
  /** By name, the number of clients that had appeared before, until the input disconnects the client. */
  readonly #orders = new Map<string, number>()
  #appeared = 0
  /** Clients by the name that the input gives them, in order of appearance. */
  readonly #clients = new Map<string, OfflineClient | typeof GONE>()
  /** Clients that the server has closed, until their disconnect chains have ended. */
  #leaving: ServerClient[] = []
  readonly #onClose = (client: ServerClient) => {
    this.#clients.set(client.id, GONE)
    this.#leaving.push(client)
  }

  /** @param emit - receives each output line, with its line end. */
  constructor(headless: Headless, emit: (line: string) => void) {
    this.#headless = headless
    this.#maxPayload = headless.assembly.options['max-payload']
    this.#emit = emit
  }

  /**
   * Prints a line, with those of the same event in the order in which the clients have appeared: their order is not certain otherwise.
   *
   * @param name - of a client. Default: the line comes first.
   */
  print(line: string, name?: string): void {
    if (this.#isPlaying) {
      this.#output.push(line)
      this.#names.push(name)
    } else this.#emit(line)
  }

  /**
   * Plays an event, unless its payload is not recorded, until all handlers have finished and all that they have sent is delivered.
   *
   * @returns a promise unless that is at once.
   * @throws (also rejects) SyntaxError: the event cannot be played.
   */
  play(event: RecordedEvent): Promise<void> | undefined {
    this.#isPlaying = true
    let played: Promise<void> | undefined
    try {
      played = this.#begin(event)
    } catch (error) {
      this.#end()
      throw error
    }
    if (played === undefined) this.#end()
    return played?.finally(() => this.#end())
  }

  #begin(event: RecordedEvent): Promise<void> | undefined {
    if (event.redacted === true) return undefined
    switch (event.event) {
      case 'message': {
        const found = this.#clients.get(event.client!)
        if (found === undefined || (found !== GONE && !found.isOpen)) return this.#open(event)
        return this.#message(found, event)
      }
      case 'connect':
        return event.kind === 'request' ? undefined : this.#connect(event)
      case 'open':
        return this.#open(event)
      case 'disconnect':
        return this.#disconnect(event)
      case 'consumer':
        return this.#publish(event)
      case 'publish':
        // A client publishes by a message.
        return event.client === undefined ? this.#publishTo(event) : undefined
      case 'request':
        return undefined
    }
  }

  /** Disconnects all clients with 1000, in order of appearance. */
  async end(): Promise<void> {
    for (const client of this.#clients.keys()) await this.play({ event: 'disconnect', client })
  }

  #end(): void {
    this.#isPlaying = false
    const output = this.#output
    if (output.length === 1) this.#emit(output[0]!)
    else if (output.length > 1) {
      const orders = this.#names.map(name => (name === undefined ? -1 : (this.#orders.get(name) ?? -1)))
      const sorted = [...output.keys()].sort((one, other) => orders[one]! - orders[other]!)
      for (const index of sorted) this.#emit(output[index]!)
    }
    output.length = 0
    this.#names.length = 0
  }

  #message(found: OfflineClient | typeof GONE, { payload = '', at }: RecordedEvent): Promise<void> | undefined {
    if (found === GONE) {
      this.ignored++
      return undefined
    }
    const bytes = Buffer.byteLength(payload)
    if (bytes > this.#maxPayload)
      throw new SyntaxError(`the payload has ${bytes} bytes, --max-payload is ${this.#maxPayload}`)
    const { client } = found
    client.receive(payload, bytes, at === undefined ? undefined : ({ at } as MessageViews))
    return this.#finish(client)
  }

  /** Runs the connect chain. */
  async #connect(event: RecordedEvent): Promise<void> {
    if (this.#isPresent(event.client!)) throw new SyntaxError(`client ${event.client} is connected already`)
    const found = await this.#arrive(event)
    if (found !== GONE) found.client.accept()
    await this.#finish()
  }

  /** Runs the open chain, after the connect chain of a client that has not connected. */
  async #open(event: RecordedEvent): Promise<void> {
    const name = event.client!
    let found = this.#clients.get(name)
    if (event.event === 'open' && found === GONE) found = undefined
    if (event.event === 'open' && this.#isOpen(name)) throw new SyntaxError(`client ${name} is open already`)
    found ??= await this.#arrive(event)
    if (found !== GONE && !found.isOpen) {
      const { client } = found
      if (event.identity !== undefined) client.identity ??= event.identity
      found.isOpen = true
      client.open(found)
      await this.#finish(client)
      found = this.#clients.get(name)!
    }
    if (event.event === 'message') await this.#message(found, event)
  }

  async #arrive(event: RecordedEvent): Promise<OfflineClient | typeof GONE> {
    const { client: id = '', remote = '127.0.0.1', kind = 'websocket', identity } = event
    const { hub } = this.#headless
    if (!this.#orders.has(id)) this.#orders.set(id, this.#appeared++)
    if (!KINDS.includes(kind)) throw new SyntaxError(`"kind" is one of ${KINDS.join(', ')}, received ${kind}`)
    const arrived = hub.isFull
      ? { refused: { status: TRY_LATER } }
      : await this.#headless.arrive({ id, remote, handshake: handshakeOf(kind as Handshake['kind'], event), frame })
    if ('refused' in arrived) {
      this.print(`${JSON.stringify({ client: id, refused: arrived.refused.status })}\n`, id)
      this.#clients.set(id, GONE)
      return GONE
    }
    const { client } = arrived
    if (identity !== undefined) client.identity ??= identity
    const found = new OfflineClient(client, line => this.print(line, id), this.#onClose)
    this.#clients.set(id, found)
    return found
  }

  async #disconnect({ client: name = '', code = 1000, reason = '' }: RecordedEvent): Promise<void> {
    const found = this.#clients.get(name)
    this.#clients.delete(name)
    if (found !== undefined && found !== GONE) {
      const { client } = found
      if (found.isOpen) {
        found.end(code, reason)
        this.#leaving.push(client)
      } else client.abandoned()
      await this.#finish(client)
    }
    this.#orders.delete(name)
  }

  async #publish({ channel = '', payload = '' }: RecordedEvent): Promise<void> {
    await this.#headless.publish({ channel, payload })
    await this.#finish()
  }

  async #publishTo({ topic = '', payload = '' }: RecordedEvent): Promise<void> {
    try {
      await this.#headless.hub.publishTo(topic, payload)
    } catch (error) {
      throw new SyntaxError(messageOf(error))
    }
    await this.#finish()
  }

  #isPresent(name: string): boolean {
    const found = this.#clients.get(name)
    return found !== undefined && found !== GONE
  }

  #isOpen(name: string): boolean {
    const found = this.#clients.get(name)
    return found !== undefined && found !== GONE && found.isOpen
  }

  /** Delivers all messages, at once if no handler of the client waits. */
  #finish(client?: ServerClient): Promise<void> | undefined {
    const { hub } = this.#headless
    // Work on a kept topic goes on after the handler.
    if (client?.isIdle === false || hub.kept !== undefined || this.#headless.settled() !== undefined)
      return this.#settle(client)
    hub.fanout.flush()
    return this.#leaving.length === 0 ? undefined : this.#settle(client)
  }

  async #settle(client: ServerClient | undefined): Promise<void> {
    const { hub } = this.#headless
    if (client?.isIdle === false) await new Promise<void>(resolve => client.whenIdle(resolve))
    for (const leaving of this.#leaving.splice(0)) while (hub.isLeaving(leaving)) await new Promise(setImmediate)
    let quiet = 0
    for (let turn = 0; quiet < QUIET_TURNS && turn < MAX_TURNS; turn++) {
      const before = this.#output.length
      await new Promise(setImmediate)
      await this.#headless.settled()
      hub.fanout.flush()
      quiet = this.#output.length === before ? quiet + 1 : 0
    }
  }
}
