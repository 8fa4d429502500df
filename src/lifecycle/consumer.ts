import { type Awaitable, isPromise } from '../contract/deadline.ts'
import { FwsError, messageOf } from '../contract/errors.ts'
import type { ChannelEvent } from '../contract/filter.ts'
import type { Bus } from '../contract/storage.ts'
import { count } from '../fanout/counters.ts'
import type { Hub } from '../hub/hub.ts'
import { Mailbox, type MailboxOwner } from '../peer/mailbox.ts'

/** Passes events of the storage's channels to the consumer chain, in order. A bus cannot be paused: beyond the limit events are dropped and counted. */
export class Consumer implements MailboxOwner<ChannelEvent> {
  readonly #hub: Hub
  readonly #mailbox: Mailbox<ChannelEvent>
  readonly #unsubscribe: (() => Awaitable<void>)[] = []

  constructor(hub: Hub) {
    this.#hub = hub
    this.#mailbox = new Mailbox(this, hub.limits)
  }

  /** @throws FwsError `ERR_STORAGE`: the storage refuses a channel. */
  async subscribe(bus: Bus, channels: readonly string[]): Promise<void> {
    for (const channel of channels) {
      try {
        this.#unsubscribe.push(await bus.subscribe(channel, payload => this.#receive({ channel, payload })))
      } catch (error) {
        throw new FwsError('ERR_STORAGE', `cannot subscribe to channel "${channel}": ${messageOf(error)}`, error)
      }
    }
  }

  async stop(): Promise<void> {
    for (const unsubscribe of this.#unsubscribe.splice(0)) await unsubscribe()
    await this.settled()
  }

  /** Settles when all events are handled; `undefined` if they are. */
  settled(): Promise<void> | undefined {
    return this.#mailbox.isIdle ? undefined : new Promise(resolve => this.#mailbox.whenIdle(resolve))
  }

  handle(event: ChannelEvent): Promise<unknown> | undefined {
    const outcome = this.#hub.chains.consumer.run(event, this.#hub)
    return isPromise(outcome) ? (outcome as Promise<unknown>) : undefined
  }

  sizeOf({ payload }: ChannelEvent): number {
    return Buffer.byteLength(payload)
  }

  pause(): void {
    this.#hub.log.warn('consumer filters fall behind, dropping events')
  }

  resume(): void {}

  #receive(event: ChannelEvent): void {
    this.#hub.counters.events++
    if (this.#mailbox.paused) count(this.#hub.counters.drops, 'consumer behind')
    else this.#mailbox.receive(event)
  }
}
