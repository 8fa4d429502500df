// Runs the handlers of the server's messages and topics, and measures its clock. Browsers load it on demand, as messaging-handlers.js.
import type { Args, Request } from '../../protocols/clever-show/message.ts'
import type { listeners } from '../listeners.ts'
import { MessagingError } from './error.ts'
import type { MessagingEvents } from './events.ts'
import { type Action, PLAIN } from './format.ts'
import { type Clock, localTime, measureServer } from './server-time.ts'
import type { openSession } from './session.ts'
import type { Sharing } from './shared-files.ts'
import { type Handler, type Handlers, type Result, taskQueueOf } from './task-queue.ts'

/** For requests that are made again on each connection. */
const INTERNAL = { timeout: 5000, resends: false }

/** The parts of a connection that its handlers use. */
export interface HandlersContext {
  readonly session: ReturnType<typeof openSession>
  readonly events: ReturnType<typeof listeners<MessagingEvents>>
  readonly handlers: Handlers
  readonly clock: Clock
  readonly files: Sharing | undefined
  add(kind: keyof Handlers, name: string, handler: Handler): () => void
}

export function handlersOf({ session, events, handlers, clock, files, add }: HandlersContext) {
  const onError = (name: string, error: unknown) => events.emit('failed', { name, error })
  /** Requests of clever-show and of the filter, unless the application has a handler. */
  const builtIn: Record<string, () => unknown> = {
    id: () => session.id,
    time: localTime,
    'fws.clock': () => [localTime(), localTime()],
  }
  const { accept, stop } = taskQueueOf(handlers, builtIn, session.respond, onError, clock, onFile)

  async function onFile(message: Action | Request): Promise<Result> {
    if (!files) throw new MessagingError('off', 'this client shares no files')
    return (await session.loadFiles()).respondToFile(files, message)
  }

  function call(name: string, args: Args): Promise<unknown> {
    return session.outbox.call('request', name, args, {}, INTERNAL)
  }

  async function sync(): Promise<void> {
    Object.assign(clock, await measureServer(call))
  }

  add('message', 'message', ([text]) => {
    if (typeof text === 'string') events.emit('message', text)
  })
  // Saves time for the first file. After a failure the first file loads it again.
  if (files) session.loadFiles().catch(() => {})
  events.add('open', ({ protocol }) => {
    if (!protocol || protocol === PLAIN) return
    for (const topic of handlers.topic.keys()) call('fws.subscribe', [topic]).catch(error => onError(topic, error))
    if (clock.error < Infinity) sync().catch(error => onError('time', error))
  })
  return {
    accept,
    stop,
    sync,
    async subscribe(topic: string, handler: Handler): Promise<() => void> {
      const remove = add('topic', topic, handler)
      try {
        await call('fws.subscribe', [topic])
      } catch (error) {
        if (!/gone|timeout/.test((error as MessagingError).code)) {
          remove()
          throw error
        }
      }
      return () => {
        remove()
        if (!handlers.topic.has(topic)) call('fws.unsubscribe', [topic]).catch(() => {})
      }
    },
  }
}
