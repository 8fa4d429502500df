import type { Args, Kwargs, Request } from '../../protocols/clever-show/message.ts'
import type { ConnectionState, SocketClass } from '../lasting-socket.ts'
import { listeners } from '../listeners.ts'
import type { Sendable } from '../queue.ts'
import { clockOf } from './clock.ts'
import { MessagingError } from './error.ts'
import type { MessagingEvents } from './events.ts'
import type { Action } from './format.ts'
import type { GetFileOptions, Sink } from './get-file.ts'
import { laterOf } from './later.ts'
import { FRAMES, type LinkOptions, linkTo } from './link.ts'
import { loadFiles } from './load-files.ts'
import type { AskOptions, CallOptions } from './outbox.ts'
import type { SendFileOptions, SentFile } from './send-file.ts'
import { type Clock, here } from './server-time.ts'
import type { Hash } from './sha256.ts'
import type { Sharing } from './shared.ts'
import type { FileData, Source } from './source.ts'
import type { Line, TransferOptions } from './transfer.ts'
import { type Delivery, type Reply, workOf } from './work.ts'

/** For what the client asks of its own accord; `timeout` in milliseconds. */
const ASIDE = { timeout: 5000, isKept: false }

/** Does something. What it returns tells nobody anything; the next action waits for its promise. */
export type ActionHandler = (args: Args, kwargs: Kwargs, delivery: Delivery) => unknown
/** What it returns, or its promise settles to, is the answer. */
export type RequestHandler = ActionHandler
/** Hears the actions of a topic. */
export type TopicHandler = (action: string, args: Args, kwargs: Kwargs, delivery: Delivery) => unknown

export interface MessagingOptions extends LinkOptions {
  /** What the server may send and get: `blobs(...)`, in Node also `folder(...)`. Default: nothing. */
  readonly files?: Sharing
}

/** A connection with a server that has the filter `messaging`: actions, and requests both ways. Use `connectMessaging`. */
export interface MessagingConnection {
  readonly state: ConnectionState
  readonly id: string
  /** Messages that wait for a connection. */
  readonly queued: number
  readonly clock: Clock
  /** Answers how to stop listening. */
  on<E extends keyof MessagingEvents>(type: E, listener: (event: MessagingEvents[E]) => void): () => void
  /** What to do when the server says an action; the next one waits until that is done. Answers how to stop. */
  action(name: string, handler: ActionHandler): () => void
  /** What to answer to the server's request; requests do not wait for each other, and the latest handler counts. Answers how to stop. */
  request(name: string, handler: RequestHandler): () => void
  /**
   * Asks the server. Sent again, under the same id, when the connection breaks before the answer. Rejects with a
   * `MessagingError`, or the reason of the signal.
   */
  call(name: string, args?: Args, kwargs?: Kwargs, options?: CallOptions): Promise<unknown>
  /** An action that the server answers when it has done it; as `call`. Where the server is the original: when it has gone out. */
  deliver(name: string, args?: Args, kwargs?: Kwargs, options?: CallOptions): Promise<void>
  /** An action that nobody answers, now or when there is a connection. `false`: closed, or too much waits, and it is not sent. */
  emit(name: string, args?: Args, kwargs?: Kwargs): boolean
  /**
   * A plain message: an action `message` where the server has the filter. Bytes go to servers without it alone, and do not
   * wait. `false`: it is not sent.
   */
  send(data: Sendable): boolean
  /**
   * Hears the actions of a topic, on each connection; settles with how to stop. Rejects with a `MessagingError` where the
   * server refuses, such as `forbidden`; one that cannot be asked now is asked when there is a connection.
   */
  subscribe(topic: string, handler: TopicHandler): Promise<() => void>
  /**
   * Sends a file to a path on the server; goes on where it was when the connection breaks. Rejects with a
   * `MessagingError`, such as `off` where the server takes none, or the reason of the signal.
   */
  sendFile(data: FileData | Source | Promise<Source>, filepath: string, options?: SendFileOptions): Promise<SentFile>
  /** Gets a file of the server, whole and with the hash that it has there; as `sendFile`. */
  getFile(filepath: string, options?: TransferOptions): Promise<Blob>
  getFile<T>(filepath: string, options: TransferOptions & { readonly into: Sink<T> }): Promise<T>
  /** Closes, and connects anew with other settings; handlers stay, and so does what waits. */
  reload(settings?: { readonly url?: string; readonly id?: string }): void
  /** For good; what waits is given up. */
  close(code?: number, reason?: string): void
}

/**
 * @param classFor - what to connect with.
 * @param hash - SHA-256; default: one of our own.
 */
export function messagingOf(
  url: string,
  options: MessagingOptions,
  classFor: (url: string) => SocketClass | undefined,
  hash?: () => Hash,
): MessagingConnection {
  const { add: on, tell } = listeners<MessagingEvents>()
  const failed = (name: string, error: unknown) => tell('failed', { name, error })
  const clock = clockOf(aside)
  const later = laterOf(clock)
  const work = workOf(frame => link.sendNow(frame, false), failed, later, answerFile)
  const link = linkTo(url, options, classFor, tell, work.take, later.stop)
  const { outbox } = link
  const line: Line = Object.assign(link, { hash })

  /** What is asked anew on each connection. */
  function aside(name: string, args: Args): Promise<unknown> {
    return call(name, args, {}, ASIDE)
  }

  async function call(name: string, args?: Args, kwargs?: Kwargs, settings?: AskOptions): Promise<unknown> {
    return (await outbox.ask('request', name, args, kwargs, settings)).value
  }

  async function answerFile(message: Action | Request): Promise<Reply> {
    if (!options.files) throw new MessagingError('off', 'this client shares no files')
    return (await loadFiles()).answerFile(options.files, message)
  }

  function add(what: 'message' | 'request', name: string, handler: ActionHandler): () => void {
    if (/^(fws\.|filetransfer$)/.test(name)) throw new TypeError(`no handler can have the name "${name}"`)
    return work.add(what, name, handler)
  }

  work.add('request', 'id', () => link.id)
  work.add('request', 'time', here)
  work.add('request', 'fws.clock', () => [here(), here()])
  add('message', 'message', ([text]) => {
    if (typeof text === 'string') tell('message', text)
  })
  // It will be needed: the sooner the better. What comes before waits for it, and asks again if it did not load.
  if (options.files) loadFiles().catch(() => {})
  on('open', ({ protocol }) => {
    if (protocol !== FRAMES) return
    for (const topic of work.topics.keys()) aside('fws.subscribe', [topic]).catch(error => failed(topic, error))
    if (Number.isFinite(clock.error)) clock.sync().catch(error => failed('time', error))
  })

  return Object.assign(link, {
    clock,
    on,
    action: (name, handler) => add('message', name, handler),
    request: (name, handler) => add('request', name, handler),
    call,
    async deliver(name, args, kwargs, settings) {
      await outbox.ask('message', name, args, kwargs, { timeout: 60_000, ...settings })
    },
    emit: (name, args, kwargs) => link.isFree() && outbox.tell(name, args, kwargs),
    send: data =>
      link.isFree() && (typeof data === 'string' ? outbox.tell('message', [data], {}, data) : link.sendNow(data, true)),
    async subscribe(topic, handler) {
      const leave = work.add('topic', topic, handler)
      try {
        await aside('fws.subscribe', [topic])
      } catch (error) {
        if (!/gone|timeout/.test((error as MessagingError).code)) {
          leave()
          throw error
        }
      }
      return () => {
        leave()
        if (!work.topics.has(topic)) aside('fws.unsubscribe', [topic]).catch(() => {})
      }
    },
    async sendFile(data, filepath, settings = {}) {
      // Together: what rejects while the other loads is heard as well.
      const [files, source] = await Promise.all([loadFiles(), data])
      return files.sendFile(line, source, filepath, settings)
    },
    getFile: async (filepath: string, settings: GetFileOptions<unknown> = {}) =>
      (await loadFiles()).getFile(line, filepath, settings) as never,
  } satisfies Omit<MessagingConnection, keyof typeof link>)
}
