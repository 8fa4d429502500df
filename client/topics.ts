import { type Connection, type ConnectionEvents, type ConnectOptions, connect } from './connection.ts'
import { LOST, UNAUTHENTICATED } from './reconnecting-socket.ts'
import { type Present, presenceOf } from './topics/presence.ts'
import { type Accepted, errorOf, type Position, type Reply, type Subscribed } from './topics/protocol.ts'
import { type Call, type Handlers, type Subscriber, subscriber } from './topics/subscription.ts'

export type { Present } from './topics/presence.ts'
export type { Position, Publication, TopicsError } from './topics/protocol.ts'

export interface SubscribeOptions extends Handlers {
  /** The users that have joined the topic, at first and after changes. Above `--presence-max` users only their number is known. */
  readonly onPresence?: (users: readonly Present[], count: number) => void
}

/** A topic of a connection. */
export interface Subscription {
  /** Position of the last message, for `after`; `undefined` on topics that are not kept. */
  readonly position: Position | undefined
  unsubscribe(): void
}

/** A connection for the topics of a server. */
export interface Topics extends Pick<Connection, 'state' | 'close'> {
  /** Subscribes on each connection, until it is unsubscribed. @throws Error: subscribed already. */
  subscribe(topic: string, options: SubscribeOptions): Subscription
  /**
   * Publishes a message to a topic; without a connection it waits for one, within `timeout`.
   *
   * @param data - a value that JSON represents.
   * @returns its position; empty on a topic that is not kept.
   * @throws (rejects) TopicsError
   */
  publish(topic: string, data: unknown): Promise<Partial<Position>>
  /** As for `connect`; `code` of a close may be an error of the protocol, below 1000. @returns removes the listener. */
  on<E extends 'open' | 'close'>(type: E, listener: (event: ConnectionEvents[E]) => void): () => void
}

/** As for `connect`. `timeout` also bounds each call. */
export type TopicsOptions = Omit<ConnectOptions, 'outgoing' | 'maxQueued' | 'maxQueuedBytes'>

/**
 * Connects to a server with the filter `centrifuge`, and reconnects when the connection breaks. Missed messages of topics that are kept
 * come first then.
 *
 * @param url - `wss:`, `ws:`, or the origin of a page; without the path of the filter.
 * @example
 * const topics = connectTopics(location.origin)
 * topics.subscribe('chat/1', { newest: 50, onMessage: show, onReset: clear })
 * await topics.publish('chat/1', { text: 'hello' })
 */
export function connectTopics(url: string | URL, options: TopicsOptions = {}): Topics {
  const connection = connect(
    String(url).replace(/^http/, 'ws').replace(/\/?$/, '/connection/websocket'),
    options,
    codeOf,
  )
  const subscribers = new Map<string, Subscriber>()
  /** Handlers of the replies, by id. */
  const replies = new Map<number, (reply: Reply) => void>()
  /** Commands that wait for a connection, by id. */
  const waiting = new Map<number, string>()
  /** The reply to `connect`. */
  let accepted: Accepted | undefined
  let lastId = 0
  /** Commands of this turn. */
  let frame = ''
  let timer: ReturnType<typeof setTimeout> | undefined

  const isOpen = () => connection.state === 'open'
  const lose = (reason: string) => connection.drop(LOST, reason)

  function flush(): void {
    if (frame) connection.sendNow(frame)
    frame = ''
  }

  function write(command: string): void {
    // The server limits the size of a message.
    if (frame.length > 32_768) flush()
    if (frame) frame += '\n'
    else queueMicrotask(flush)
    frame += command
  }

  // biome-ignore lint/suspicious/noExplicitAny: the caller knows the result of its method
  const call = (method: string, params: object, onResult?: (result: any) => void) =>
    // biome-ignore lint/suspicious/noExplicitAny: as above
    new Promise<any>((resolve, reject) => {
      const id = ++lastId
      const command = JSON.stringify({ id, [method]: params })
      const timer = setTimeout(() => {
        const message = `no answer to ${method}`
        // The server may have subscribed: a new connection has no subscriptions.
        if (method !== 'publish') lose(message)
        else settle({ error: { code: 'timeout', message } })
      }, options.timeout ?? 10_000)
      const settle = ({ error, [method]: result }: Reply) => {
        clearTimeout(timer)
        replies.delete(id)
        waiting.delete(id)
        if (error) return reject(errorOf(error))
        onResult?.(result)
        resolve(result)
      }
      replies.set(id, settle)
      if (isOpen()) write(command)
      else waiting.set(id, command)
    })

  const callNow: Call = (...args) => (isOpen() ? call(...args) : undefined)

  connection.on('open', () => {
    call('connect', {}, reply => {
      accepted = reply
      watch()
      // Final, unless the server says that it may succeed later.
    }).catch(({ code, temporary, message }) => connection.drop(temporary ? LOST : code, message))
    // In the same frame: the server answers them after it has accepted the connection.
    for (const { start } of subscribers.values()) start()
    waiting.forEach(write)
    waiting.clear()
  })

  connection.on('message', lines => {
    watch()
    try {
      for (const line of (lines as string).split('\n')) {
        const { push, ...reply } = JSON.parse(line)
        if (push) subscribers.get(push.channel)?.push(push)
        else if (reply.id) replies.get(reply.id)?.(reply)
        else if (accepted?.pong) write('{}')
      }
    } catch {
      lose('not JSON')
    }
  })

  connection.on('close', ({ retryIn }) => {
    accepted = undefined
    clearTimeout(timer)
    for (const [id, settle] of replies)
      if (!waiting.has(id) || retryIn === undefined) settle({ error: { code: 'lost', message: 'no reply' } })
  })

  /** A server that is silent for the interval of its pings and 10 s more is dead. */
  function watch(): void {
    clearTimeout(timer)
    if (accepted?.ping) timer = setTimeout(lose, accepted.ping * 1000 + 10_000, 'no ping')
  }

  function subscribe(
    topic: string,
    { onPresence, ...handlers }: SubscribeOptions,
    onData?: (data: Subscribed['data']) => void,
  ): Subscriber {
    if (subscribers.has(topic)) throw Error(`already subscribed to ${topic}`)
    let members: Subscriber | undefined
    const forget = () => {
      subscribers.delete(topic)
      members?.unsubscribe()
    }
    const added = subscriber(topic, handlers, callNow, forget, onData)
    subscribers.set(topic, added)
    added.start()
    if (onPresence) {
      const watchMembers = () => {
        members?.unsubscribe()
        members = subscribe(`@presence/${topic}`, { onMessage, onEnd: handlers.onEnd }, onMessage)
      }
      const onMessage = presenceOf(onPresence, watchMembers)
      watchMembers()
    }
    return added
  }

  return Object.assign(connection, {
    subscribe,
    publish: (channel: string, data: unknown) => call('publish', { channel, data }),
  })
}

/** The close code of `fws-server` for a close code or an error (below 1000) of the protocol. 3500 to 3999 and 4500 to 4999 are final. */
function codeOf(code: number): number {
  if (code === 109 || code === 3500) return UNAUTHENTICATED
  return code < 1000 || code % 1000 >= 500 ? 1000 : code
}
