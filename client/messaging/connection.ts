import type { Args, Kwargs, Request } from '../../protocols/clever-show/message.ts'
import { listeners } from '../listeners.ts'
import type { Sendable } from '../queue.ts'
import type { ConnectionState, SocketClass } from '../reconnecting-socket.ts'
import { MessagingError } from './error.ts'
import type { MessagingEvents } from './events.ts'
import type { FileData, Source } from './file-source.ts'
import type { Action } from './format.ts'
import type { GetFileOptions, Sink } from './get-file.ts'
import type { CallOptions } from './outbox.ts'
import { clockOf, schedulerOf } from './scheduler.ts'
import type { SendFileOptions, SentFile } from './send-file.ts'
import { type Clock, localTime } from './server-time.ts'
import { openSession, type SessionOptions } from './session.ts'
import type { Hash } from './sha256.ts'
import type { Sharing } from './shared-files.ts'
import { type Delivery, type Result, taskQueueOf } from './task-queue.ts'
import type { TransferContext, TransferOptions } from './transfer.ts'

/** For requests that are made again on each connection. */
const INTERNAL = { timeout: 5000, resends: false }

/** Processes an action. The next action waits for the promise; the value is ignored. */
export type ActionHandler = (args: Args, kwargs: Kwargs, delivery: Delivery) => unknown
/** Processes a request. The value, or the value of the promise, is the response. */
export type RequestHandler = ActionHandler
/** Processes the actions of a topic, as an `ActionHandler`. */
export type TopicHandler = (action: string, args: Args, kwargs: Kwargs, delivery: Delivery) => unknown

export interface MessagingOptions extends SessionOptions {
  /** Files that the server may write and read: `blobs(...)`, in Node also `folder(...)`. Default: no files. */
  readonly files?: Sharing
}

/**
 * A connection to a server with the filter `messaging`: actions, and requests in both directions. Use `connectMessaging`.
 *
 * Methods that return promises reject with a `MessagingError`, or with the reason of the signal.
 */
export interface MessagingConnection {
  readonly state: ConnectionState
  readonly id: string
  /** Messages that wait for a connection. */
  readonly queued: number
  readonly clock: Clock
  /** Adds a listener. @returns removes it. */
  on<E extends keyof MessagingEvents>(type: E, listener: (event: MessagingEvents[E]) => void): () => void
  /**
   * Adds a handler for an action of the server. Actions are processed one after the other.
   *
   * @returns removes the handler.
   * @throws TypeError when the name is reserved.
   */
  action(name: string, handler: ActionHandler): () => void
  /** Adds a handler for a request of the server; the last one added responds. Requests run concurrently. As `action`. */
  request(name: string, handler: RequestHandler): () => void
  /**
   * Sends a request. Settles with the value of the response. When the connection breaks first, the request is sent again
   * under the same id.
   */
  call(name: string, args?: Args, kwargs?: Kwargs, options?: CallOptions): Promise<unknown>
  /**
   * Sends an action. Settles when the server has processed it; with a clever-show server over TCP, when it is sent.
   * Otherwise as `call`.
   */
  deliver(name: string, args?: Args, kwargs?: Kwargs, options?: CallOptions): Promise<void>
  /**
   * Sends an action without a response, now or after the next connect.
   *
   * @returns `false`: the connection is closed or the queue is full, and the action is discarded.
   */
  emit(name: string, args?: Args, kwargs?: Kwargs): boolean
  /**
   * Sends a plain message, to a server with the filter as action `message`. Bytes are sent only to servers without the
   * filter, and are not queued.
   *
   * @returns `false`: the message is discarded.
   */
  send(data: Sendable): boolean
  /**
   * Subscribes to a topic, on this connection and later ones. Rejects when the server refuses, for example with `forbidden`.
   * Without a response within 5 seconds it settles, and subscribes on the next connection.
   *
   * @returns (settles with) unsubscribes the handler.
   */
  subscribe(topic: string, handler: TopicHandler): Promise<() => void>
  /**
   * Sends a file to a path on the server, and resumes after a reconnect. Rejects with `off` if the server accepts no files.
   *
   * @example
   * await copter.sendFile(readFrom('/var/log/flight.csv'), 'logs/flight.csv')
   */
  sendFile(data: FileData | Source | Promise<Source>, filepath: string, options?: SendFileOptions): Promise<SentFile>
  /** Gets a file of the server and checks its hash; resumes after a reconnect. */
  getFile(filepath: string, options?: TransferOptions): Promise<Blob>
  getFile<T>(filepath: string, options: TransferOptions & { readonly into: Sink<T> }): Promise<T>
  /** Reconnects with other settings. Handlers stay, and queued messages are sent there. */
  reload(settings?: { readonly url?: string; readonly id?: string }): void
  /** Closes the connection for good; pending calls reject with `gone`. */
  close(code?: number, reason?: string): void
}

/**
 * @param classFor - socket class for a URL.
 * @param hash - makes a SHA-256. Default: an implementation in JavaScript.
 */
export function messagingOf(
  url: string,
  options: MessagingOptions,
  classFor: (url: string) => SocketClass | undefined,
  hash?: () => Hash,
): MessagingConnection {
  const { add: on, emit } = listeners<MessagingEvents>()
  const onError = (name: string, error: unknown) => emit('failed', { name, error })
  const clock = clockOf(internalCall)
  const scheduler = schedulerOf(clock)
  const tasks = taskQueueOf(response => session.respond(response), onError, scheduler, onFile)
  const session = openSession(url, options, classFor, emit, tasks.accept, scheduler.stop)
  const { outbox, loadFiles } = session
  const context: TransferContext = Object.assign(session, { hash })

  function internalCall(name: string, args: Args): Promise<unknown> {
    return outbox.value('request', name, args, {}, INTERNAL)
  }

  async function onFile(message: Action | Request): Promise<Result> {
    if (!options.files) throw new MessagingError('off', 'this client shares no files')
    return (await loadFiles()).respondToFile(options.files, message)
  }

  function add(kind: 'message' | 'request', name: string, handler: ActionHandler): () => void {
    if (/^(fws\.|filetransfer$)/.test(name)) throw new TypeError(`the name "${name}" is reserved`)
    return tasks.add(kind, name, handler)
  }

  tasks.add('request', 'id', () => session.id)
  tasks.add('request', 'time', localTime)
  tasks.add('request', 'fws.clock', () => [localTime(), localTime()])
  add('message', 'message', ([text]) => {
    if (typeof text === 'string') emit('message', text)
  })
  // Saves time for the first file. After a failure the first file loads it again.
  if (options.files) loadFiles().catch(() => {})
  on('open', () => {
    if (!session.isRegistered()) return
    for (const topic of tasks.topics.keys())
      internalCall('fws.subscribe', [topic]).catch(error => onError(topic, error))
    if (clock.error < Infinity) clock.sync().catch(error => onError('time', error))
  })

  return Object.assign(session, {
    clock,
    on,
    action: (name, handler) => add('message', name, handler),
    request: (name, handler) => add('request', name, handler),
    call: (name, args, kwargs, settings) => outbox.value('request', name, args, kwargs, settings),
    async deliver(name, args, kwargs, settings) {
      await outbox.value('message', name, args, kwargs, { timeout: 60_000, ...settings })
    },
    emit: (name, args, kwargs) => session.hasRoom() && outbox.emit(name, args, kwargs),
    send: data =>
      session.hasRoom() &&
      (typeof data === 'string' ? outbox.emit('message', [data], {}, data) : session.sendPlain(data)),
    async subscribe(topic, handler) {
      const remove = tasks.add('topic', topic, handler)
      try {
        await internalCall('fws.subscribe', [topic])
      } catch (error) {
        if (!/gone|timeout/.test((error as MessagingError).code)) {
          remove()
          throw error
        }
      }
      return () => {
        remove()
        if (!tasks.topics.has(topic)) internalCall('fws.unsubscribe', [topic]).catch(() => {})
      }
    },
    async sendFile(data, filepath, settings = {}) {
      // Together, so that a rejection of the data during the load is handled.
      const [files, source] = await Promise.all([loadFiles(), data])
      return files.sendFile(context, source, filepath, settings)
    },
    getFile: async (filepath: string, settings: GetFileOptions<unknown> = {}) =>
      (await loadFiles()).getFile(context, filepath, settings) as never,
  } satisfies Omit<MessagingConnection, keyof typeof session>)
}
