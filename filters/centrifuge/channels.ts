import type { Client, FilterApis } from 'filtered-websocket'
import { changePush } from './members.ts'

/** Sends a push to one client. */
export type Push = (message: string) => void

/** A channel with subscribers on this node. */
export interface Channel {
  readonly name: string
  subscribers: number
  /** Subscribers that get its publications. */
  readonly members: Set<Client>
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
      channel = { name, subscribers: 0, members: new Set(), watchers: undefined, unwatch: undefined }
      this.#channels.set(name, channel)
    }
    channel.subscribers++
    return channel
  }

  leave(channel: Channel, client: Client, watcher: Push): void {
    this.unwatch(channel, watcher)
    channel.members.delete(client)
    if (--channel.subscribers === 0) this.#channels.delete(channel.name)
  }

  /**
   * Members are being informed of a loss. They get no later publication, which would move the position from which they subscribe
   * again. They are removed in a microtask, since the message about the loss is not queued for them yet.
   *
   * @param only - id of the only member that is informed. Default: all are.
   */
  lost(name: string, only?: string): void {
    queueMicrotask(() => {
      const { members } = this.#channels.get(name) ?? {}
      for (const client of members ?? []) {
        if (only !== undefined && client.id !== only) continue
        members!.delete(client)
        client.leave(name)
      }
    })
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
