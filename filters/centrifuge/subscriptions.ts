import {
  type Client,
  type FilterApis,
  type Joined,
  type JoinOptions,
  type Position,
  PRESENCE,
  type Removal,
} from 'filtered-websocket'
import { withDeadline } from 'filtered-websocket/kit'
import type { Channel, Channels, Push } from './channels.ts'
import { unsubscribePush } from './codec.ts'
import { UNSUBSCRIBED } from './codes.ts'
import { CommandError } from './command-error.ts'
import { channelIn, positionIn, type Request } from './commands.ts'
import { listOf, type MemberPage, watchedIn } from './members.ts'
import type { Recoveries } from './recovery.ts'
import { expiryOf, type Proof, proofIn } from './tokens.ts'

/** Bit of `flag`: error 112 instead of a subscription without the missed publications. */
const REJECT_UNRECOVERED = 2
/** Seconds between the expiry of a subscription token and the end of the subscription, for a new one. */
const GRACE = 25

interface Subscription {
  readonly channel: Channel
}

export interface SubscriptionsHost {
  readonly client: Client
  readonly channels: Channels
  readonly recoveries: Recoveries
  readonly maxChannels: number
  /** Checks subscription tokens; `undefined`: none is valid. */
  readonly jwt: FilterApis['jwt'] | undefined
  readonly presence: FilterApis['presence'] | undefined
  readonly push: Push
}

/** Sends the reply of a subscription, in the turn in which the client becomes a member. */
export type Answer = (head: string, publications: string | Buffer | undefined, tail: string) => void

/** Parts of the reply that are not in `Joined`. */
interface Entry {
  /** Position from which the client asked to recover. */
  readonly wanted: Position | undefined
  readonly isRecovered: boolean
  /** The members of the topic, at a position before all publications. */
  readonly list?: MemberPage
}

/** The channels that one client has subscribed. */
export class Subscriptions {
  readonly #host: SubscriptionsHost
  readonly #byName = new Map<string, Subscription>()
  /** Rights of the subscription tokens by channel; created for the first one. */
  #proofs: Map<string, Proof> | undefined

  constructor(host: SubscriptionsHost) {
    this.#host = host
  }

  /**
   * Settles when the reply is sent.
   *
   * @param ms - the client is not subscribed if it has not become a member by then.
   * @throws (rejects) CommandError, or an error of the core.
   */
  async subscribe(request: Request, ms: number, answer: Answer): Promise<void> {
    const { client, maxChannels, presence } = this.#host
    const name = channelIn(request, true)
    const watched = watchedIn(name)
    // Other types of subscriptions, such as maps, are not supported.
    if (request.type !== undefined && request.type !== 0) throw new CommandError(108)
    if (watched !== undefined && presence?.covers(watched) !== true) throw new CommandError(108)
    if (this.#isSubscribed(name)) throw new CommandError(105)
    if (!this.#byName.has(name) && this.#byName.size >= maxChannels) throw new CommandError(106)
    const subscription = this.#add(name)
    // It is a member if the server has subscribed it, or if it has lost publications.
    client.leave(name)
    try {
      await withDeadline(this.#enter(name, subscription, request, answer), ms, 'a subscription')
    } catch (error) {
      if (this.#byName.get(name) === subscription) this.unsubscribe(name)
      throw error
    }
  }

  /**
   * Replaces the token of a subscription.
   *
   * @returns the reply. @throws (rejects) CommandError, or an error of the core.
   */
  async refresh(request: Request): Promise<string> {
    const { client, jwt } = this.#host
    const name = channelIn(request)
    const subscription = this.#byName.get(name)
    if (subscription === undefined) throw new CommandError(103)
    const proof = await proofIn(jwt, request.token, name, client)
    if (this.#byName.get(name) === subscription) this.#prove(name, proof)
    return JSON.stringify(expiryOf(proof.expires))
  }

  /** Whether a token of the client permits the channel. */
  isProven(name: string): boolean {
    return this.#proofs?.has(name) === true
  }

  /** Ends subscriptions whose token has expired. @param now - seconds since 1970. */
  sweep(now: number): void {
    for (const [name, { expires }] of this.#proofs ?? [])
      if (expires !== undefined && now >= expires + GRACE) this.#end(name, UNSUBSCRIBED.expired, 'subscription expired')
  }

  unsubscribe(name: string): void {
    const subscription = this.#byName.get(name)
    if (subscription === undefined) return
    const { client, channels, push } = this.#host
    this.#byName.delete(name)
    channels.leave(subscription.channel, client, push)
    client.leave(name)
    if (this.#proofs?.delete(name) !== true) return
    // Its members are for clients that may join it.
    const members = PRESENCE + name
    if (this.#byName.has(members) && !client.may('join', members)) this.removed(members, 'forbidden')
  }

  /** The client has been removed from a topic, which it or the server had subscribed. */
  removed(name: string, why: Removal): void {
    this.#end(name, UNSUBSCRIBED.server, why === 'forbidden' ? 'permission denied' : 'server unsubscribe')
  }

  /** Call when the client has disconnected. */
  close(): void {
    const { client, channels, push } = this.#host
    for (const { channel } of this.#byName.values()) channels.leave(channel, client, push)
    this.#byName.clear()
  }

  #end(name: string, code: number, reason: string): void {
    this.unsubscribe(name)
    this.#host.push(unsubscribePush(name, code, reason))
  }

  #isSubscribed(name: string): boolean {
    return this.#byName.has(name) && this.#host.client.topics.has(name)
  }

  #add(name: string): Subscription {
    const { channels } = this.#host
    const subscription = { channel: this.#byName.get(name)?.channel ?? channels.enter(name) }
    this.#byName.set(name, subscription)
    return subscription
  }

  #prove(name: string, proof: Proof): void {
    this.#proofs ??= new Map()
    this.#proofs.set(name, proof)
  }

  async #enter(name: string, subscription: Subscription, request: Request, answer: Answer): Promise<void> {
    const { client, jwt, channels, push } = this.#host
    const { token = '', recover, flag } = request
    const wanted = recover === true ? positionIn(request) : undefined
    const proof = token === '' ? undefined : await proofIn(jwt, token, name, client)
    const start = wanted === undefined ? 'now' : await this.#startOf(name, wanted)
    this.#checkCurrent(name, subscription)
    if (proof !== undefined) this.#prove(name, proof)
    this.#describe(name, proof)
    if (request.join_leave === true) channels.watch(subscription.channel, push)
    const watched = watchedIn(name)
    const isRejecting = wanted !== undefined && (Number(flag) & REJECT_UNRECOVERED) !== 0
    const reply = (joined: Joined, entry: Entry) => this.#answer(name, joined, entry, proof, answer)
    if (wanted !== undefined || watched === undefined) {
      const isEntered = await this.#join(subscription, start, joined => {
        const isRecovered = joined.recovered && start !== 'now'
        if (!isRecovered && (isRejecting || watched !== undefined)) return false
        reply(joined, { wanted, isRecovered })
        return true
      })
      if (isEntered) return
      if (isRejecting || watched === undefined) throw new CommandError(112)
    }
    const list = await this.#host.presence!.list(watched)
    this.#checkCurrent(name, subscription)
    const isEntered = await this.#join(subscription, list.position, joined => {
      if (joined.recovered) reply(joined, { wanted, isRecovered: false, list })
      return joined.recovered
    })
    if (!isEntered) throw new CommandError(100)
  }

  /** @param answer - called when the client is a member; if it returns false the client leaves again. */
  async #join(
    { channel }: Subscription,
    after: JoinOptions['after'],
    answer: (joined: Joined) => boolean,
  ): Promise<boolean> {
    const { client } = this.#host
    const { name } = channel
    let isEntered = false
    await client.join(name, {
      after,
      onJoined: joined => {
        isEntered = answer(joined)
        if (isEntered) channel.members.add(client)
        else client.leave(name)
      },
    })
    return isEntered
  }

  /** @throws CommandError if the subscription has ended meanwhile, such as by its deadline. */
  #checkCurrent(name: string, subscription: Subscription): void {
    if (this.#byName.get(name) !== subscription) throw new CommandError(100)
  }

  /** Sets the info about the client that other members get. */
  #describe(name: string, proof: Proof | undefined): void {
    const { client, presence } = this.#host
    const info = proof?.info ?? (client.state.user?.info as unknown)
    if (info !== undefined && presence?.covers(name) === true)
      presence.describe(client, name, { info: JSON.stringify(info) })
  }

  /** The position at which a client joins. Without the right to `read` it gets no missed publications. */
  async #startOf(name: string, wanted: Position): Promise<'now' | Position> {
    const { client } = this.#host
    if (!client.may('read', name)) return 'now'
    if (wanted.epoch !== '') return wanted
    try {
      const { top } = await client.server.read(name, { from: 'newest', entries: 0, bytes: 0 })
      return { epoch: top.epoch, offset: wanted.offset }
    } catch (error) {
      if ((error as { code?: unknown }).code === 'ERR_STATE') return 'now'
      throw error
    }
  }

  #answer(
    name: string,
    joined: Joined,
    { wanted, isRecovered, list }: Entry,
    proof: Proof | undefined,
    answer: Answer,
  ): void {
    const { client, recoveries } = this.#host
    const { position, entries } = joined
    const fields = Object.entries(expiryOf(proof?.expires)).map(([field, value]) => `"${field}":${value}`)
    if (position !== undefined) {
      if (client.may('read', name)) fields.push('"recoverable":true')
      // Not the top: a page that unsubscribes in its handler of `subscribed` would lose the missed publications.
      const { offset } = list?.position ?? (isRecovered ? wanted! : position)
      fields.push(`"positioned":true,"epoch":"${position.epoch}","offset":${offset}`)
    }
    if (wanted !== undefined) fields.push(`"was_recovering":true,"recovered":${isRecovered}`)
    if (list !== undefined) fields.push(`"data":${listOf(list)}`)
    const missed = entries.length > 0 ? recoveries.of(entries, client.id) : undefined
    if (missed !== undefined) fields.push('"publications":[')
    answer(`{${fields.join(',')}`, missed, missed === undefined ? '}' : ']}')
  }
}
