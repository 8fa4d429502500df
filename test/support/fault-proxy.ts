import { once } from 'node:events'
import { connect, createServer, type Server, Socket } from 'node:net'
import { freePort } from './port.ts'

/** A TCP proxy on loopback that does to connections what networks do. `resume` ends `pause`, `halfOpen` and `dropReplies`, of which the last called holds. */
export interface FaultProxy {
  readonly port: number
  /** How many clients have now, as far as we have read, a connection that they have not ended. */
  readonly connections: number
  /** How many there were in all. */
  readonly accepted: number
  /** Bytes, ends and resets wait, in both directions; so do those who write more than the sockets hold. */
  pause(): void
  resume(): void
  /** Resets all connections, both their halves; new ones are accepted. */
  cut(): void
  /** Resets all connections and refuses new ones. */
  refuse(): void
  /** Accepts connections again, on the same port. */
  accept(): Promise<void>
  /** From now on each chunk of bytes arrives so many ms later, in order; 0: at once. */
  delay(ms: number): void
  /**
   * All bytes vanish and nothing ever closes, as behind a dead router, on these connections for ever. New ones are accepted and as
   * dead, and nothing upstream sees them; those after `resume` work.
   */
  halfOpen(): void
  /** What the client sends arrives, what it is answered vanishes. `resume` resets the connections on which something was sent or has vanished. */
  dropReplies(): void
  /** Also twice. */
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
  readonly #links = new Set<Link>()
  #listener: Server | undefined
  mode: Mode = 'pass'
  latency = 0
  accepted = 0

  constructor(upstream: { host: string; port: number }, port: number) {
    this.#upstream = upstream
    this.port = port
  }

  get connections(): number {
    return [...this.#links].filter(link => link.open).length
  }

  async accept(): Promise<void> {
    if (this.#listener !== undefined) return
    this.#listener = createServer({ allowHalfOpen: true, noDelay: true }, client => this.#link(client))
    await once(this.#listener.listen(this.port, '127.0.0.1'), 'listening')
  }

  #link(client: Socket): void {
    this.accepted++
    const isDead = this.mode === 'half open'
    const upstream = isDead ? new Socket() : connect({ ...this.#upstream, allowHalfOpen: true, noDelay: true })
    const link = new Link(this, client, upstream, isDead)
    this.#links.add(link)
    link.gone.then(() => this.#links.delete(link))
  }

  refuse(): void {
    this.cut()
    // Its port is free at once; the listener itself ends with the last of its connections.
    this.#listener?.close()
    this.#listener = undefined
  }

  cut(): void {
    for (const link of this.#links) link.reset()
  }

  pause(): void {
    this.#become('paused')
  }

  resume(): void {
    for (const link of this.#links) if (link.doomed && !link.dead) link.reset()
    this.#become('pass')
  }

  halfOpen(): void {
    for (const link of this.#links) link.dead = true
    this.#become('half open')
  }

  dropReplies(): void {
    this.#become('no replies')
  }

  #become(mode: Mode): void {
    this.mode = mode
    for (const link of this.#links) link.flow()
  }

  delay(ms: number): void {
    this.latency = ms
  }

  async stop(): Promise<void> {
    const gone = [...this.#links].map(link => link.gone)
    this.refuse()
    await Promise.all(gone)
  }
}

/** A client and what it is connected to. */
class Link {
  readonly #sockets: readonly Socket[]
  readonly #flows: readonly Flow[]
  readonly gone: Promise<unknown>
  /** Nothing arrives any more, nor ever will. */
  dead: boolean
  /** The next `resume` resets it: the client has missed an answer, or will, or one end is gone while the other must not know. */
  doomed = false
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
        if (proxy.mode === 'paused') this.doomed = true
        else if (!this.dead) this.reset()
      })
    }
    this.#flows = [new Flow(proxy, this, client, upstream, false), new Flow(proxy, this, upstream, client, true)]
    this.flow()
  }

  flow(): void {
    for (const flow of this.#flows) flow.flow()
  }

  reset(): void {
    this.open = false
    for (const flow of this.#flows) flow.end()
    for (const socket of this.#sockets) {
      // One that is connecting would connect first, one that is ending cannot be reset and would never close.
      const isEnding = socket.writableEnded && !socket.writableFinished
      if (socket.connecting || isEnding) socket.destroy()
      else if (!socket.destroyed) socket.resetAndDestroy()
    }
  }
}

/** Bytes of one direction that wait for their time, a slow reader or `resume`, before their source must wait. */
const MAX_WAITING = 1 << 20

/** The bytes of one direction. */
class Flow {
  readonly #proxy: TcpProxy
  readonly #link: Link
  readonly #from: Socket
  readonly #to: Socket
  readonly #isReply: boolean
  /** A chunk without bytes is the end. */
  #waiting: { bytes?: Buffer; due: number }[] = []
  #size = 0
  #isFull = false
  #timer: NodeJS.Timeout | undefined

  constructor(proxy: TcpProxy, link: Link, from: Socket, to: Socket, isReply: boolean) {
    this.#proxy = proxy
    this.#link = link
    this.#from = from
    this.#to = to
    this.#isReply = isReply
    from.on('data', bytes => this.#take(bytes))
    from.on('end', () => this.#take())
    to.on('drain', () => {
      this.#isFull = false
      this.flow()
    })
  }

  #take(bytes?: Buffer): void {
    const due = performance.now() + this.#proxy.latency
    this.#waiting.push(bytes === undefined ? { due } : { bytes, due })
    this.#size += bytes?.length ?? 0
    this.flow()
  }

  flow(): void {
    clearTimeout(this.#timer)
    if (this.#loses()) {
      if (this.#waiting.length > 0) this.#link.doomed = true
      this.#waiting = []
      this.#size = 0
      this.#from.resume()
      return
    }
    const isPaused = this.#proxy.mode === 'paused'
    while (!isPaused && !this.#isFull && this.#waiting.length > 0) {
      const wait = this.#waiting[0]!.due - performance.now()
      if (wait > 0) {
        this.#timer = setTimeout(() => this.flow(), wait)
        break
      }
      // Its answer may come when replies pass again.
      if (!this.#isReply && this.#proxy.mode === 'no replies') this.#link.doomed = true
      this.#pass(this.#waiting.shift()!.bytes)
    }
    if (this.#size > MAX_WAITING) this.#from.pause()
    else this.#from.resume()
  }

  #loses(): boolean {
    return this.#link.dead || (this.#isReply && this.#proxy.mode === 'no replies')
  }

  #pass(bytes: Buffer | undefined): void {
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
