/** A channel with subscribers on this node. */
export interface Channel {
  readonly name: string
  /** How often its subscribers were informed of a loss: a client that was subscribed before may subscribe again. */
  losses: number
  subscribers: number
}

/** The channels of a server, while they have subscribers. */
export class Channels {
  readonly #channels = new Map<string, Channel>()

  /** Adds a subscriber. */
  enter(name: string): Channel {
    const channel = this.#channels.get(name) ?? { name, losses: 0, subscribers: 0 }
    this.#channels.set(name, channel)
    channel.subscribers++
    return channel
  }

  leave(channel: Channel): void {
    if (--channel.subscribers === 0) this.#channels.delete(channel.name)
  }

  lost(name: string): void {
    const channel = this.#channels.get(name)
    if (channel !== undefined) channel.losses++
  }
}
