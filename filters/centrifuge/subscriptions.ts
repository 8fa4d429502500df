import type { Client, FilterApis, Joined, Position } from 'filtered-websocket'
import { withDeadline } from 'filtered-websocket/kit'
import { UNSUBSCRIBED } from '../../protocols/centrifuge/codes.ts'
import type { Channel, Channels } from './channels.ts'
import { unsubscribePush } from './codec.ts'
import { CommandError } from './command-error.ts'
import { channelIn, positionIn, type Request } from './commands.ts'
import type { Recoveries } from './recovery.ts'
import { expiryOf, type Proof, proofIn } from './tokens.ts'

/** Bit of `flag`: error 112 instead of a subscription without the missed publications. */
const REJECT_UNRECOVERED = 2

/** Seconds between the expiry of a subscription token and the end of the subscription, for a new one. */
const GRACE = 25

/** The position that a client asks to recover from; an empty epoch is any. */
type Wanted = Position

interface Subscription {
  readonly channel: Channel
  /** `channel.losses` when it was made. */
  readonly losses: number
  /** Of its token. */
  proof: Proof | undefined
}

export interface SubscriptionsHost {
  readonly client: Client
  readonly channels: Channels
  readonly recoveries: Recoveries
  readonly maxChannels: number
  /** Checks subscription tokens; `undefined`: none is valid. */
  readonly jwt: FilterApis['jwt'] | undefined
  /** Sends a push. */
  push(message: string): void
}

/** Sends the reply of a subscription, in the turn in which the client becomes a member. */
export type Answer = (head: string, publications: string | Buffer | undefined, tail: string) => void

/** The channels that one client has subscribed. */
export class Subscriptions {
  readonly #host: SubscriptionsHost
  readonly #byName = new Map<string, Subscription>()

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
    const { client, maxChannels } = this.#host
    const name = channelIn(request)
    // Other types of subscriptions, such as maps.
    if (request.type !== undefined && request.type !== 0) throw new CommandError(108)
    if (this.#isSubscribed(name)) throw new CommandError(105)
    if (!this.#byName.has(name) && this.#byName.size >= maxChannels) throw new CommandError(106)
    const subscription = this.#add(name)
    // The server has subscribed it, or it has lost publications.
    client.leave(name)
    try {
      await withDeadline(this.#join(name, subscription, request, answer), ms, 'a subscription')
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
    subscription.proof = await proofIn(jwt, request.token, name, client)
    return JSON.stringify(expiryOf(subscription.proof.expires))
  }

  /** Whether a token of the client permits the channel. */
  isProven(name: string): boolean {
    return this.#byName.get(name)?.proof !== undefined
  }

  /** Ends subscriptions whose token has expired. @param now - seconds since 1970. */
  sweep(now: number): void {
    for (const [name, { proof }] of this.#byName)
      if (proof?.expires !== undefined && now >= proof.expires + GRACE)
        this.#end(name, UNSUBSCRIBED.expired, 'subscription expired')
  }

  unsubscribe(name: string): void {
    const subscription = this.#byName.get(name)
    if (subscription === undefined) return
    this.#byName.delete(name)
    this.#host.channels.leave(subscription.channel)
    this.#host.client.leave(name)
  }

  /** The rights of the client have changed: it has left the topics that it may not join any more. */
  recheck(): void {
    const { client } = this.#host
    for (const name of [...this.#byName.keys()]) {
      if (client.topics.has(name)) continue
      this.#end(name, UNSUBSCRIBED.server, 'permission denied')
    }
  }

  /** The client has gone. */
  close(): void {
    for (const { channel } of this.#byName.values()) this.#host.channels.leave(channel)
    this.#byName.clear()
  }

  #end(name: string, code: number, reason: string): void {
    this.unsubscribe(name)
    this.#host.push(unsubscribePush(name, code, reason))
  }

  #isSubscribed(name: string): boolean {
    const known = this.#byName.get(name)
    return known !== undefined && known.losses === known.channel.losses && this.#host.client.topics.has(name)
  }

  #add(name: string): Subscription {
    const { channels } = this.#host
    const channel = this.#byName.get(name)?.channel ?? channels.enter(name)
    const subscription = { channel, losses: channel.losses, proof: undefined }
    this.#byName.set(name, subscription)
    return subscription
  }

  async #join(
    name: string,
    subscription: Subscription,
    { token = '', recover, flag, ...position }: Request,
    answer: Answer,
  ): Promise<void> {
    const { client, jwt } = this.#host
    const wanted = recover === true ? positionIn(position) : undefined
    if (token !== '') subscription.proof = await proofIn(jwt, token, name, client)
    const after = wanted === undefined ? 'now' : await this.#startOf(name, wanted)
    // Its time was over meanwhile.
    if (this.#byName.get(name) !== subscription) throw new CommandError(100)
    await client.join(name, {
      after,
      onJoined: joined => {
        const isRecovered = joined.recovered && after !== 'now'
        if (wanted !== undefined && !isRecovered && (Number(flag) & REJECT_UNRECOVERED) !== 0) client.leave(name)
        else this.#answer(name, joined, wanted && { ...wanted, isRecovered }, subscription.proof, answer)
      },
    })
    if (!client.topics.has(name)) throw new CommandError(112)
  }

  /** Where to join. A client without the right to the past gets nothing of it. */
  async #startOf(name: string, wanted: Wanted): Promise<'now' | Wanted> {
    const { client } = this.#host
    if (!client.may('read', name)) return 'now'
    if (wanted.epoch !== '') return wanted
    try {
      const { top } = await client.server.read(name, { from: 'newest', entries: 1, bytes: 1 })
      return { epoch: top.epoch, offset: wanted.offset }
    } catch (error) {
      if ((error as { code?: unknown }).code === 'ERR_STATE') return 'now'
      throw error
    }
  }

  #answer(
    name: string,
    { position, entries }: Joined,
    wanted: (Wanted & { readonly isRecovered: boolean }) | undefined,
    proof: Proof | undefined,
    answer: Answer,
  ): void {
    const { client, recoveries } = this.#host
    const fields = Object.entries(expiryOf(proof?.expires)).map(([field, value]) => `"${field}":${value}`)
    if (position !== undefined) {
      if (client.may('read', name)) fields.push('"recoverable":true')
      // With the top, a page that leaves in its handler of `subscribed` would lose the publications.
      const offset = wanted?.isRecovered ? wanted.offset : position.offset
      fields.push(`"positioned":true,"epoch":"${position.epoch}","offset":${offset}`)
    }
    if (wanted !== undefined) fields.push(`"was_recovering":true,"recovered":${wanted.isRecovered}`)
    const missed = wanted?.isRecovered && entries.length > 0 ? recoveries.of(entries, client.id) : undefined
    if (missed !== undefined) fields.push('"publications":[')
    answer(`{${fields.join(',')}`, missed, missed === undefined ? '}' : ']}')
  }
}
