import { setImmediate as nextTurn } from 'node:timers/promises'
import { type Client, DROP, type Drop, type FilterApis, type Payload, type Removal } from 'filtered-websocket'
import { type Pinged, withDeadline } from 'filtered-websocket/kit'
import type { Channels } from './channels.ts'
import { type Codecs, FORMAT } from './codec.ts'
import { CLOSE, errorOf } from './codes.ts'
import { CommandError, replyTo } from './command-error.ts'
import { type Command, channelIn, parseCommand, type Request } from './commands.ts'
import { watchedIn } from './members.ts'
import type { Recoveries } from './recovery.ts'
import { Subscriptions } from './subscriptions.ts'
import { expiryOf } from './tokens.ts'

/** Commands in one message. */
const MAX_COMMANDS = 1000
/** Milliseconds for all commands of a message: the storage may be away, and official clients wait for 5 s. */
const COMMANDS_MS = 4000
/** Milliseconds of commands between two reads of the sockets. */
const SLICE_MS = 5
/** Bytes of replies that the client has not read, from which on its next command waits. */
const MAX_UNREAD = 65_536
/** Field `version` of the protocol. */
const VERSION = 'filtered-websocket'

/** Methods of commands. */
const METHODS = [
  'connect',
  'subscribe',
  'unsubscribe',
  'publish',
  'history',
  'presence',
  'presence_stats',
  'rpc',
  'refresh',
  'sub_refresh',
  'send',
] as const
type Method = (typeof METHODS)[number]

/** State shared by the sessions of a server. */
export interface Service {
  readonly codecs: Codecs
  readonly channels: Channels
  readonly recoveries: Recoveries
  readonly commands: Readonly<Record<string, Command>>
  readonly maxChannels: number
  /** Characters of a command. */
  readonly maxCommand: number
  /** Seconds between pings; 0: none are sent. */
  readonly ping: number
  /** `undefined`: no guard checks tokens. */
  readonly jwt: FilterApis['jwt'] | undefined
  readonly presence: FilterApis['presence'] | undefined
  /** Called with the data of `send`. */
  onSend(data: unknown, client: Client): void
  /** Called when a client is connected. */
  onConnected(session: Session): void
  /** Called with unexpected errors. */
  onError(error: unknown, method: string): void
}

/** The connection of one client. */
export class Session implements Pinged {
  readonly client: Client
  readonly isReadPaused = false
  readonly bytesOut = 0
  readonly #service: Service
  readonly #subscriptions: Subscriptions
  #isConnected = false
  #isClosed = false
  #messages = 0
  /** Whether commands are running: a pong waits behind them. */
  #isBusy = false
  /** Replies that are sent together. */
  #replies: string[] = []

  constructor(client: Client, service: Service) {
    this.client = client
    this.#service = service
    this.#subscriptions = new Subscriptions({ client, ...service, push: message => this.#send(message) })
    client.onGone(() => {
      this.#isClosed = true
    })
  }

  /** Counts messages, as a sign of life. Also grows while commands run or bytes wait, since a pong would wait behind them. */
  get bytesIn(): number {
    if (this.#isBusy || this.client.buffered > 0) this.#messages++
    return this.#messages
  }

  ping(): void {
    this.#send('{}')
  }

  /** It has not answered the last ping. */
  terminate(): void {
    this.client.disconnect(CLOSE.noPong, 'no pong')
  }

  /** Handles a message: commands, separated by newlines. */
  message(payload: Payload): Drop | Promise<Drop> {
    this.#messages++
    const commands = typeof payload === 'string' ? this.#read(payload) : undefined
    if (commands === undefined) return this.#close(CLOSE.badRequest, 'bad request')
    return commands.length === 0 ? DROP : this.#run(commands)
  }

  /** Whether a token of the client permits the channel. */
  isProven(channel: string): boolean {
    return this.#subscriptions.isProven(channel)
  }

  /** @param now - seconds since 1970. */
  sweep(now: number): void {
    this.#subscriptions.sweep(now)
  }

  removed(topic: string, why: Removal): void {
    if (this.#isConnected) this.#subscriptions.removed(topic, why)
  }

  close(): void {
    this.#subscriptions.close()
  }

  /** `undefined` unless all are objects; pongs are left out. */
  #read(payload: string): Request[] | undefined {
    const commands: Request[] = []
    for (let start = 0; start < payload.length; ) {
      const newline = payload.indexOf('\n', start)
      const end = newline === -1 ? payload.length : newline
      if (end > start && payload.slice(start, end) !== '{}') {
        const command = parseCommand(payload.slice(start, end), this.#service.maxCommand)
        if (command === undefined || commands.push(command) > MAX_COMMANDS) return undefined
      }
      start = end + 1
    }
    return commands
  }

  /**
   * Commands run one after the other, since later ones may depend on them. Subscriptions, of which a client sends many at once when
   * it connects, run together; those to the members of a topic follow, since the token for the topic may be in the same message.
   */
  async #run(commands: readonly Request[]): Promise<Drop> {
    const end = performance.now() + COMMANDS_MS
    let sliceEnd = performance.now() + SLICE_MS
    const subscribing: (Promise<void> | undefined)[] = []
    this.#isBusy = true
    for (const command of commands) {
      const method = METHODS.find(name => Object.hasOwn(command, name))
      if (method !== 'subscribe' || isForMembers(command[method])) {
        if (subscribing.length > 0) await this.#settled(subscribing)
        if (this.client.buffered > MAX_UNREAD) await this.#drained(end)
      }
      if (performance.now() > sliceEnd) {
        await nextTurn()
        sliceEnd = performance.now() + SLICE_MS
      }
      if (this.#isClosed) break
      const pending = this.#handle(method, command, end)
      if (method === 'subscribe') subscribing.push(pending)
      else if (pending !== undefined) await this.#settled([pending])
    }
    await this.#settled(subscribing)
    this.#isBusy = false
    return DROP
  }

  /** The replies so far are sent before the wait. */
  async #settled(commands: (Promise<void> | undefined)[]): Promise<void> {
    this.#flush()
    await Promise.all(commands.splice(0))
    this.#flush()
  }

  /** Waits until the client has read its replies. After the time of the message its commands get errors. */
  async #drained(end: number): Promise<void> {
    const ms = end - performance.now()
    if (ms > 0) await withDeadline(this.client.drained(), ms, 'drained').catch(() => {})
  }

  /** @returns a promise that does not reject, or `undefined` if the command is done. */
  #handle(method: Method | undefined, command: Request, end: number): Promise<void> | undefined {
    const { id } = command
    const request = method === undefined ? {} : command[method]
    const isRequest = typeof request === 'object' && request !== null
    if (method === 'send' && this.#isConnected && isRequest) {
      try {
        this.#service.onSend((request as Request).data, this.client)
      } catch (error) {
        this.#service.onError(error, method)
      }
      return undefined
    }
    const isValid = Number.isSafeInteger(id) && (id as number) > 0 && isRequest
    if (!isValid || this.#isConnected === (method === 'connect')) {
      this.#close(CLOSE.badRequest, 'bad request')
      return undefined
    }
    return this.#answer(id as number, method, request as Request, end)
  }

  #answer(id: number, method: Method | undefined, request: Request, end: number): Promise<void> | undefined {
    if (method === 'connect') {
      this.#connect(id, request)
      return undefined
    }
    return this.#execute(id, method, request, end - performance.now()).then(
      result => {
        if (result !== undefined) this.#replies.push(`{"id":${id},"${method}":${result}}`)
      },
      error => this.#failed(id, method, error),
    )
  }

  /** @returns the reply as JSON; `undefined` if it has been sent. */
  async #execute(id: number, method: Method | undefined, request: Request, ms: number): Promise<string | undefined> {
    if (ms <= 0) throw new CommandError(100)
    if (method === 'subscribe') {
      await this.#subscriptions.subscribe(request, ms, (...reply) => this.#subscribed(id, ...reply))
      return undefined
    }
    if (method === 'unsubscribe') {
      this.#subscriptions.unsubscribe(channelIn(request, true))
      return '{}'
    }
    if (method === 'refresh') return withDeadline(this.#refresh(request), ms, 'a refresh')
    if (method === 'sub_refresh') return withDeadline(this.#subscriptions.refresh(request), ms, 'a refresh')
    const command = method === undefined ? undefined : this.#service.commands[method]
    if (command === undefined) throw new CommandError(104)
    return withDeadline(command(this.client, request), ms, `command ${method}`)
  }

  #failed(id: number, method: Method | undefined, error: unknown): void {
    const known = replyTo(error)
    if (known === undefined) this.#service.onError(error, method ?? 'unknown')
    this.#replies.push(JSON.stringify({ id, error: known ?? errorOf(100) }))
  }

  #connect(id: number, { token = '' }: Request): void {
    const { client } = this
    const { codecs, jwt, ping, onConnected } = this.#service
    // A client with a token MUST NOT become anonymous if no guard checks it.
    if ((token !== '' && jwt === undefined) || this.#isForChannel) {
      this.#close(CLOSE.invalidToken, 'invalid token')
      return
    }
    const subs = Object.fromEntries(Array.from(client.topics, name => [name, {}]))
    const connect = {
      client: client.id,
      version: VERSION,
      // Clients in typed languages require an integer.
      ...(ping > 0 && { ping: Math.ceil(ping), pong: true }),
      ...expiryOf(client.state.user?.exp),
      ...(client.topics.size > 0 && { subs }),
    }
    this.#isConnected = true
    this.#replies.push(JSON.stringify({ id, connect }))
    this.#flush()
    client.codec = codecs.connected
    client.admit()
    onConnected(this)
  }

  /** Whether its token is a subscription token, which is not valid for a connection. */
  get #isForChannel(): boolean {
    return this.client.state.user?.channel !== undefined
  }

  /** A refused token ends the connection; if it has expired, with a code after which the client returns with a new one. */
  async #refresh({ token }: Request): Promise<string | undefined> {
    const { client } = this
    if (client.state.renewToken === undefined || typeof token !== 'string') throw new CommandError(108)
    const before = new Set(client.topics)
    const renewal = await client.state.renewToken(token, client)
    for (const channel of client.topics)
      if (!before.has(channel)) this.#send(JSON.stringify({ push: { channel, subscribe: {} } }))
    if (typeof renewal === 'symbol') return undefined
    if (this.#isForChannel) {
      this.#close(CLOSE.invalidToken, 'invalid token')
      return undefined
    }
    if (renewal.auth === 'ok')
      return JSON.stringify({ client: client.id, version: VERSION, ...expiryOf(renewal.expires) })
    if (renewal.reason.endsWith('unavailable')) throw new CommandError(100)
    this.#close(renewal.reason === 'expired' ? CLOSE.expired : CLOSE.invalidToken, renewal.reason)
    return undefined
  }

  /** In the turn in which the client becomes a member: publications follow. */
  #subscribed(id: number, head: string, publications: string | Buffer | undefined, tail: string): void {
    const start = `{"id":${id},"subscribe":${head}`
    if (Buffer.isBuffer(publications)) {
      this.#flush()
      const parts = [Buffer.from(start), publications, Buffer.from(`${tail}}`)]
      this.#service.codecs.sendParts(parts, (payload, format) => this.client.send(payload, format))
      return
    }
    this.#replies.push(`${start}${publications ?? ''}${tail}}`)
    this.#flush()
  }

  #flush(): void {
    if (this.#replies.length === 0) return
    this.#send(this.#replies.join('\n'))
    this.#replies = []
  }

  #send(message: string): void {
    this.client.send(message, FORMAT)
  }

  /** Closes the client; its later commands are not run. */
  #close(code: number, reason: string): Drop {
    this.#isClosed = true
    return this.client.disconnect(code, reason)
  }
}

/** Whether a subscription is to the members of a topic. */
function isForMembers(request: unknown): boolean {
  const { channel } = Object(request) as Request
  return typeof channel === 'string' && watchedIn(channel) !== undefined
}
