import type { Args, Kwargs } from '../../protocols/clever-show/message.ts'
import { listeners } from '../listeners.ts'
import type { Sendable } from '../queue.ts'
import type { ConnectionState, SocketClass } from '../reconnecting-socket.ts'
import { MessagingError } from './error.ts'
import type { MessagingEvents } from './events.ts'
import type { FileData, Source } from './file-source.ts'
import type { GetFileOptions, Sink } from './get-file.ts'
import type { CallOptions } from './outbox.ts'
import type { SendFileOptions, SentFile } from './send-file.ts'
import { type Clock, localTime } from './server-time.ts'
import { openSession, type SessionOptions } from './session.ts'
import type { Hash } from './sha256.ts'
import type { Sharing } from './shared-files.ts'
import type { Accept, Delivery, Handler } from './task-queue.ts'
import type { TransferContext, TransferOptions } from './transfer.ts'

/** Bytes of the messages of the server that wait for the module of handlers; each counts as more, which bounds their number. */
const MAX_WAITING = 10_000_000
const OVERHEAD = 10_000

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

/** Handlers of the server's messages, and its clock, which browsers load on demand. */
const loadHandlers = () => import('./handlers.ts')
type HandlersModule = Awaited<ReturnType<typeof loadHandlers>>

/**
 * @param classFor - socket class for a URL.
 * @param hash - makes a SHA-256. Default: an implementation in JavaScript.
 * @param handlersModule - default: it is loaded on demand.
 */
export function messagingOf(
  url: string,
  options: MessagingOptions,
  classFor: (url: string) => SocketClass | undefined,
  hash?: () => Hash,
  handlersModule?: HandlersModule,
): MessagingConnection {
  const events = listeners<MessagingEvents>()
  const handlers = {
    message: new Map<string, Set<Handler>>(),
    request: new Map<string, Set<Handler>>(),
    topic: new Map<string, Set<Handler>>(),
  }
  const clock = {
    offset: 0,
    error: Infinity,
    now: () => localTime() + clock.offset,
    sync: async () => (await load()).sync(),
  }
  let loaded: ReturnType<HandlersModule['handlersOf']> | undefined
  /** Messages of the server that wait for the module of handlers, and their bytes. */
  const waiting: Parameters<Accept>[] = []
  let bytes = 0

  function start({ handlersOf }: HandlersModule) {
    loaded ??= handlersOf({ session, events, handlers, clock, files: options.files, add })
    bytes = 0
    for (const message of waiting.splice(0)) loaded.accept(...message)
    return loaded
  }

  const load = async () => start(await loadHandlers())

  const accept: Accept = (...message) => {
    if (loaded) return loaded.accept(...message)
    const [, size, onUnreadable] = message
    if (bytes + size > MAX_WAITING) return onUnreadable(new MessagingError('busy', 'too many messages'))
    waiting.push(message)
    bytes += size + OVERHEAD
    load().catch(onUnreadable)
  }

  const session = openSession(url, options, classFor, events.emit, accept, () => {
    waiting.length = 0
    loaded?.stop()
  })
  const { outbox, loadFiles } = session
  if (handlersModule) start(handlersModule)

  function add(kind: keyof typeof handlers, name: string, handler: Handler): () => void {
    const named = handlers[kind]
    const set = named.get(name) ?? new Set()
    named.set(name, set.add(handler))
    return () => {
      if (set.delete(handler) && set.size === 0) named.delete(name)
    }
  }

  const addOwn = (kind: 'message' | 'request') => (name: string, handler: ActionHandler) => {
    if (/^(fws\.|filetransfer$)/.test(name)) throw new TypeError(`the name "${name}" is reserved`)
    // Saves time for the first message.
    load().catch(() => {})
    return add(kind, name, handler)
  }

  return Object.assign(session, {
    hash,
    clock,
    on: events.add,
    action: addOwn('message'),
    request: addOwn('request'),
    call: outbox.call.bind(undefined, 'request'),
    deliver: (name, args, kwargs, settings) =>
      outbox.call('message', name, args, kwargs, { timeout: 60_000, ...settings }) as Promise<void>,
    emit: (name, args, kwargs) => session.hasRoom() && outbox.emit(name, args, kwargs),
    send: data =>
      session.hasRoom() &&
      (typeof data === 'string' ? outbox.emit('message', [data], {}, data) : session.sendPlain(data)),
    subscribe: async (topic, handler) => (await load()).subscribe(topic, handler),
    async sendFile(data, filepath, settings = {}) {
      // Together, so that a rejection of the data during the load is handled.
      const [files, source] = await Promise.all([loadFiles(), data])
      return files.sendFile(session, source, filepath, settings)
    },
    getFile: async (filepath: string, settings: GetFileOptions<unknown> = {}) =>
      (await loadFiles()).getFile(session, filepath, settings) as never,
  } satisfies Omit<MessagingConnection, keyof typeof session> & Pick<TransferContext, 'hash'>)
}
