import { createServer as createTcp, type Socket, type Server as TcpServer } from 'node:net'
import { createServer as createTls } from 'node:tls'
import type { Host } from 'filtered-websocket'
import { optionError, readTlsFiles, type TlsPair, tlsFailureOf } from 'filtered-websocket/kit'
import type { Complaints } from '../complaints.ts'
import type { options } from '../options.ts'
import { type Endpoint, inBrackets } from './endpoint.ts'

/** Connections whose TLS handshake may be under way: one more ends the oldest, so that silent ones keep nobody out. */
const MAX_HANDSHAKES = 256
/** How often TCP asks then is not Node's to say: each second, ten times. The original: every 3 seconds, five times. */
const SHARED = { noDelay: true, keepAlive: true, keepAliveInitialDelay: 1000 }

/** A port for peers that are no WebSocket clients. */
export class Listener {
  readonly #server: TcpServer
  readonly #port: number
  readonly #host: string
  readonly #scheme: 'tcp' | 'tls'
  /** On their way to a TLS session, by where they come from, the oldest first. */
  readonly #arriving = new Map<string, Socket>()
  /** Reads key and certificate again; answers how to use them for new connections. Without TLS `undefined`. */
  readonly reload: (() => () => void) | undefined

  private constructor(
    chosen: Host<typeof options>['options'],
    read: (() => TlsPair) | undefined,
    complaints: Complaints,
  ) {
    this.#port = chosen['messaging-port']!
    this.#host = chosen['messaging-host']
    this.#scheme = read === undefined ? 'tcp' : 'tls'
    if (read === undefined) {
      this.#server = createTcp(SHARED)
      this.reload = undefined
    } else {
      const server = createTls({ ...SHARED, ...read(), handshakeTimeout: chosen['messaging-header-timeout'] * 1000 })
        .on('connection', socket => this.#await(socket))
        .on('secureConnection', socket => this.#arriving.delete(originOf(socket)))
        .on('tlsClientError', ({ code = '' }: NodeJS.ErrnoException, socket) => {
          socket.destroy()
          const failure = tlsFailureOf(code)
          if (failure !== undefined) complaints.add('warn', { code }, `messaging port: ${failure}`)
        })
      this.#server = server
      this.reload = () => {
        const pair = read()
        return () => server.setSecureContext(pair)
      }
    }
  }

  /**
   * The listener that was asked for, if one was.
   *
   * @throws Error `ERR_OPTION`: it would let peers in past a guard; a key or a certificate that does not hold.
   */
  static of({ options: chosen, guards, log }: Host<typeof options>, complaints: Complaints): Listener | undefined {
    const { 'messaging-port': port, 'messaging-open': isOpen } = chosen
    const { 'messaging-key': key, 'messaging-cert': cert, 'messaging-key-passphrase': passphrase } = chosen
    if ((key === undefined) !== (cert === undefined))
      throw optionError('--messaging-key and --messaging-cert go together; one of them is missing')
    if (passphrase !== undefined && key === undefined)
      throw optionError('--messaging-key-passphrase is given without --messaging-key; it decrypts that file')
    if (port === undefined) return undefined
    if (guards.length > 0 && !isOpen)
      throw optionError(
        `--messaging-port ${port} lets peers in past ${guards.join(', ')}; --messaging-open if that is meant`,
      )
    if (key === undefined || cert === undefined) return new Listener(chosen, undefined, complaints)
    const read = () => readTlsFiles({ key, cert, passphrase }, '--messaging-', warning => log.warn(warning))
    return new Listener(chosen, read, complaints)
  }

  /**
   * Answers where it listens.
   *
   * @param onError - hears later why a connection could not be taken; it goes on listening.
   */
  async listen(onConnection: (socket: Socket) => void, onError: (error: Error) => void): Promise<Endpoint> {
    const event = this.#scheme === 'tcp' ? 'connection' : 'secureConnection'
    this.#server.on(event, (socket: Socket) => {
      // What becomes of it is told by its close.
      socket.on('error', () => {})
      onConnection(socket)
    })
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(this.#port, this.#host, resolve)
    })
    this.#server.on('error', onError)
    const { address, port } = this.#server.address() as { address: string; port: number }
    return { host: address, port }
  }

  /** Where it listens. */
  urlOf({ host, port }: Endpoint): string {
    return `${this.#scheme}://${inBrackets(host)}:${port}`
  }

  /** Takes no more connections; those that are clients end as clients do. */
  close(): void {
    this.#server.close()
    for (const socket of this.#arriving.values()) socket.destroy()
  }

  #await(socket: Socket): void {
    if (this.#arriving.size >= MAX_HANDSHAKES) this.#endOldest()
    const origin = originOf(socket)
    this.#arriving.set(origin, socket)
    socket.once('close', () => {
      if (this.#arriving.get(origin) === socket) this.#arriving.delete(origin)
    })
  }

  #endOldest(): void {
    const [origin, socket] = this.#arriving.entries().next().value!
    this.#arriving.delete(origin)
    socket.destroy()
  }
}

function originOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`
}
