import { once } from 'node:events'
import { connect, createServer, type Server, Socket } from 'node:net'
import { freePort } from './port.ts'

/** A TCP proxy on loopback with network faults. Only the last of `pause`, `halfOpen` and `dropReplies` is active, until `resume`. */
export interface FaultProxy {
  readonly port: number
  /** Connections that their clients have not ended, as far as the proxy has read. */
  readonly connections: number
  /** Total number of connections. */
  readonly accepted: number
  /** Delays bytes, ends and resets in both directions; writers block when the socket buffers are full. */
  pause(): void
  resume(): void
  /** Resets both sides of all connections; new ones are accepted. */
  cut(): void
  /** Resets all connections and refuses new ones. */
  refuse(): void
  /** Accepts connections again, on the same port. */
  accept(): Promise<void>
  /** Delays each later chunk by `ms`, in order; 0 disables. */
  delay(ms: number): void
  /**
   * Drops all bytes and ends, like a dead router. These connections and new ones stay dead, and the upstream does not get new ones;
   * connections after `resume` work.
   */
  halfOpen(): void
  /** Drops the replies of the upstream. `resume` resets the connections with requests or dropped replies. */
  dropReplies(): void
  /** May be called twice. */
  stop(): Promise<void>
}

export async function startFaultProxy(upstream: { host: string; port: number }): Promise<FaultProxy> {
  const proxy = new TcpProxy(upstream, await freePort())
  await proxy.accept()
  return proxy
}

type Mode = 'pass' | 'paused' | 'no replies' | 'half open'

class TcpProxy implements FaultProxy {
  readonly port: number
  readonly #upstream: { host: string; port: number }
  readonly #pairs = new Set<Pair>()
  #listener: Server | undefined
  mode: Mode = 'pass'
  latency = 0
  accepted = 0

  constructor(upstream: { host: string; port: number }, port: number) {
    this.#upstream = upstream
    this.port = port
  }

  get connections(): number {
    return [...this.#pairs].filter(pair => pair.open).length
  }

  async accept(): Promise<void> {
    if (this.#listener !== undefined) return
    this.#listener = createServer({ allowHalfOpen: true, noDelay: true }, client => this.#open(client))
    await once(this.#listener.listen(this.port, '127.0.0.1'), 'listening')
  }

  #open(client: Socket): void {
    this.accepted++
    const isDead = this.mode === 'half open'
    const upstream = isDead ? new Socket() : connect({ ...this.#upstream, allowHalfOpen: true, noDelay: true })
    const pair = new Pair(this, client, upstream, isDead)
    this.#pairs.add(pair)
    pair.gone.then(() => this.#pairs.delete(pair))
  }

  refuse(): void {
    this.cut()
    // The port is free at once; the listener closes with its last connection.
    this.#listener?.close()
    this.#listener = undefined
  }

  cut(): void {
    for (const pair of this.#pairs) pair.reset()
  }

  pause(): void {
    this.#setMode('paused')
  }

  resume(): void {
    for (const pair of this.#pairs) if (pair.isDoomed && !pair.dead) pair.reset()
    this.#setMode('pass')
  }

  halfOpen(): void {
    for (const pair of this.#pairs) pair.dead = true
    this.#setMode('half open')
  }

  dropReplies(): void {
    this.#setMode('no replies')
  }

  #setMode(mode: Mode): void {
    this.mode = mode
    for (const pair of this.#pairs) pair.update()
  }

  delay(ms: number): void {
    this.latency = ms
  }

  async stop(): Promise<void> {
    const gone = [...this.#pairs].map(pair => pair.gone)
    this.refuse()
    await Promise.all(gone)
  }
}

/** A client and its upstream. */
class Pair {
  readonly #sockets: readonly Socket[]
  readonly #flows: readonly Flow[]
  readonly gone: Promise<unknown>
  /** All bytes are dropped, also after `resume`. */
  dead: boolean
  /** The next `resume` resets it, since the client misses a reply, or one side has ended while the other must not notice. */
  isDoomed = false
  open = true

  constructor(proxy: TcpProxy, client: Socket, upstream: Socket, isDead: boolean) {
    this.#sockets = [client, upstream]
    this.dead = isDead
    this.gone = Promise.all(this.#sockets.map(socket => new Promise(closed => socket.once('close', closed))))
    for (const ended of ['end', 'close']) {
      client.once(ended, () => {
        this.open = false
      })
    }
    for (const socket of this.#sockets) {
      socket.on('error', () => {
        if (proxy.mode === 'paused') this.isDoomed = true
        else if (!this.dead) this.reset()
      })
    }
    this.#flows = [new Flow(proxy, this, client, upstream, false), new Flow(proxy, this, upstream, client, true)]
    this.update()
  }

  update(): void {
    for (const flow of this.#flows) flow.update()
  }

  reset(): void {
    this.open = false
    for (const flow of this.#flows) flow.end()
    for (const socket of this.#sockets) {
      // A connecting socket would connect first, and an ending one would never close.
      const isEnding = socket.writableEnded && !socket.writableFinished
      if (socket.connecting || isEnding) socket.destroy()
      else if (!socket.destroyed) socket.resetAndDestroy()
    }
  }
}

/** Bytes queued in one direction, above which its source is paused. */
const MAX_WAITING = 1 << 20

/** The bytes of one direction. */
class Flow {
  readonly #proxy: TcpProxy
  readonly #pair: Pair
  readonly #from: Socket
  readonly #to: Socket
  readonly #isReply: boolean
  /** A chunk without bytes is the end of the stream. */
  #waiting: { bytes?: Buffer; due: number }[] = []
  #size = 0
  #isFull = false
  #timer: NodeJS.Timeout | undefined

  constructor(proxy: TcpProxy, pair: Pair, from: Socket, to: Socket, isReply: boolean) {
    this.#proxy = proxy
    this.#pair = pair
    this.#from = from
    this.#to = to
    this.#isReply = isReply
    from.on('data', bytes => this.#push(bytes))
    from.on('end', () => this.#push())
    to.on('drain', () => {
      this.#isFull = false
      this.update()
    })
  }

  #push(bytes?: Buffer): void {
    const due = performance.now() + this.#proxy.latency
    this.#waiting.push(bytes === undefined ? { due } : { bytes, due })
    this.#size += bytes?.length ?? 0
    this.update()
  }

  update(): void {
    clearTimeout(this.#timer)
    if (this.#isDropping()) {
      if (this.#waiting.length > 0) this.#pair.isDoomed = true
      this.#waiting = []
      this.#size = 0
      this.#from.resume()
      return
    }
    const isPaused = this.#proxy.mode === 'paused'
    while (!isPaused && !this.#isFull && this.#waiting.length > 0) {
      const wait = this.#waiting[0]!.due - performance.now()
      if (wait > 0) {
        this.#timer = setTimeout(() => this.update(), wait)
        break
      }
      // Its reply may be dropped.
      if (!this.#isReply && this.#proxy.mode === 'no replies') this.#pair.isDoomed = true
      this.#write(this.#waiting.shift()!.bytes)
    }
    if (this.#size > MAX_WAITING) this.#from.pause()
    else this.#from.resume()
  }

  #isDropping(): boolean {
    return this.#pair.dead || (this.#isReply && this.#proxy.mode === 'no replies')
  }

  #write(bytes: Buffer | undefined): void {
    if (bytes === undefined) {
      this.#to.end()
      return
    }
    this.#size -= bytes.length
    this.#isFull = !this.#to.write(bytes)
  }

  end(): void {
    clearTimeout(this.#timer)
    this.#waiting = []
  }
}
