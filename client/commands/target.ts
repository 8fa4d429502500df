import type { Readable, Writable } from 'node:stream'
import type { OptionSpecs, OptionValues } from 'filtered-websocket'
import {
  certificatesIn,
  commandError,
  Heartbeat,
  isLoopback,
  optionError,
  readPem,
  readTlsFiles,
} from 'filtered-websocket/kit'
import type { ClientOptions } from 'ws'
import { type Connection, connect } from '../connection.ts'
import { LOST, type SocketClass, type SocketEvents, type SocketOptions } from '../reconnecting-socket.ts'
import { connectTopics, type Topics } from '../topics.ts'
import {
  checkedProtocols,
  type Failure,
  failureOf,
  headersOf,
  isTopicsReply,
  refusalOf,
  shown,
  urlOf,
} from './handshake.ts'
import { TargetSocket } from './target-socket.ts'

/** Options of the commands that connect to a server. */
export const targetOptions = {
  token: {
    type: 'string',
    secret: true,
    describe: 'Token for the header Authorization. Rather set FWS_TOKEN: other users of the machine see command lines',
  },
  header: { type: 'array', default: [], secret: true, describe: 'Header of the handshake, NAME=VALUE' },
  protocol: { type: 'array', default: [], describe: 'Subprotocol to offer' },
  ca: { type: 'string', normalize: true, describe: 'Authorities to trust in place of those of Node, PEM file' },
  cert: { type: 'string', normalize: true, describe: 'Certificate of this client, PEM file' },
  key: { type: 'string', normalize: true, describe: 'Private key of --cert, PEM file' },
  'key-passphrase': { type: 'string', secret: true, describe: 'Passphrase of --key' },
  reconnect: {
    type: 'boolean',
    default: true,
    describe: 'Connect again, with increasing delays; --no-reconnect ends the command with exit code 1',
  },
  'max-payload': {
    type: 'number',
    default: 1_048_576,
    min: 1,
    max: 268_435_456,
    integer: true,
    describe: 'Bytes of the largest message',
  },
} as const satisfies OptionSpecs

type TargetOptions = OptionValues<typeof targetOptions>

/** The input of a command, as far as these commands need it. */
export interface Input<Options> {
  readonly options: Options
  readonly words: readonly string[]
  readonly streams: {
    readonly stdin?: (Readable & { readonly isTTY?: boolean }) | undefined
    readonly stdout: Writable & { readonly isTTY?: boolean }
    readonly stderr: Writable
    readonly signal?: AbortSignal | undefined
  }
}

/** A property of an error: the close code of the server. */
export interface CloseError {
  readonly closeCode: number
}

/** A connection of `connect` or `connectTopics`. */
type Watched = Pick<Topics, 'on' | 'state' | 'close'>

/** Seconds between pings. A server that sends nothing until the next one is dead. */
const HEARTBEAT = 30
/** Reason of a close after a `connect` without a reply, and such connections after which the server counts as one without topics. */
const NO_REPLY = 'no answer to connect'
const MAX_SILENT = 3

/** The server that a command connects to: its URL, its sockets, and why they end. */
export class Target {
  /** The URL without credentials and query, which may be secret. */
  readonly name: string
  /** Rejects when the connection does not come back, or by `fail`; never resolves. */
  readonly failed: Promise<never>
  readonly #url: string
  readonly #socketOptions: SocketOptions
  #connection: Watched | undefined
  #fail = (_error: Error) => {}
  /** The newest socket. */
  socket: TargetSocket | undefined
  readonly #stderr: Writable
  readonly #heartbeat = new Heartbeat<TargetSocket>(HEARTBEAT * 1000)
  #failure: Failure | undefined
  /** Whether the newest socket has been open. */
  #wasOpen = false
  #isPaused = false
  #isForTopics = false
  /** Connections for topics on which the server has not replied, until it replies for the first time. */
  #silent = 0
  /** Whether the command has closed the connection. */
  #isEnding = false

  /** @throws Error `ERR_OPTION` */
  constructor(command: string, { options, words, streams }: Input<TargetOptions>) {
    const url = urlOf(command, words)
    this.#url = url.href
    this.name = url.origin + url.pathname
    this.#stderr = streams.stderr
    const { token, protocol, reconnect } = options
    const headers = headersOf(options.header, token)
    const clientOptions = { headers, maxPayload: options['max-payload'], ...this.#tlsOf(options) }
    if (token !== undefined && url.protocol === 'ws:' && !isLoopback(url.hostname))
      this.report(`the token is not encrypted on its way to ${url.host}; use wss:`)
    this.#socketOptions = {
      protocols: checkedProtocols(protocol),
      // Node sees the status of a refused handshake.
      refusals: false,
      attempts: reconnect ? Infinity : 1,
      WebSocket: this.#socketClass(clientOptions) as unknown as SocketClass,
    }
    this.failed = new Promise((_, reject) => {
      this.#fail = reject
    })
    this.failed.catch(() => {})
  }

  /** Connects, and reports breaks to the operator. */
  connect(): Connection {
    return this.#watch(connect(this.#url, this.#socketOptions))
  }

  connectTopics(): Topics {
    this.#isForTopics = true
    return this.#watch(connectTopics(this.#url, this.#socketOptions))
  }

  /** Makes `failed` reject. */
  fail(error: Error): void {
    this.#fail(error)
  }

  /** Stops reading from the server, also on later connections, until `resume`. */
  pause(): void {
    this.#isPaused = true
    this.socket?.pause()
  }

  resume(): void {
    this.#isPaused = false
    this.socket?.resume()
  }

  /** Writes a line for the operator. */
  report(line: string): void {
    this.#stderr.write(`fws-server: ${line}\n`)
  }

  /** Closes the connection; resolves with the close code. */
  end(): Promise<number> {
    const connection = this.#connection
    this.#isEnding = true
    if (connection === undefined || connection.state === 'closed') return Promise.resolve(LOST)
    return new Promise(resolve => {
      connection.on('close', ({ code }) => resolve(code))
      connection.close()
    })
  }

  /** Closes the connection without waiting for the server. */
  leave(): void {
    void this.end()
    // After the Close frame has been written.
    setImmediate(() => this.socket?.terminate())
  }

  #watch<C extends Watched>(connection: C): C {
    this.#connection = connection
    connection.on('close', event => {
      const cause = this.#causeOf(event)
      const isFinal = event.retryIn === undefined || this.#failure?.isFinal
      this.#failure = undefined
      if (this.#isEnding) return
      if (event.reason === NO_REPLY && ++this.#silent === MAX_SILENT)
        return this.#failWithoutTopics(`has not answered on ${MAX_SILENT} connections`)
      if (!isFinal) return this.report(`${cause}; next attempt in ${(event.retryIn / 1000).toFixed(1)} s`)
      this.#isEnding = true
      connection.close()
      this.fail(Object.assign(commandError(cause), { closeCode: event.code } satisfies CloseError))
    })
    return connection
  }

  /** A server without filter `centrifuge` accepts the connection too, and may even send the commands back. */
  #expectReply(socket: TargetSocket): void {
    socket.once('message', data => {
      this.#silent = Number.NEGATIVE_INFINITY
      if (!isTopicsReply(String(data))) this.#failWithoutTopics('does not serve topics')
    })
  }

  #failWithoutTopics(problem: string): void {
    this.fail(commandError(`${this.name} ${problem}; --topic needs filter centrifuge there`))
  }

  #causeOf({ code, reason }: SocketEvents['close']): string {
    const { message = shown(reason) } = this.#failure ?? {}
    const more = message === '' ? '' : `: ${message}`
    if (!this.#wasOpen) return `cannot connect to ${this.name}${more}`
    if (code === LOST) return `the connection to ${this.name} is lost${more}`
    return `${this.name} has closed the connection with ${code}${more}`
  }

  #socketClass(options: ClientOptions): typeof TargetSocket {
    const listen = (socket: TargetSocket) => {
      this.socket = socket
      this.#failure = undefined
      this.#wasOpen = false
      // Before the connection reads the message.
      if (this.#isForTopics) this.#expectReply(socket)
      socket.once('open', () => {
        this.#wasOpen = true
        if (this.#isPaused) socket.pause()
        this.#heartbeat.add(socket)
      })
      socket.once('close', () => this.#heartbeat.remove(socket))
      socket.once('error', error => {
        // An older socket may fail late.
        if (this.socket === socket) this.#failure ??= failureOf(error)
      })
      socket.once('unexpected-response', async (_request, response) => {
        for await (const failure of refusalOf(response)) if (this.socket === socket) this.#failure = failure
        socket.close()
      })
    }
    return class extends TargetSocket {
      constructor(url: string | URL, protocols?: string[]) {
        super(url, protocols, options)
        listen(this)
      }
    }
  }

  /** @throws Error `ERR_OPTION` */
  #tlsOf({ ca, cert, key, 'key-passphrase': passphrase }: TargetOptions): ClientOptions {
    if ((cert === undefined) !== (key === undefined)) throw optionError('--cert and --key need each other')
    return {
      // Also with NODE_TLS_REJECT_UNAUTHORIZED=0.
      rejectUnauthorized: true,
      ...(ca !== undefined && { ca: certificatesIn(readPem('--ca', ca)).map(String) }),
      // Its warnings are about certificates of servers.
      ...(cert !== undefined && key !== undefined && readTlsFiles({ key, cert, passphrase }, '--', () => {})),
    }
  }
}

/** Resolves when the operator ends the command. */
export function stopOf(signal: AbortSignal | undefined): Promise<void> {
  return new Promise(resolve => {
    if (signal?.aborted) resolve()
    else signal?.addEventListener('abort', () => resolve(), { once: true })
  })
}
