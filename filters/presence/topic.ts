import { setTimeout as sleep } from 'node:timers/promises'
import { type AppendOutcome, FwsError, type Position, PRESENCE, type Server, type StreamPage } from 'filtered-websocket'
import {
  isLeaving,
  type MemberRecord,
  memberKey,
  TOTALS,
  type Totals,
  totalsIn,
  type UserRecord,
  userKey,
  userOf,
} from './attributes.ts'
import { Draft, type DraftHost, type LocalMember } from './draft.ts'
import { MemberList } from './list.ts'
import { remainsOf } from './remains.ts'
import { SharedRead } from './shared-read.ts'

/** Milliseconds between two attempts while the storage does not answer. */
const MIN_PAUSE_MS = 100
const MAX_PAUSE_MS = 2000
/** Reads only the attributes of a stream. */
const NO_ENTRIES = { from: 'newest', entries: 0, bytes: 0 } as const

export interface TopicHost {
  server(): Pick<Server, 'append' | 'read'>
  readonly max: number
  /** Id of this node. */
  node(): string
  isOwn(node: string): boolean
  isDead(node: string): boolean
  /** Whether another node was alive at the last look. */
  wasAlive(node: string): boolean
  graceOf(node: string): number
  /** Called when the topic has neither clients nor work. */
  onIdle(topic: TopicPresence): void
  failed(error: unknown, topic: string): void
}

interface Waiting {
  /** Number of the last change that it waits for. */
  mark: number
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/**
 * The members of one topic, as one node sees them. It knows the clients of the node, and changes the state in the storage until that agrees.
 * A change is refused if another node has changed the same attributes; then it is made again from their values.
 */
export class TopicPresence {
  readonly topic: string
  readonly stream: string
  /** Clients of this node that watch the topic. */
  watchers = 0
  readonly #host: TopicHost
  readonly #local = new Map<string, LocalMember>()
  /** Clients of each user on this node. */
  readonly #users = new Map<string, number>()
  /** Clients whose state in the storage may differ, oldest first, each with the number of its last change. */
  readonly #changed = new Map<string, number>()
  /** Number of the last change or look. */
  #marks = 0
  /** Users whose leave this node settles, with the time at which it is due. */
  readonly #leaving = new Map<string, number>()
  /** Those of them that a dead node had to settle. */
  readonly #orphans = new Set<string>()
  /** Dead nodes without members, whose counts are still in the totals. */
  readonly #gone = new Set<string>()
  /** Cache of the attributes that this node uses, as of its last call. */
  readonly #known = new Map<string, string>()
  #epoch: string | undefined
  /** Mark of the last `look` that is not done yet. */
  #lookAsked: number | undefined
  /** A call has failed, but its changes may be stored: the next draft is compared with the storage even if it has no changes. */
  #isUncertain = false
  #mayHaveDead = false
  #isRunning = false
  #isStopped = false
  #waiting: Waiting[] = []
  readonly #lists = new SharedRead(async () => new MemberList(await this.#readState()))

  constructor(topic: string, host: TopicHost) {
    this.topic = topic
    this.stream = PRESENCE + topic
    this.#host = host
  }

  /** Whether it has neither clients nor work. */
  get isIdle(): boolean {
    const size = this.#local.size + this.#changed.size + this.#leaving.size + this.watchers + this.#waiting.length
    return size === 0 && !this.#isRunning && !this.#mayHaveDead && !this.#lists.isBusy
  }

  /** Whether it has members of nodes that may be dead. */
  get mayHaveDead(): boolean {
    return this.#mayHaveDead
  }

  get gauges(): { readonly members: number; readonly waiting: number } {
    return { members: this.#local.size, waiting: this.#changed.size }
  }

  memberOf(client: string): LocalMember | undefined {
    return this.#local.get(client)
  }

  /** A client has joined, or has another user. */
  join(client: string, member: LocalMember): void {
    const before = this.#local.get(client)
    if (before !== undefined) this.#countUser(before.user, -1)
    this.#countUser(member.user, 1)
    this.#local.set(client, member)
    this.#change(client)
  }

  leave(client: string): void {
    const before = this.#local.get(client)
    if (before === undefined) return
    this.#countUser(before.user, -1)
    this.#local.delete(client)
    this.#change(client)
  }

  /** Compares the totals with the storage: another node may have changed them. */
  look(): void {
    this.#lookAsked = ++this.#marks
    this.#wake()
  }

  /** Settles the users whose leave is due. Call it repeatedly. */
  settleDue(now: number): void {
    for (const due of this.#leaving.values()) {
      if (due > now) continue
      this.#wake()
      return
    }
    this.#releaseIfIdle()
  }

  /** The storage may have lost members of this node: all of them join again. */
  renew(): void {
    this.#known.clear()
    for (const client of this.#local.keys()) this.#change(client)
    this.look()
    for (const waiting of this.#waiting) waiting.mark = this.#marks
  }

  /** Settles when the storage has all changes so far. @throws (rejects) Error: the storage does not answer. */
  flushed(): Promise<void> {
    if (this.#changed.size === 0 && this.#lookAsked === undefined) return Promise.resolve()
    return new Promise((resolve, reject) => {
      this.#waiting.push({ mark: this.#marks, resolve, reject })
    })
  }

  /** The totals of all nodes. @throws (rejects) as `flushed` does. */
  async totals(): Promise<Totals> {
    this.look()
    await this.flushed()
    return totalsIn(this.#known.get(TOTALS))
  }

  /** The members, with the changes of this node so far. @throws (rejects) as `flushed` does. */
  async list(): Promise<MemberList> {
    await this.flushed()
    return this.#lists.run()
  }

  /** Ends its work once the changes so far are stored. */
  async stop(): Promise<void> {
    await this.flushed().catch(() => {})
    this.#isStopped = true
    this.#rejectWaiting(new FwsError('ERR_STATE', 'the server stops'))
  }

  /** All attributes. If the storage has lost them, those of the members of this node again. */
  async #readState(): Promise<StreamPage> {
    const read = () => this.#host.server().read(this.stream, NO_ENTRIES)
    let state = await read()
    if (!this.#seeEpoch(state.top)) {
      await this.flushed()
      state = await read()
      this.#seeEpoch(state.top)
    }
    this.#setKnown(TOTALS, state.attributes[TOTALS] ?? null)
    this.#seeTotals()
    return state
  }

  #countUser(user: string, step: 1 | -1): void {
    const clients = (this.#users.get(user) ?? 0) + step
    if (clients > 0) this.#users.set(user, clients)
    else this.#users.delete(user)
  }

  #change(client: string): void {
    // Last, since the order of the changes is that of the marks.
    this.#changed.delete(client)
    this.#changed.set(client, ++this.#marks)
    this.#wake()
  }

  #wake(): void {
    if (this.#isRunning || this.#isStopped) return
    this.#isRunning = true
    // All changes of a turn go together.
    setImmediate(() => void this.#run())
  }

  async #run(): Promise<void> {
    for (let pause = MIN_PAUSE_MS; !this.#isStopped; ) {
      try {
        const draft = this.#draft()
        if (!draft.isEmpty) await this.#send(draft)
        else {
          this.#end(draft, this.#marks)
          if (this.#changed.size === 0) {
            if (!this.#hasDead) break
            await this.#takeOver()
          }
        }
        pause = MIN_PAUSE_MS
      } catch (error) {
        this.#host.failed(error, this.topic)
        this.#isUncertain = true
        this.#rejectWaiting(error)
        await sleep(pause, undefined, { ref: false })
        pause = Math.min(MAX_PAUSE_MS, 2 * pause)
      }
    }
    this.#isRunning = false
    this.#releaseIfIdle()
  }

  #releaseIfIdle(): void {
    if (this.isIdle) this.#host.onIdle(this)
  }

  #draft(): Draft {
    const draft = new Draft(this.#known, this.#draftHost())
    for (const client of this.#changed.keys()) {
      if (draft.isFull) break
      const member = this.#local.get(client)
      if (member === undefined) draft.leave(client)
      else draft.join(client, member)
    }
    const now = Date.now()
    for (const [user, due] of this.#leaving) {
      if (draft.isFull) break
      if (due <= now || this.#orphans.has(user)) draft.settle(user)
    }
    for (const node of this.#gone) draft.forget(node)
    if (this.#lookAsked !== undefined || this.#isUncertain) draft.look()
    draft.finish()
    return draft
  }

  #draftHost(): DraftHost {
    const { max, node, isOwn, isDead, graceOf } = this.#host
    return {
      node: node(),
      max,
      now: Date.now(),
      isRemovable: id => isOwn(id) || isDead(id),
      graceOf,
    }
  }

  async #send(draft: Draft): Promise<void> {
    const { when, set, entries, clients, users } = draft
    const mark = this.#marks
    const hasChanges = Object.keys(set).length > 0
    // An empty `set` would be announced as a change.
    const outcome = await this.#host.server().append(this.stream, entries, hasChanges ? { when, set } : { when })
    if (!this.#seeEpoch('position' in outcome ? outcome.position : outcome.top)) return
    if ('refused' in outcome) {
      this.#correct(draft, outcome)
      // A look without changes has the totals now.
      if (hasChanges || clients.size + users.length > 0) return
    } else {
      for (const [key, value] of Object.entries(set)) this.#setKnown(key, value)
    }
    if (this.#lookAsked !== undefined && this.#lookAsked <= mark) this.#lookAsked = undefined
    this.#end(draft, mark)
  }

  /** Ends the changes of a draft, except those after `mark`. */
  #end({ clients, users, when }: Draft, mark: number): void {
    for (const client of clients.keys()) if (this.#changed.get(client)! <= mark) this.#changed.delete(client)
    for (const user of users) {
      this.#leaving.delete(user)
      this.#orphans.delete(user)
    }
    // All that the draft has read: an earlier call, whose answer is lost, may have changed them.
    for (const key of Object.keys(when)) {
      const user = userOf(key)
      if (user !== undefined) this.#seeUser(user)
    }
    // The record of a last client is used when its user leaves.
    for (const [client, member] of clients) {
      const json = member === undefined ? this.#known.get(memberKey(client)) : undefined
      if (json !== undefined && !this.#leaving.has((JSON.parse(json) as MemberRecord).user))
        this.#known.delete(memberKey(client))
    }
    this.#gone.clear()
    if (this.#changed.size === 0) this.#isUncertain = false
    this.#seeTotals()
    const [firstChanged = Number.POSITIVE_INFINITY] = this.#changed.values()
    const oldest = Math.min(firstChanged, this.#lookAsked ?? Number.POSITIVE_INFINITY)
    this.#waiting = this.#waiting.filter(({ mark, resolve }) => {
      if (mark >= oldest) return true
      resolve()
      return false
    })
  }

  /** Keeps the record of a user that has clients here, or whose leave this node settles. */
  #seeUser(user: string): void {
    const json = this.#known.get(userKey(user))
    const record: UserRecord | undefined = json === undefined ? undefined : JSON.parse(json)
    if (isLeaving(record) && this.#host.isOwn(record.node)) this.#leaving.set(user, record.due)
    else {
      this.#leaving.delete(user)
      if (!this.#users.has(user)) this.#known.delete(userKey(user))
    }
  }

  /** The values that a refused draft should have been made from. */
  #correct({ when }: Draft, { attributes }: Extract<AppendOutcome, { refused: unknown }>): void {
    const before = totalsIn(this.#known.get(TOTALS)).seq
    for (const key of Object.keys(when)) this.#setKnown(key, attributes[key] ?? null)
    // The storage has returned to an earlier state.
    if (totalsIn(attributes[TOTALS]).seq < before) this.renew()
  }

  #setKnown(key: string, value: string | null): void {
    if (value === null) this.#known.delete(key)
    else this.#known.set(key, value)
  }

  /** Returns whether the epoch is the one known so far; a new one has lost all members. */
  #seeEpoch({ epoch }: Position): boolean {
    const before = this.#epoch
    this.#epoch = epoch
    if (before === undefined || before === epoch) return true
    this.#leaving.clear()
    this.#orphans.clear()
    this.renew()
    return false
  }

  #seeTotals(): void {
    const nodes = Object.keys(totalsIn(this.#known.get(TOTALS)).nodes)
    this.#mayHaveDead = nodes.some(node => !this.#host.wasAlive(node))
    if (this.#hasDead) this.#wake()
  }

  get #deadNodes(): readonly string[] {
    return Object.keys(totalsIn(this.#known.get(TOTALS)).nodes).filter(node => this.#host.isDead(node))
  }

  get #hasDead(): boolean {
    return this.#deadNodes.length > 0
  }

  /** Removes the members of dead nodes, and settles the users that they have left. */
  async #takeOver(): Promise<void> {
    const dead = this.#deadNodes
    const { top, attributes } = await this.#host.server().read(this.stream, NO_ENTRIES)
    if (!this.#seeEpoch(top)) return
    const { clients, users, keys, empty } = remainsOf(dead, attributes)
    for (const key of [TOTALS, ...keys]) this.#setKnown(key, attributes[key] ?? null)
    for (const client of clients) this.#change(client)
    for (const [user, due] of users) {
      this.#leaving.set(user, due)
      this.#orphans.add(user)
    }
    for (const node of empty) this.#gone.add(node)
  }

  #rejectWaiting(error: unknown): void {
    for (const { reject } of this.#waiting.splice(0)) reject(error)
  }
}
