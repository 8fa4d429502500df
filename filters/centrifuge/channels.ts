import type { FilterApis } from 'filtered-websocket'
import { changePush } from './members.ts'

/** Sends a push to one client. */
export type Push = (message: string) => void

/** A channel with subscribers on this node. */
export interface Channel {
  readonly name: string
  /** Number of losses that its subscribers were informed of: a client that subscribed before the last one may subscribe again. */
  losses: number
  subscribers: number
  /** Subscribers that get joins and leaves. */
  watchers: Set<Push> | undefined
  unwatch: (() => void) | undefined
}

/** The channels of a server, while they have subscribers. */
export class Channels {
  readonly #presence: FilterApis['presence'] | undefined
  readonly #channels = new Map<string, Channel>()

  constructor(presence: FilterApis['presence'] | undefined) {
    this.#presence = presence
  }

  /** Adds a subscriber. */
  enter(name: string): Channel {
    let channel = this.#channels.get(name)
    if (channel === undefined) {
      channel = { name, losses: 0, subscribers: 0, watchers: undefined, unwatch: undefined }
      this.#channels.set(name, channel)
    }
    channel.subscribers++
    return channel
  }

  leave(channel: Channel, watcher: Push): void {
    this.unwatch(channel, watcher)
    if (--channel.subscribers === 0) this.#channels.delete(channel.name)
  }

  lost(name: string): void {
    const channel = this.#channels.get(name)
    if (channel !== undefined) channel.losses++
  }

  /** Pushes joins and leaves to a subscriber, if `presence` covers the channel. */
  watch(channel: Channel, watcher: Push): void {
    if (this.#presence?.covers(channel.name) !== true) return
    channel.watchers ??= new Set()
    channel.watchers.add(watcher)
    channel.unwatch ??= this.#presence.watch(channel.name, change => {
      const message = changePush(channel.name, change)
      if (message !== undefined) for (const push of channel.watchers ?? []) push(message)
    })
  }

  unwatch(channel: Channel, watcher: Push): void {
    if (channel.watchers?.delete(watcher) !== true || channel.watchers.size > 0) return
    channel.unwatch?.()
    channel.unwatch = undefined
  }
}
