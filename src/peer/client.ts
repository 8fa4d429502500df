import { randomUUID } from 'node:crypto'
import type { Logger } from 'pino'
import { FAILED, type Subject } from '../chain/chain.ts'
import type { Chains } from '../chain/chains.ts'
import { logError } from '../chain/report.ts'
import type { Route } from '../chain/routes.ts'
import type {
  Access,
  Client,
  ClientState,
  Message,
  MessageViews,
  PublishOptions,
  Removal,
  Server,
  TrustedSource,
} from '../contract/client.ts'
import { checkCloseCode, closeLabel, cutReason } from '../contract/close.ts'
import type { Codec } from '../contract/codec.ts'
import { type Awaitable, isPromise } from '../contract/deadline.ts'
import { DROP, type Drop } from '../contract/drop.ts'
import { FwsError, shown } from '../contract/errors.ts'
import { checkFormat, checkPayload, jsonOf, type Payload } from '../contract/payload.ts'
import type { Closed, Handshake } from '../contract/peer.ts'
import { checkRefusal, type Refusal } from '../contract/refusal.ts'
import {
  EVERYONE,
  type Joined,
  type JoinOptions,
  type Loss,
  type LossReason,
  type Position,
  type StreamEntry,
} from '../contract/streams.ts'
import type { Transport } from '../contract/transport.ts'
import { compact } from '../fanout/block.ts'
import { count } from '../fanout/counters.ts'
import type { Fanout } from '../fanout/fanout.ts'
import { Outbox, type OutboxOwner, type SendLimits } from '../fanout/outbox.ts'
import type { Pieces } from '../fanout/pieces.ts'
import type { Member } from '../fanout/topic.ts'
import { type Frame, NOTICE, plain, type Wires } from '../fanout/wire.ts'
import { flat } from '../kit/flat.ts'
import type { KeptTopics } from '../streams/kept-topics.ts'
import type { Recoveries } from '../streams/recoveries.ts'
import { ActingServer, SourceServer } from './acting-server.ts'
import { checkAfter, type JoiningClient, Joins } from './joins.ts'
import { type InboundLimits, Mailbox, type MailboxOwner } from './mailbox.ts'
import { NO_FILTER, Pending } from './pending.ts'

/** Beyond the last filter: its messages reach all of them. */
const EVERY_FILTER = 0x3fff_ffff
const NO_TOPICS: ReadonlySet<string> = new Set()

export interface Limits extends SendLimits, InboundLimits {
  readonly maxClients: number
  /** Milliseconds that a client may be pending; 0: no limit. */
  readonly holdTimeout: number
}

/** The server that a client is part of, as far as the client needs it. */
export interface ClientHost extends Server {
  readonly chains: Chains
  readonly limits: Limits
  readonly log: Logger
  readonly fanout: Fanout
  readonly wires: Wires
  /** Clients that are not open yet. */
  readonly arriving: Set<ServerClient>
  opened(client: ServerClient): void
  joinAll(client: ServerClient): void
  leaveAll(client: ServerClient): void
  /** Of a kept topic it becomes a member later, through `joinerOf`. */
  joinTopic(client: ServerClient, topic: string): void
  addMember(client: ServerClient, topic: string): void
  /** `undefined` if no topics are kept. */
  readonly kept: KeptTopics | undefined
  readonly recoveries: Recoveries
  publishFor(
    from: ServerClient,
    topic: string,
    payload: Payload,
    how: PublishOptions,
  ): Promise<Position | Drop | undefined>
  leaveTopic(client: ServerClient, topic: string): void
  transportFailed(error: unknown, client: Client): void
  /** The connection has ended. @param label - under which it is counted. */
  closed(client: ServerClient, label: number | string): void
  /** All its messages have been handled. */
  disconnected(client: ServerClient, closed: Closed): void
  /** Whether its disconnect chain has still to end. */
  isLeaving(client: ServerClient): boolean
}

/** A client before it is open. */
export interface Arrival {
  readonly id?: string | undefined
  readonly remote: string
  readonly handshake?: RequestHandshake
  /** The chains of its path. Default: those of paths without a claim. */
  readonly route?: Route
  /** Framing until the handshake negotiates another one. */
  readonly frame: Transport['frame']
  /** Set for a source that the operator controls. */
  readonly source?: TrustedSource | undefined
}

/** A handshake that keeps its request, 1 KiB of memory, until the client is open. */
type RequestHandshake = Handshake & { releaseRequest?(): void }

interface Ending {
  readonly code: number
  readonly reason: string
}

/**
 * Where a client is in its life. `arriving`: its open chain has not begun. `accepted`: nor has it a transport, but its request has
 * passed the connect chain. `closing`: this side has ended it, or the peer has sent a Close frame. `gone`: its transport has ended.
 */
type Stage = 'arriving' | 'accepted' | 'open' | 'closing' | 'gone'

/** A message that its transport has decoded already. */
class Viewed {
  readonly payload: Payload
  readonly views: MessageViews

  constructor(payload: Payload, views: MessageViews) {
    this.payload = payload
    this.views = views
  }
}

type Received = Payload | Viewed

/** The one implementation of Client, over any transport. */
export class ServerClient implements Client, Subject, MailboxOwner<Received>, OutboxOwner, JoiningClient {
  readonly id: string
  readonly remote: string
  readonly handshake: RequestHandshake | undefined
  readonly outbox: Member
  /** Set by `refuse`, or by a `disconnect` before the handshake was answered. */
  refusal: Refusal | undefined
  position = NO_FILTER
  waiting = false
  #state: ClientState | undefined
  #identity: string | undefined
  readonly hub: ClientHost
  /** Its chains. */
  readonly route: Route
  readonly #source: TrustedSource | undefined
  #server: Server | undefined
  #frame: Transport['frame']
  readonly #uncompressed: Transport['frame']
  #transport: Transport | undefined
  #codec: Codec = plain
  #topics: Set<string> | undefined
  /** Kept topics of which it is no member yet. */
  #joins: Joins | undefined
  #abort: AbortController | undefined
  #stage: Stage = 'arriving'
  /** Set while it is pending. */
  #pending: Pending | undefined
  /** How this side ended the connection, if it did. */
  #ending: Ending | undefined
  /** Its socket is not read any more: it handles the messages that it has, then closes. */
  #isRetiring = false
  #finishing: (() => Awaitable<void>)[] | undefined
  #goneHandlers: (() => void)[] | undefined
  #admittedHandlers: (() => void)[] | undefined
  #identityHandlers: ((client: Client) => Awaitable<void>)[] | undefined
  #removalHandlers: ((topic: string, why: Removal) => void)[] | undefined
  /** Created for the first message that has to wait. */
  #mailbox: Mailbox<Received> | undefined
  /** A message is in the chain, and there is no mailbox yet. */
  #isHandling = false

  constructor(
    hub: ClientHost,
    { id = flat(randomUUID()), remote, handshake, route = hub.chains.routes.unclaimed, frame, source }: Arrival,
  ) {
    this.id = id
    this.remote = remote
    this.handshake = handshake
    this.hub = hub
    this.route = route
    this.#source = source
    this.#frame = frame
    this.#uncompressed = frame
    this.outbox = new Outbox(hub.wires.of(plain, frame), hub.limits, hub.counters, this)
  }

  get state(): ClientState {
    this.#state ??= {}
    return this.#state
  }

  get transport(): string {
    return this.#transport?.name ?? ((this.handshake?.kind ?? 'websocket') === 'websocket' ? 'websocket' : 'http')
  }

  get server(): Server {
    this.#server ??= this.#serverFor()
    return this.#server
  }

  /** Once this side has ended it, even the message in the chain goes no further. */
  get reach(): number {
    return this.#ending === undefined ? (this.#pending?.reach ?? EVERY_FILTER) : NO_FILTER
  }

  get identity(): string | undefined {
    return this.#identity
  }

  set identity(identity: string | undefined) {
    if (identity !== undefined && (typeof identity !== 'string' || identity === ''))
      throw new FwsError('ERR_STATE', `an identity is a string or undefined, received ${shown(identity)}`)
    this.#identity = identity
  }

  get topics(): ReadonlySet<string> {
    return this.#topics ?? NO_TOPICS
  }

  get buffered(): number {
    return this.outbox.unsent + (this.#pending?.bytes ?? 0)
  }

  get signal(): AbortSignal {
    this.#abort ??= new AbortController()
    if (this.#stage === 'gone') this.#abort.abort()
    return this.#abort.signal
  }

  get codec(): Codec {
    return this.#codec
  }

  set codec(codec: Codec) {
    this.#codec = codec
    // Numbered messages are not compressed: the compressed bytes could not be shared.
    const frame = codec.numbered === true ? this.#uncompressed : this.#frame
    this.hub.fanout.changeWire(this.outbox, this.hub.wires.of(codec, frame))
  }

  /** Order of the filter behind which its chains begin; -1: at the first. */
  get after(): number {
    return this.#source?.after ?? -1
  }

  /** Whether it has a transport, whose end leads to `closed`. */
  get isBound(): boolean {
    return this.#transport !== undefined
  }

  /** Its request has passed the connect chain, and it has no transport. */
  get isAccepted(): boolean {
    return this.#stage === 'accepted' && this.#transport === undefined
  }

  /** Open, and neither side has begun to close it. */
  get isOpen(): boolean {
    return this.#stage === 'open'
  }

  /** Whether it takes part in broadcasts and topics. */
  get isAdmitted(): boolean {
    return this.isOpen && this.#pending === undefined
  }

  send(payload: Payload, format?: string): void {
    checkPayload('send', payload)
    checkFormat(format)
    if (this.#isPlainlyOpen) this.hub.fanout.sendPayload(this.outbox, payload, format)
    else this.sendEncoded(this.#openable('send').outbox.wire.encode(payload, format))
  }

  sendJson(value: unknown, format?: string): void {
    this.send(jsonOf(value), format)
  }

  answer(payload: Payload, format?: string): Drop {
    checkPayload('answer', payload)
    checkFormat(format)
    if (this.#isPlainlyOpen) this.hub.fanout.sendPayload(this.outbox, payload, format)
    else this.#deliver(this.#openable('answer').outbox.wire.encode(payload, format), true)
    return DROP
  }

  /** Sends a payload that this client's wire has encoded. */
  sendEncoded(encoded: Buffer | Pieces): void {
    this.#deliver(encoded, this.#pending?.isReached(this) ?? true)
  }

  /**
   * @param whilePending - whether it may reach a client that is pending: messages of its holder and answers to its own messages
   * may. Other messages wait for the admission.
   */
  #deliver(encoded: Buffer | Pieces, whilePending: boolean): void {
    if (encoded.length === 0) return
    if (this.#isEnding) {
      count(this.hub.counters.drops, 'closed client')
      return
    }
    // A frame that waits must not keep the memory of others.
    const waits = this.#pending !== undefined || !this.outbox.isOpen
    const frame = this.outbox.wire.frameOf(waits && Buffer.isBuffer(encoded) ? compact(encoded) : encoded)
    if (this.#pending !== undefined && !whilePending) {
      this.#keep(this.#pending, frame)
    } else {
      if (!this.outbox.isOpen) this.#checkWaiting(this.outbox.bytes + frame.length)
      this.hub.fanout.send(this.outbox, frame)
    }
  }

  drop(reason = 'filter'): Drop {
    count(this.hub.counters.drops, reason)
    this.hub.log.debug({ client: this.id, reason }, 'message dropped')
    return DROP
  }

  refuse(status: number, reason?: string, headers?: Readonly<Record<string, string>>): Drop {
    if (this.#transport !== undefined || this.#stage === 'accepted')
      throw new FwsError('ERR_STATE', 'refuse() works in connect handlers only; later use disconnect()')
    const asked = { status, reason, headers }
    checkRefusal(asked)
    this.refusal = asked
    return DROP
  }

  join(topic: string): void
  join(topic: string, how: JoinOptions): Promise<Joined>
  join(topic: string, how?: JoinOptions): Promise<Joined> | void {
    if (how !== undefined) return this.#joinAt(topic, how)
    this.#join(topic)
  }

  #join(topic: string): void {
    checkTopic(topic)
    if (this.#topics?.has(topic)) return
    if (this.#source === undefined) this.hub.chains.permits.check({ action: 'join', topic }, this)
    this.#topics ??= new Set()
    this.#topics.add(topic)
    if (this.isAdmitted) this.hub.joinTopic(this, topic)
  }

  async #joinAt(topic: string, how: JoinOptions): Promise<Joined> {
    checkAfter(how.after)
    checkTopic(topic)
    if (this.#topics?.has(topic)) throw new FwsError('ERR_STATE', `client ${this.id} is a member of the topic already`)
    if (how.after !== 'now') this.checkRead(topic)
    return this.joins.begin(topic, how, () => this.#join(topic))
  }

  get joins(): Joins {
    this.#joins ??= new Joins(this)
    return this.#joins
  }

  /** The topic is not kept. */
  joinedUnkept(topic: string): void {
    this.#joins?.joinedUnkept(topic)
  }

  get kept(): KeptTopics | undefined {
    return this.hub.kept
  }

  checkRead(topic: string): void {
    if (this.#source === undefined) this.hub.chains.permits.check({ action: 'read', topic }, this)
  }

  checkPublish(topic: string): void {
    if (this.#source === undefined)
      this.hub.chains.permits.check({ action: 'publish', topic: topic === EVERYONE ? undefined : topic }, this)
  }

  becomeMember(topic: string): void {
    this.hub.addMember(this, topic)
  }

  joinKept(topic: string): void {
    if (this.isAdmitted) this.hub.joinTopic(this, topic)
  }

  /** Of a join that has failed. */
  forgetTopic(topic: string): void {
    this.#topics?.delete(topic)
  }

  reportJoined(error: unknown): void {
    this.#report(error, 'onJoined failed')
  }

  sendLoss(about: Loss, lost: LossReason): void {
    this.sendEncoded(this.outbox.wire.encodeLoss(about, lost, this.id))
  }

  pageEnd(topic: string, entries: readonly StreamEntry[], from: number, epoch: string): number {
    const { ends } = this.hub.recoveries.of(entries, this.outbox.wire, topic, epoch)
    const limit = (ends[from - 1] ?? 0) + this.hub.limits.maxBuffered / 2
    let end = Math.min(from + 1, entries.length)
    while (end < entries.length && ends[end]! <= limit) end++
    return end
  }

  /** Sends missed entries, whose frames all clients share. */
  sendMissed(topic: string, entries: readonly StreamEntry[], from: number, to: number, epoch: string): void {
    const { wire } = this.outbox
    const { frames, ends, bytes } = this.hub.recoveries.of(entries, wire, topic, epoch)
    const isOwn = entries.some(({ except }) => except === this.id)
    if (bytes !== undefined && !wire.isNumbered && !isOwn) {
      this.sendEncoded(bytes.subarray(ends[from - 1] ?? 0, ends[to - 1] ?? 0))
      return
    }
    for (let i = from; i < to; i++) if (entries[i]!.except !== this.id) this.sendEncoded(frames[i]!)
  }

  leave(topic: string, why?: Removal): void {
    if (!this.#topics?.delete(topic)) return
    this.#joins?.cancel(topic, new FwsError('ERR_STATE', `client ${this.id} has left the topic`))
    if (this.isAdmitted) this.hub.leaveTopic(this, topic)
    if (why === undefined) return
    for (const handler of this.#removalHandlers ?? [])
      this.#contain(() => handler(topic, why), 'a filter failed when a client was removed from a topic')
  }

  onRemoved(handler: (topic: string, why: Removal) => void): void {
    if (typeof handler !== 'function')
      throw new FwsError('ERR_STATE', `onRemoved() takes a function, received ${shown(handler)}`)
    this.#removalHandlers ??= []
    this.#removalHandlers.push(handler)
  }

  async recheck(): Promise<void> {
    for (const topic of this.topics) if (!this.may('join', topic)) this.leave(topic, 'forbidden')
    for (const handler of this.#identityHandlers ?? []) await handler(this)
  }

  onIdentity(handler: (client: Client) => Awaitable<void>): void {
    if (typeof handler !== 'function')
      throw new FwsError('ERR_STATE', `onIdentity() takes a function, received ${shown(handler)}`)
    this.#identityHandlers ??= []
    this.#identityHandlers.push(handler)
  }

  onGone(handler: () => void): void {
    if (typeof handler !== 'function')
      throw new FwsError('ERR_STATE', `onGone() takes a function, received ${shown(handler)}`)
    this.#goneHandlers ??= []
    this.#goneHandlers.push(handler)
    if (this.#stage === 'gone') this.#callGone()
  }

  onAdmitted(handler: () => void): void {
    if (typeof handler !== 'function')
      throw new FwsError('ERR_STATE', `onAdmitted() takes a function, received ${shown(handler)}`)
    this.#admittedHandlers ??= []
    this.#admittedHandlers.push(handler)
    this.#callAdmitted()
  }

  publish(topic: string, payload: Payload, how: PublishOptions = {}): Promise<Position | Drop | undefined> {
    return this.hub.publishFor(this, topic, payload, how)
  }

  drained(): Promise<void> {
    this.hub.fanout.flushOne(this.outbox)
    return this.outbox.drained()
  }

  may(action: Access['action'], topic?: string): boolean {
    return this.#source !== undefined || this.hub.chains.permits.allow({ action, topic }, this)
  }

  notifyForbidden(why: string): void {
    count(this.hub.counters.drops, 'forbidden')
    this.hub.log.debug({ client: this.id, identity: this.identity }, why)
    if (this.isOpen) this.answer(`Error: ${why}`, NOTICE)
  }

  hold(): void {
    const pending = this.#openable('hold').#pending ?? new Pending()
    pending.hold(this)
    if (this.isAdmitted) {
      if (this.hub.kept !== undefined) this.joins.suspend()
      this.hub.leaveAll(this)
    }
    this.#pending = pending
    if (this.isOpen) this.#startHoldTimer()
  }

  admit(): void {
    const pending = this.#pending
    if (pending === undefined || !pending.admit(this)) return
    this.#pending = undefined
    const frames = pending.stop()
    if (this.#isEnding) return
    for (const frame of frames) this.hub.fanout.send(this.outbox, frame)
    if (!this.isOpen) return
    this.hub.joinAll(this)
    this.#callAdmitted()
  }

  finish(work: () => Awaitable<void>): void {
    this.#finishing ??= []
    this.#finishing.push(work)
  }

  close(): void {
    this.disconnect()
  }

  disconnect(code = 1000, reason = ''): Drop {
    checkCloseCode(code)
    if (this.isAccepted) {
      this.abandoned()
    } else if (this.#transport === undefined) {
      this.refusal ??= { status: 403, reason: undefined, headers: undefined }
    } else if (!this.#isEnding) {
      this.hub.fanout.flushOne(this.outbox)
      // The flush closes a client that is too slow.
      if (this.#ending === undefined) this.#end(code, reason)
    }
    return DROP
  }

  /** Handles the messages in the mailbox, then closes. */
  retire(code: number, reason: string): void {
    if (this.#isEnding) return
    this.#isRetiring = true
    this.#flow('pause')
    this.whenIdle(async () => {
      // Failed work does not keep the client open.
      if (this.#finishing !== undefined) await Promise.allSettled(this.#finishing.map(async work => work()))
      this.disconnect(code, reason)
    })
  }

  /** Ends the connection at once, without a Close frame. */
  terminate(): void {
    try {
      this.#transport?.destroy()
    } catch (error) {
      this.hub.transportFailed(error, this)
      // A transport that throws does not report its end.
      queueMicrotask(() => this.closed(1006, '', false))
      this.#transport?.socket.destroy()
    }
  }

  /** Its transport threw. The caller, which may be writing to other clients, sees no error: only this client ends. */
  transportFailed(error: unknown): void {
    this.hub.transportFailed(error, this)
    if (this.#ending === undefined) this.#finish({ code: 1006, reason: '' })
    this.terminate()
  }

  /** Its request has passed the connect chain: it gets a transport, or goes with its response. */
  accept(): void {
    this.#stage = 'accepted'
    this.hub.arriving.add(this)
  }

  /** @throws FwsError `ERR_STATE` unless it was accepted for a stream of this framing, and still is. */
  asStream({ frame }: Transport): this {
    const problem =
      this.handshake?.kind !== 'stream' || this.#transport !== undefined
        ? 'attach() takes a client that admit() returned for a stream, once'
        : !this.isAccepted
          ? `attach() of client ${this.id}, which is not connected`
          : frame !== this.#frame
            ? 'attach() takes a transport with the frame function that admit() was given'
            : undefined
    if (problem === undefined) return this
    throw new FwsError('ERR_STATE', problem)
  }

  /** It has gone before it was open. */
  abandoned(): void {
    this.#leave()
  }

  /** Starts on a transport: runs the open chain; messages wait for it. */
  open(transport: Transport): void {
    this.#transport = transport
    if (transport.frame !== this.#frame) {
      // The framing that the handshake negotiated. Frames of connect filters exist already, in the form that every peer can read.
      this.#frame = transport.frame
      this.codec = this.#codec
    }
    const opening = this.#runOpen(transport)
    if (opening !== undefined) this.#newMailbox().begin(opening)
  }

  /** The same in a microtask, so that the caller has its client before any handler runs. */
  openSoon(transport: Transport): void {
    this.#transport = transport
    this.#newMailbox().begin(Promise.resolve().then(() => this.#runOpen(transport)))
  }

  /**
   * @param bytes - size of the payload, if it is known.
   * @param views - decoded by the transport; merged into the message that filters get.
   */
  receive(payload: Payload, bytes = Buffer.byteLength(payload), views?: MessageViews): void {
    const { counters } = this.hub
    if (this.#isEnding) {
      count(counters.drops, 'closing client')
      return
    }
    counters.messages++
    counters.bytesIn += bytes
    const received = views === undefined ? payload : new Viewed(payload, views)
    if (this.#mailbox !== undefined || this.#isHandling) {
      this.#mailbox ??= this.#newMailbox()
      this.#mailbox.receive(received)
      return
    }
    this.#isHandling = true
    const pending = this.handle(received)
    this.#isHandling = false
    const mailbox = this.#mailbox as Mailbox<Received> | undefined
    if (pending !== undefined || mailbox !== undefined)
      (mailbox ?? this.#newMailbox()).begin(pending ?? Promise.resolve())
  }

  /** Whether the chain has handled all received messages. */
  get isIdle(): boolean {
    return this.#mailbox?.isIdle ?? !this.#isHandling
  }

  /** Runs `then` once the chain has handled all received messages; at once if it has. */
  whenIdle(then: () => void): void {
    if (this.#mailbox !== undefined || this.#isHandling) (this.#mailbox ?? this.#newMailbox()).whenIdle(then)
    else then()
  }

  /** The peer sends no more messages: calls `then` when those that it has sent are handled, and the answers written. */
  finishReading(then: () => void): void {
    this.#isRetiring = true
    this.whenIdle(() => {
      this.peerCloses()
      then()
    })
  }

  /** The peer has closed: writes its queue; later messages are dropped. */
  peerCloses(): void {
    if (this.#isEnding) return
    this.hub.fanout.flushOne(this.outbox)
    this.outbox.close()
    this.#stage = 'closing'
  }

  /** The transport has ended. Messages received before are still handled; then the disconnect chain runs. */
  closed(code: number, reason: string, clean: boolean): void {
    if (this.#stage === 'gone') return
    // Only a client whose open chain has begun has a disconnect chain.
    const wasOpened = this.hub.clients.get(this.id) === this
    // The last messages of a pending client reach no filter that they did not reach before: it stays pending.
    this.#pending?.stop()
    this.#leave()
    if (!wasOpened) return
    const ending = this.#ending ?? { code, reason }
    this.hub.closed(this, this.#ending?.code ?? closeLabel(code))
    this.whenIdle(() => this.hub.disconnected(this, { ...ending, clean }))
  }

  handle(received: Received): Promise<unknown> | undefined {
    const { message } = this.route
    if (message.empty) return undefined
    const payload = payloadOf(received)
    const about: Message = { payload, at: Date.now() }
    if (received instanceof Viewed) Object.assign(about, received.views)
    const outcome = message.run(payload, this, about, this.after)
    return isPromise(outcome) ? (outcome as Promise<unknown>) : undefined
  }

  sizeOf(received: Received): number {
    return Buffer.byteLength(payloadOf(received))
  }

  /** A message that waits must not keep the memory of others. */
  compacted(received: Received): Received {
    return Buffer.isBuffer(received) ? compact(received) : received
  }

  pause(): void {
    this.hub.counters.paused++
    this.#flow('pause')
  }

  resume(): void {
    if (this.#stage !== 'gone' && !this.#isRetiring) this.#flow('resume')
  }

  fellBehind(): void {
    this.hub.log.warn({ client: this.id, remote: this.remote }, 'client too slow, closing it')
    count(this.hub.counters.drops, 'slow client')
    this.#end(1013, 'too slow')
  }

  #runOpen(transport: Transport): Promise<unknown> | undefined {
    this.hub.arriving.delete(this)
    if (this.#isEnding) return undefined
    this.handshake?.releaseRequest?.()
    this.#stage = 'open'
    this.outbox.open(transport)
    this.hub.fanout.flushOne(this.outbox)
    this.hub.opened(this)
    if (this.#pending === undefined) this.hub.joinAll(this)
    else this.#startHoldTimer()
    const outcome = this.route.open.run(this, undefined, undefined, this.after)
    if (isPromise(outcome)) return (outcome as Promise<unknown>).then(late => this.#afterOpen(late))
    this.#afterOpen(outcome)
    return undefined
  }

  #serverFor(): Server {
    const { permits } = this.hub.chains
    if (this.#source === undefined) return permits.empty ? this.hub : new ActingServer(this.hub, permits, this)
    const { broadcast } = this.#source
    return broadcast === undefined ? this.hub : new SourceServer(this.hub, broadcast)
  }

  /** This client. @throws FwsError `ERR_STATE` if it has a response in place of messages. */
  #openable(operation: string): this {
    if (this.handshake?.kind !== 'request') return this
    const message = `${operation}() needs a client that gets messages; client ${this.id} is a request, which gets one response`
    throw new FwsError('ERR_STATE', message)
  }

  /** Whether a frame goes straight to its queue. */
  get #isPlainlyOpen(): boolean {
    return this.#pending === undefined && this.outbox.isOpen
  }

  get #isEnding(): boolean {
    return this.#stage === 'closing' || this.#stage === 'gone'
  }

  /** A pending client without room for the frame is treated as any slow client; the sender sees no error. */
  #keep(pending: Pending, frame: Frame): void {
    const { maxBuffered, slowClients } = this.hub.limits
    if (pending.bytes + frame.length <= maxBuffered) pending.keep(frame)
    else if (slowClients === 'close' && this.isOpen) this.fellBehind()
    else count(this.hub.counters.drops, 'slow client')
  }

  #checkWaiting(bytes: number): void {
    const { maxBuffered } = this.hub.limits
    if (bytes <= maxBuffered) return
    const message = `client ${this.id} is not open yet: ${bytes} bytes wait for it, --max-buffered is ${maxBuffered}`
    throw new FwsError('ERR_LIMIT', message)
  }

  #startHoldTimer(): void {
    this.#pending?.startTimer(this.hub.limits.holdTimeout, () => this.disconnect(1008, 'not admitted in time'))
  }

  #afterOpen(outcome: unknown): void {
    if (outcome === FAILED) this.disconnect(1011, 'a filter failed')
    else if (outcome === DROP) this.disconnect(1008, 'not allowed')
    this.#callAdmitted()
  }

  #flow(operation: 'pause' | 'resume'): void {
    try {
      this.#transport?.[operation]()
    } catch (error) {
      this.transportFailed(error)
    }
  }

  #end(code: number, reason: string): void {
    const ending = { code, reason: cutReason(reason) }
    this.#finish(ending)
    try {
      // A paused socket would never read the peer's Close frame.
      this.#transport?.resume()
      this.#transport?.close(code, ending.reason)
    } catch (error) {
      this.transportFailed(error)
    }
  }

  /** From now on only the Close frame is sent, and no message is handled. */
  #finish(ending: Ending): void {
    this.#ending = ending
    if (this.#stage !== 'gone') this.#stage = 'closing'
    this.outbox.close()
    this.#joins?.cancelAll()
    this.hub.leaveAll(this)
    const discarded = this.#mailbox?.discard() ?? 0
    if (discarded > 0) count(this.hub.counters.drops, 'closing client', discarded)
  }

  #newMailbox(): Mailbox<Received> {
    this.#mailbox = new Mailbox(this, this.hub.limits, this.#isHandling)
    return this.#mailbox
  }

  #leave(): void {
    this.#stage = 'gone'
    this.hub.arriving.delete(this)
    this.#joins?.cancelAll()
    this.outbox.close()
    this.#abort?.abort()
    this.#callGone()
  }

  #callGone(): void {
    const handlers = this.#goneHandlers ?? []
    this.#goneHandlers = undefined
    for (const handler of handlers) this.#contain(handler, 'a filter failed when a client had gone')
  }

  #callAdmitted(): void {
    if (this.#admittedHandlers === undefined || !this.isAdmitted) return
    const handlers = this.#admittedHandlers
    this.#admittedHandlers = undefined
    for (const handler of handlers) this.#contain(handler, 'a filter failed when a client was admitted')
  }

  #contain(handle: () => void, what: string): void {
    try {
      handle()
    } catch (error) {
      this.#report(error, what)
    }
  }

  #report(error: unknown, what: string): void {
    this.hub.counters.errors++
    logError(this.hub.log, 'error', error, what)
  }
}

function payloadOf(received: Received): Payload {
  return received instanceof Viewed ? received.payload : received
}

/** @throws FwsError `ERR_STATE`. */
function checkTopic(topic: unknown): void {
  if (typeof topic !== 'string' || topic === EVERYONE)
    throw new FwsError('ERR_STATE', `join() takes a topic other than ${EVERYONE}, received ${shown(topic)}`)
}
