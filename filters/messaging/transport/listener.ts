import { createServer as createTcp, type Socket, type Server as TcpServer } from 'node:net'
import { createServer as createTls } from 'node:tls'
import type { Host } from 'filtered-websocket'
import {
  BoundedMap,
  type Endpoint,
  formatEndpoint,
  listen,
  optionError,
  type RateLimitedLog,
  readTlsFiles,
  type TlsPair,
  tlsFailureOf,
  withoutBrackets,
} from 'filtered-websocket/kit'
import type { options } from '../options.ts'

/** Concurrent TLS handshakes: one more ends the oldest, so that silent connections do not block others. */
const MAX_HANDSHAKES = 256
/** Node sends 10 probes, one per second, and has no option for that; clever-show sends 5, every 3 seconds. */
const SHARED = { noDelay: true, keepAlive: true, keepAliveInitialDelay: 1000 }

/** The TCP port for peers that are not WebSocket clients. */
export class Listener {
  readonly #server: TcpServer
  readonly #port: number
  readonly #host: string
  readonly #scheme: 'tcp' | 'tls'
  /** Connections in their TLS handshake by remote endpoint, the oldest first. */
  readonly #handshaking = new BoundedMap<string, Socket>(MAX_HANDSHAKES, socket => socket.destroy())
  /** Reads key and certificate again; returns a function that uses them for new connections. `undefined` without TLS. */
  readonly reload: (() => () => void) | undefined

  private constructor(
    chosen: Host<typeof options>['options'],
    read: (() => TlsPair) | undefined,
    limitedLog: RateLimitedLog,
  ) {
    this.#port = chosen['messaging-port']!
    this.#host = withoutBrackets(chosen['messaging-host'])
    this.#scheme = read === undefined ? 'tcp' : 'tls'
    if (read === undefined) {
      this.#server = createTcp(SHARED)
      this.reload = undefined
    } else {
      const server = createTls({ ...SHARED, ...read(), handshakeTimeout: chosen['messaging-header-timeout'] * 1000 })
        .on('connection', socket => this.#limitHandshakes(socket))
        .on('secureConnection', socket => this.#handshaking.delete(originOf(socket)))
        .on('tlsClientError', ({ code = '' }: NodeJS.ErrnoException, socket) => {
          socket.destroy()
          const failure = tlsFailureOf(code)
          if (failure !== undefined) limitedLog.add('warn', { code }, `messaging port: ${failure}`)
        })
      this.#server = server
      this.reload = () => {
        const pair = read()
        return () => server.setSecureContext(pair)
      }
    }
  }

  /**
   * `undefined` without `--messaging-port`.
   *
   * @throws Error `ERR_OPTION`: the port would bypass a guard; an invalid key or certificate.
   */
  static of({ options: chosen, guards, log }: Host<typeof options>, limitedLog: RateLimitedLog): Listener | undefined {
    const { 'messaging-port': port, 'messaging-open': isOpen } = chosen
    const { 'messaging-key': key, 'messaging-cert': cert, 'messaging-key-passphrase': passphrase } = chosen
    if ((key === undefined) !== (cert === undefined))
      throw optionError('--messaging-key and --messaging-cert go together; one of them is missing')
    if (passphrase !== undefined && key === undefined)
      throw optionError('--messaging-key-passphrase is given without --messaging-key; it decrypts that file')
    if (port === undefined) return undefined
    if (guards.length > 0 && !isOpen)
      throw optionError(
        `--messaging-port ${port} bypasses ${guards.join(', ')}; give --messaging-open if that is intended`,
      )
    if (key === undefined || cert === undefined) return new Listener(chosen, undefined, limitedLog)
    const read = () => readTlsFiles({ key, cert, passphrase }, '--messaging-', warning => log.warn(warning))
    return new Listener(chosen, read, limitedLog)
  }

  /**
   * Resolves with the address of the port.
   *
   * @param onError - called when a connection could not be accepted; the port stays open.
   */
  async listen(onConnection: (socket: Socket) => void, onError: (error: Error) => void): Promise<Endpoint> {
    const event = this.#scheme === 'tcp' ? 'connection' : 'secureConnection'
    this.#server.on(event, (socket: Socket) => {
      // Its close event follows.
      socket.on('error', () => {})
      onConnection(socket)
    })
    const { address, port } = await listen(
      this.#server,
      { port: this.#port, host: this.#host },
      { port: '--messaging-port', host: '--messaging-host' },
    )
    this.#server.on('error', onError)
    return { host: address, port }
  }

  urlOf(endpoint: Endpoint): string {
    return `${this.#scheme}://${formatEndpoint(endpoint)}`
  }

  /** Accepts no more connections; clients stay until the server closes them. */
  close(): void {
    this.#server.close()
    for (const socket of this.#handshaking.values()) socket.destroy()
  }

  #limitHandshakes(socket: Socket): void {
    const origin = originOf(socket)
    this.#handshaking.set(origin, socket)
    socket.once('close', () => {
      if (this.#handshaking.get(origin) === socket) this.#handshaking.delete(origin)
    })
  }
}

function originOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`
}
