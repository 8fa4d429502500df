import type { Awaitable, Client, ClientState, Drop, Payload } from 'filtered-websocket'
import { Limiter } from 'filtered-websocket/kit'
import type { Calls } from './calls.ts'
import type { Codecs } from './codecs.ts'
import { type Envelope, type Request, readRequest, resultOf } from './envelope.ts'
import { raised, unauthenticated, unauthorized, unknownSystem, unserializable } from './errors.ts'
import { Fatal } from './fatal.ts'
import type { Generation, Reader } from './generation.ts'
import type { Hello } from './hello.ts'
import { ALL, hears, listenersOf } from './publisher.ts'
import { Replies } from './replies.ts'
import { weightOf } from './weight.ts'

/** Ends a chain; the core has it registered under this name. */
const DROP = Symbol.for('filtered-websocket.drop') as Drop

/** WebSocket close code. */
const POLICY_VIOLATION = 1008
const MAX_FAILURES = 5
/** Milliseconds that a call waits for earlier calls of its client to end. */
const MAX_WAIT = 10_000

/** What all sessions of a server share. */
export interface Service {
  /** By the kind of frame that a client sends first. */
  readonly generations: { readonly text: Generation; readonly binary: Generation }
  readonly codecs: Codecs
  readonly hello: Hello
  readonly calls: Calls
  readonly limits: {
    /** Bytes of a message, before the hello; after it, what its calls under way and their answers take. */
    readonly hello: number
    readonly message: number
    /** Calls of one client that may be under way. */
    readonly pending: number
    /** Bytes that may wait for one client. */
    readonly buffered: number
    /** Milliseconds after which an unfinished message has to go on. */
    readonly pause: number
  }
  /** A client has said a good hello, and was told so. */
  onReady(client: Client): Awaitable<void>
  /** What should not have failed. */
  onError(error: unknown): void
}

/** One client, from its first frame to its last (wslink, section 2.3). */
export class Session {
  readonly client: Client
  /** It has said a good hello. */
  isReady = false
  isClosed = false
  /** The interest of each topic that it has subscribed to; `undefined`: it has never subscribed, and gets all that it may. */
  #interests: Map<string, unknown> | undefined
  readonly #service: Service
  readonly #replies: Replies
  readonly #limiter: Limiter
  #generation: Generation | undefined
  #reader: Reader | undefined
  #failures = 0
  /** Bytes received since its last call. */
  #received = 0
  /** Its next message is read when this has ended. */
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
      const taken = this.#take(request)
      return taken instanceof Promise ? this.#during(taken) : taken
    } catch (error) {
      if (error instanceof Fatal) return this.client.disconnect(error.code, error.message)
      throw error
    }
  }

  /** Sends a reply to its client; one that cannot be serialised becomes an error. */
  reply(reply: Envelope, method: string): Promise<void> | undefined {
    const generation = this.#generation!
    let encoded: ReturnType<Generation['write']>
    try {
      encoded = generation.write(reply)
    } catch {
      encoded = generation.write(unserializable(reply.id, method))
    }
    return this.#replies.send(encoded)
  }

  room(): Promise<void> {
    return this.#replies.room()
  }

  get interests(): ReadonlyMap<string, unknown> | undefined {
    return this.#interests
  }

  /** @throws FwsError `ERR_FORBIDDEN`, and changes nothing. */
  listen(topic: string, interest: unknown): void {
    this.client.join(listenersOf(topic))
    this.#interests ??= new Map()
    this.#interests.set(topic, interest)
    this.client.leave(ALL)
    this.#chooseCodec()
  }

  /** Ends one subscription. */
  ignore(topic: string): void {
    if (this.#interests?.delete(topic) !== true) return
    this.client.leave(listenersOf(topic))
    this.#chooseCodec()
  }

  /** As before its first subscription. */
  listenToAll(): void {
    this.#interests = undefined
    if (this.client.may('join', ALL)) this.client.join(ALL)
    this.#chooseCodec()
  }

  /** Its rights have changed, and it has left the topics that it may no longer join. */
  rechecked(): void {
    if (!this.isReady) return
    const { topics } = this.client
    for (const topic of this.#interests?.keys() ?? [])
      if (!topics.has(listenersOf(topic))) this.#interests?.delete(topic)
    if (this.#interests === undefined) this.listenToAll()
    else this.#chooseCodec()
  }

  /** Its codec follows from the topics that it gets. */
  #chooseCodec(): void {
    this.client.codec = this.#service.codecs.of(this.#generation!, topic => hears(this.client, topic))
  }

  /** Ends it if it has begun a message and does not go on. */
  check(now: number): void {
    const since = this.#reader?.since
    const { pause } = this.#service.limits
    if (!this.#isBusy && since !== undefined && now - since > pause)
      this.client.disconnect(POLICY_VIOLATION, `a message has not gone on for ${pause / 1000} s`)
  }

  close(): void {
    this.isClosed = true
    // Calls may be under way for long, and keep the session.
    this.#reader = undefined
    this.#replies.close()
  }

  /** Its first frame tells what it speaks. */
  #read(payload: Payload): unknown {
    const { generations, limits } = this.#service
    this.#generation ??= typeof payload === 'string' ? generations.text : generations.binary
    this.#reader ??= this.#generation.reader(limits.hello)
    this.#received += Buffer.byteLength(payload)
    return this.#reader.read(payload, performance.now())
  }

  #take(request: Request): Drop | Promise<Drop> {
    const { id, method } = request
    if (/^system(:|$)/.test(id)) {
      if (method === 'wslink.hello') return this.#greet(request)
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

  #greet({ id, args }: Request): Drop | Promise<Drop> {
    const accepted = this.#service.hello.check(args, this.client)
    if (typeof accepted === 'boolean') return this.#greeted(id, accepted)
    return Promise.resolve(accepted).then(late => this.#greeted(id, late))
  }

  /** A later token. What the client sends next waits for it, so it is handled with the new rights. */
  async #renew({ id, method, args }: Request, renew: NonNullable<ClientState['renewToken']>): Promise<Drop> {
    const [token] = args
    const renewal = await renew(typeof token === 'string' ? token : '', this.client)
    if (typeof renewal === 'symbol') return renewal
    if (renewal.auth === 'ok') await this.reply(resultOf(id, renewal), method)
    else await this.reply(raised(id, method, new Error(`token refused: ${renewal.reason}`), false), method)
    return DROP
  }

  #greeted(id: string, isAccepted: boolean): Drop | Promise<Drop> {
    // A hook that took longer than filters may: its client has left, and everybody was told.
    if (this.isClosed) return DROP
    if (!isAccepted) {
      this.#answer(unauthenticated(id))
      return ++this.#failures < MAX_FAILURES
        ? DROP
        : this.client.disconnect(POLICY_VIOLATION, `${MAX_FAILURES} hellos were not accepted`)
    }
    // Official clients wait for ever for an answer to an id with a hyphen.
    const clientID = `c${this.client.id.replaceAll('-', '')}`
    this.#answer(resultOf(id, { clientID, ...this.#generation!.welcome }))
    if (this.isReady) return DROP
    this.#admit()
    const told = this.#service.onReady(this.client)
    return told === undefined ? DROP : Promise.resolve(told).then(() => DROP)
  }

  #admit(): void {
    const { client } = this
    this.isReady = true
    this.#reader!.admit(this.#service.limits.message)
    this.listenToAll()
    client.admit()
  }

  #call(request: Request): Drop | Promise<Drop> {
    const bytes = this.#received + weightOf(request)
    this.#received = 0
    return this.#limiter.isFull ? this.#runLater(request, bytes) : this.#run(request, bytes)
  }

  async #runLater(request: Request, bytes: number): Promise<Drop> {
    const { id, method } = request
    try {
      await this.#limiter.enter(bytes, AbortSignal.timeout(MAX_WAIT))
    } catch {
      const busy = new Error('too many calls of this client are under way, try later')
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

  /** While it is on hold, and ahead of all that waits. */
  #answer(reply: Envelope): void {
    const { codecs } = this.#service
    codecs.hand(this.#generation!.write(reply), (payload, format) => this.client.answer(payload, format))
  }

  async #during(work: Promise<Drop>): Promise<Drop> {
    this.#isBusy = true
    try {
      return await work
    } finally {
      this.#isBusy = false
      this.#reader?.touch(performance.now())
    }
  }
}
