import { delayBefore } from '../backoff.ts'
import { contain } from '../listeners.ts'
import { errorOf, type Position, type Publication, type Push, type Subscribed, type TopicsError } from './protocol.ts'

export interface Handlers {
  /** Each message, in order. */
  readonly onMessage: (data: Publication['data'], message: Publication) => void
  /**
   * Messages are missing: the server keeps them no longer, or does not keep the topic. Called before the messages that follow, with the
   * reason.
   */
  readonly onReset?: (reason: string) => void
  /** Subscribed, on each connection; called after the messages that came first. */
  readonly onSubscribed?: () => void
  /** The server has refused the subscription, or ended it. Default: the error is reported as uncaught. */
  readonly onEnd?: ((error: TopicsError) => void) | undefined
  /** Position of the last message that the application has: later ones come first. Default: only new messages. */
  readonly after?: Position | undefined
  /**
   * Number of past messages that come first if there is no position, and after a reset. The subscription is refused if the topic is not kept,
   * or the client may not read it. Default: 0.
   */
  readonly newest?: number
}

/**
 * Calls the server if there is a connection.
 *
 * @param onResult - called with the result, before the next message of the server.
 * @returns the result; rejects at the latest when the connection ends. `undefined`: there is no connection.
 */
export type Call = (
  method: string,
  params: object,
  onResult?: (result: Subscribed) => void,
) => Promise<Subscribed> | undefined

export type Subscriber = ReturnType<typeof subscriber>

/**
 * One topic: subscribes on each connection, from the last position.
 *
 * @param forget - called at the end.
 * @param onData - called with the `data` of a subscription that recovers no messages.
 */
export function subscriber(
  channel: string,
  { onMessage, onReset, onSubscribed, onEnd = fail, after, newest }: Handlers,
  call: Call,
  forget: () => void,
  onData?: (data: Subscribed['data']) => void,
) {
  let position = after
  /** The reason why messages will be missing after the next subscription, since the position is not valid. */
  let missing = ''
  let isSubscribed = false
  let isEnded = false
  let attempt = 0
  let timer: ReturnType<typeof setTimeout> | undefined

  function deliver(message: Publication): void {
    if (isEnded) return
    if (position && message.offset) position = { ...position, offset: message.offset }
    contain(() => onMessage(message.data, message))
  }

  async function subscribe(): Promise<void> {
    clearTimeout(timer)
    const known = missing ? undefined : position
    const past = newest && !known ? await call('history', { channel, limit: newest, reverse: true }) : undefined
    const from = known ?? (past && positionOf(past))
    if (isEnded) return
    await call(
      'subscribe',
      {
        channel,
        recoverable: true,
        // Error 112 instead of a subscription that has missed messages.
        flag: 2,
        ...(from && { recover: true, ...from }),
      },
      // At once, since messages may follow in the same frame.
      reply => {
        if (isEnded) return
        isSubscribed = true
        attempt = 0
        position = reply.recoverable ? positionOf(reply) : undefined
        if (missing) contain(() => onReset?.(missing))
        missing = position ? '' : 'not kept'
        if (!from) onData?.(reply.data)
        for (const message of [...(past?.publications?.reverse() ?? []), ...(reply.publications ?? [])])
          deliver(message)
        if (onSubscribed) contain(onSubscribed)
      },
    )
  }

  const start = () => subscribe().catch(retryOrEnd)

  function retryOrEnd(error: TopicsError): void {
    const { code, message, temporary } = error
    isSubscribed = false
    clearTimeout(timer)
    // The missed messages are no longer kept, or the position is not valid any more.
    if (code === 112 || code === 2502) missing = message
    else if (!temporary && (code as number) < 2500) end(error)
    // The next connection starts it.
    if (!isEnded && code !== 'lost') timer = setTimeout(start, delayBefore(attempt++, 500, 20_000))
  }

  function end(error?: TopicsError): void {
    if (isEnded) return
    isEnded = true
    clearTimeout(timer)
    forget()
    if (error) contain(() => onEnd(error))
    else call('unsubscribe', { channel })?.catch(() => {})
  }

  return {
    start,
    push({ pub, unsubscribe }: Push): void {
      // Before the reply they belong to a subscription that has ended.
      if (pub && isSubscribed) deliver(pub)
      if (unsubscribe) retryOrEnd(errorOf({ code: unsubscribe.code, message: unsubscribe.reason }))
    },
    get position() {
      return position
    },
    unsubscribe: () => end(),
  }
}

const positionOf = ({ epoch, offset }: Position): Position => ({ epoch, offset })

function fail(error: Error): never {
  throw error
}
