import type { Awaitable, Client, ClientState, Drop, Payload } from 'filtered-websocket'
import { Limiter } from 'filtered-websocket/kit'
import type { Authenticator } from './authenticator.ts'
import type { Calls } from './calls.ts'
import type { Codecs } from './codecs.ts'
import { type Envelope, type Request, readRequest, resultOf } from './envelope.ts'
import { raised, unauthenticated, unauthorized, unknownSystem, unserializable } from './errors.ts'
import { memoryOf } from './memory.ts'
import type { Protocol, Reader } from './protocol.ts'
import { ProtocolError } from './protocol-error.ts'
import { ALL, coreTopicOf, receives } from './publisher.ts'
import { Replies } from './replies.ts'

/** The core's `DROP`, from the global symbol registry. */
const DROP = Symbol.for('filtered-websocket.drop') as Drop

/** WebSocket close code. */
const POLICY_VIOLATION = 1008
const MAX_FAILURES = 5
/** Milliseconds that a call waits for earlier calls of its client. */
const MAX_WAIT = 10_000

/** State shared by the sessions of a server. */
export interface Service {
  /** By the type of the first frame of a client. */
  readonly protocols: { readonly text: Protocol; readonly binary: Protocol }
  readonly codecs: Codecs
  readonly authenticator: Authenticator
  readonly calls: Calls
  readonly limits: {
    /** Maximum bytes of a message before authentication. */
    readonly hello: number
    /** Maximum bytes of a message after it, and of the running calls with their queued replies. */
    readonly message: number
    /** Concurrent calls of a client. */
    readonly pending: number
    /** Bytes that may be queued for a client. */
    readonly buffered: number
    /** Milliseconds for which an unfinished message may be idle. */
    readonly idle: number
  }
  /** Called after a client was authenticated and got its reply. */
  onReady(client: Client): Awaitable<void>
  /** Called with unexpected errors. */
  onError(error: unknown): void
}

/** The connection of a client (wslink, section 2.3). */
export class Session {
  readonly client: Client
  /** Whether it is authenticated. */
  isReady = false
  isClosed = false
  /** Interest by subscribed topic; `undefined` before the first subscription, when the client gets all permitted topics. */
  #interests: Map<string, unknown> | undefined
  readonly #service: Service
  readonly #replies: Replies
  readonly #limiter: Limiter
  #protocol: Protocol | undefined
  #reader: Reader | undefined
  #failures = 0
  /** Bytes received since the last call. */
  #received = 0
  /** Whether the next message waits for the current one. */
  #isBusy = false

  constructor(client: Client, service: Service) {
    this.client = client
    this.#service = service
    this.#limiter = new Limiter({ max: service.limits.pending, maxWeight: service.limits.message })
    this.#replies = new Replies(client, service.codecs, this.#limiter, service.limits.buffered)
  }

  message(payload: Payload): Drop | Promise<Drop> {
    try {
      const read = this.#read(payload)
      const request = readRequest(read)
      if (request === undefined) return DROP
      const outcome = this.#handle(request)
      return outcome instanceof Promise ? this.#untilDone(outcome) : outcome
    } catch (error) {
      if (error instanceof ProtocolError) return this.client.disconnect(error.code, error.message)
      throw error
    }
  }

  /** Sends a reply; if it cannot be serialized, an error instead. */
  reply(reply: Envelope, method: string): Promise<void> | undefined {
    const protocol = this.#protocol!
    let encoded: ReturnType<Protocol['write']>
    try {
      encoded = protocol.write(reply)
    } catch {
      encoded = protocol.write(unserializable(reply.id, method))
    }
    return this.#replies.send(encoded)
  }

  room(): Promise<void> {
    return this.#replies.room()
  }

  get interests(): ReadonlyMap<string, unknown> | undefined {
    return this.#interests
  }

  /** @throws FwsError `ERR_FORBIDDEN` without changes. */
  subscribe(topic: string, interest: unknown): void {
    this.client.join(coreTopicOf(topic))
    this.#interests ??= new Map()
    this.#interests.set(topic, interest)
    this.client.leave(ALL)
    this.#chooseCodec()
  }

  unsubscribe(topic: string): void {
    if (this.#interests?.delete(topic) !== true) return
    this.client.leave(coreTopicOf(topic))
    this.#chooseCodec()
  }

  /** Restores the state before the first subscription. */
  subscribeAll(): void {
    this.#interests = undefined
    if (this.client.may('join', ALL)) this.client.join(ALL)
    this.#chooseCodec()
  }

  /** Called after its rights have changed, and it has left the topics that it may no longer join. */
  rechecked(): void {
    if (!this.isReady) return
    const { topics } = this.client
    for (const topic of this.#interests?.keys() ?? [])
      if (!topics.has(coreTopicOf(topic))) this.#interests?.delete(topic)
    if (this.#interests === undefined) this.subscribeAll()
    else this.#chooseCodec()
  }

  /** Sets the codec for the topics that it gets. */
  #chooseCodec(): void {
    this.client.codec = this.#service.codecs.of(this.#protocol!, topic => receives(this.client, topic))
  }

  /** Disconnects the client if an unfinished message is idle for too long. */
  check(now: number): void {
    const since = this.#reader?.since
    const { idle } = this.#service.limits
    if (!this.#isBusy && since !== undefined && now - since > idle)
      this.client.disconnect(POLICY_VIOLATION, `a message is unfinished and idle for ${idle / 1000} s`)
  }

  close(): void {
    this.isClosed = true
    // Running calls may keep the session alive for long.
    this.#reader = undefined
    this.#replies.close()
  }

  /** Decodes a frame; the first one determines the protocol version. */
  #read(payload: Payload): unknown {
    const { protocols, limits } = this.#service
    this.#protocol ??= typeof payload === 'string' ? protocols.text : protocols.binary
    this.#reader ??= this.#protocol.reader(limits.hello)
    this.#received += Buffer.byteLength(payload)
    return this.#reader.read(payload, performance.now())
  }

  #handle(request: Request): Drop | Promise<Drop> {
    const { id, method } = request
    if (/^system(:|$)/.test(id)) {
      if (method === 'wslink.hello') return this.#authenticate(request)
      this.#answer(unknownSystem(id))
    } else if (this.isReady) {
      const { renewToken } = this.client.state
      return method === 'wslink.renew' && renewToken !== undefined
        ? this.#renew(request, renewToken)
        : this.#call(request)
    } else {
      this.#answer(unauthorized(id))
    }
    return DROP
  }

  #authenticate({ id, args }: Request): Drop | Promise<Drop> {
    const accepted = this.#service.authenticator.check(args, this.client)
    if (typeof accepted === 'boolean') return this.#authenticated(id, accepted)
    return Promise.resolve(accepted).then(isAccepted => this.#authenticated(id, isAccepted))
  }

  /** Renews the token. Later messages of the client wait, so they run with the new rights. */
  async #renew({ id, method, args }: Request, renew: NonNullable<ClientState['renewToken']>): Promise<Drop> {
    const [token] = args
    const renewal = await renew(typeof token === 'string' ? token : '', this.client)
    if (typeof renewal === 'symbol') return renewal
    if (renewal.auth === 'ok') await this.reply(resultOf(id, renewal), method)
    else await this.reply(raised(id, method, new Error(`token refused: ${renewal.reason}`), false), method)
    return DROP
  }

  #authenticated(id: string, isAccepted: boolean): Drop | Promise<Drop> {
    // A hook exceeded --filter-timeout, and the client has been closed.
    if (this.isClosed) return DROP
    if (!isAccepted) {
      this.#answer(unauthenticated(id))
      return ++this.#failures < MAX_FAILURES
        ? DROP
        : this.client.disconnect(POLICY_VIOLATION, `${MAX_FAILURES} failed authentications`)
    }
    // Official clients never accept a reply to an id with a hyphen.
    const clientID = `c${this.client.id.replaceAll('-', '')}`
    this.#answer(resultOf(id, { clientID, ...this.#protocol!.welcome }))
    if (this.isReady) return DROP
    this.#admit()
    const pending = this.#service.onReady(this.client)
    return pending === undefined ? DROP : Promise.resolve(pending).then(() => DROP)
  }

  #admit(): void {
    const { client } = this
    this.isReady = true
    this.#reader!.admit(this.#service.limits.message)
    this.subscribeAll()
    client.admit()
  }

  #call(request: Request): Drop | Promise<Drop> {
    const bytes = this.#received + memoryOf(request)
    this.#received = 0
    return this.#limiter.isFull ? this.#runLater(request, bytes) : this.#run(request, bytes)
  }

  async #runLater(request: Request, bytes: number): Promise<Drop> {
    const { id, method } = request
    try {
      await this.#limiter.enter(bytes, AbortSignal.timeout(MAX_WAIT))
    } catch {
      const busy = new Error('too many running calls of this client, try later')
      if (!this.isClosed) this.reply(raised(id, method, busy, false), method)
      return DROP
    }
    try {
      return this.isClosed ? DROP : this.#run(request, bytes)
    } finally {
      this.#limiter.free(bytes)
    }
  }

  #run(request: Request, bytes: number): Drop {
    const pending = this.#service.calls.run(request, this)
    if (pending !== undefined) {
      this.#limiter.take(bytes)
      pending.catch(this.#service.onError).finally(() => this.#limiter.free(bytes))
    }
    return DROP
  }

  /** Replies to a pending client, ahead of queued messages. */
  #answer(reply: Envelope): void {
    const { codecs } = this.#service
    codecs.sendEncoded(this.#protocol!.write(reply), (payload, format) => this.client.answer(payload, format))
  }

  async #untilDone(outcome: Promise<Drop>): Promise<Drop> {
    this.#isBusy = true
    try {
      return await outcome
    } finally {
      this.#isBusy = false
      this.#reader?.touch(performance.now())
    }
  }
}
