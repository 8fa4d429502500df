import { Centrifuge, type Options, type Subscription, type SubscriptionOptions } from 'centrifuge'
import { WebSocket } from 'ws'
import { Peer, until } from './peer.ts'

export const ENDPOINT = '/connection/websocket'

/** What a page saw of one channel, in order: `= N` subscribed, `! CODE` back to subscribing, `x CODE` unsubscribed, or a message. */
export interface Page {
  readonly client: Centrifuge
  readonly sub: Subscription
  readonly seen: string[]
  /** Resolves when the last of `seen` is this. */
  sees(last: string): Promise<void>
}

/** An unmodified centrifuge-js; it is disconnected after the test. */
export function centrifuge(
  t: { after(fn: () => void): void },
  url: string,
  options: Partial<Options> = {},
): Centrifuge {
  const client = new Centrifuge(`${url}${ENDPOINT}`, {
    websocket: WebSocket,
    minReconnectDelay: 10,
    maxReconnectDelay: 200,
    ...options,
  })
  t.after(() => client.disconnect())
  return client
}

/** A connected centrifuge-js with one subscription, which says what it sees. */
export function page(
  t: { after(fn: () => void): void },
  url: string,
  channel: string,
  { options, ...how }: Partial<SubscriptionOptions> & { readonly options?: Partial<Options> } = {},
): Page {
  const client = centrifuge(t, url, options)
  const sub = client.newSubscription(channel, { minResubscribeDelay: 10, maxResubscribeDelay: 200, ...how })
  const seen = watched(sub)
  sub.subscribe()
  client.connect()
  return {
    client,
    sub,
    seen,
    async sees(last) {
      try {
        await until(() => seen.at(-1) === last)
      } catch {
        throw new Error(`waited for "${last}", saw ${JSON.stringify(seen)}`)
      }
    },
  }
}

export function watched(sub: Subscription): string[] {
  const seen: string[] = []
  sub.on('subscribed', ({ recovered, wasRecovering, hasRecoveredPublications }) => {
    const how = !wasRecovering ? 'subscribed' : recovered ? 'recovered' : 'not recovered'
    seen.push(hasRecoveredPublications ? `= ${how}, publications` : `= ${how}`)
  })
  sub.on('subscribing', ({ code }) => code !== 0 && seen.push(`! ${code}`))
  sub.on('unsubscribed', ({ code }) => seen.push(`x ${code}`))
  sub.on('error', ({ error }) => seen.push(`error ${error.code}`))
  sub.on('publication', ({ data, offset }) => seen.push(`${offset === undefined ? '' : `${offset} `}${show(data)}`))
  return seen
}

const show = (data: unknown) => (typeof data === 'string' ? data : JSON.stringify(data))

/** A raw client: objects in, objects out. */
export class Raw {
  readonly peer: Peer

  private constructor(peer: Peer) {
    this.peer = peer
  }

  static async open(url: string): Promise<Raw> {
    return new Raw(await Peer.open(`${url}${ENDPOINT}`))
  }

  /** A connected one; the reply is the first message. */
  static async connected(url: string): Promise<Raw> {
    const raw = await Raw.open(url)
    raw.send({ id: 1, connect: {} })
    await raw.get(1)
    return raw
  }

  /** Sends all commands in one frame. */
  send(...commands: readonly unknown[]): void {
    this.peer.send(commands.map(command => JSON.stringify(command)).join('\n'))
  }

  /** Without pings, which may come at any time. */
  get messages(): readonly Record<string, unknown>[] {
    return this.peer.received
      .flatMap(frame => String(frame).split('\n'))
      .filter(line => line !== '{}')
      .map(line => JSON.parse(line))
  }

  async get(count: number): Promise<readonly Record<string, unknown>[]> {
    await until(() => this.messages.length >= count, `${count} messages, got ${JSON.stringify(this.messages)}`)
    return this.messages.slice(0, count)
  }

  /** The reply to a command, without its id. */
  async reply(id: number): Promise<unknown> {
    const found = () => this.messages.find(message => message.id === id)
    await until(() => found() !== undefined, `a reply to ${id}, got ${JSON.stringify(this.messages)}`)
    const { id: _, ...rest } = found()!
    return rest
  }
}
