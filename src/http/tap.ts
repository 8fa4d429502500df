import { randomUUID } from 'node:crypto'
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { type Chain, FAILED } from '../chain/chain.ts'
import { isPromise } from '../contract/deadline.ts'
import { DROP } from '../contract/drop.ts'
import type { Peer } from '../contract/peer.ts'
import { linger } from '../kit/linger.ts'

/**
 * Stands between a socket and the HTTP server when there is a data filter: every chunk that the peer sends goes through
 * the data chain, one after the other, before anything parses it. Writes go straight through.
 */
export class Tap extends Duplex implements Peer {
  readonly id = randomUUID()
  readonly remote: string
  /** What it stands in front of. */
  readonly socket: Socket
  readonly #chain: Chain<Buffer>
  /** The peer has sent its last byte while a chunk was still in the chain. */
  #ended = false
  #working = false
  /** The reader of the tap has had enough for now. */
  #full = false

  constructor(socket: Socket, chain: Chain<Buffer>) {
    super({ allowHalfOpen: true, autoDestroy: true, emitClose: true })
    this.socket = socket
    this.#chain = chain
    this.remote = socket.remoteAddress ?? ''
    socket.on('data', chunk => this.#receive(chunk))
    socket.on('end', () => this.#end())
    socket.on('error', error => this.destroy(error))
    socket.on('close', () => this.destroy())
    socket.on('timeout', () => this.emit('timeout'))
    // Whoever takes the tap over listens for itself; until then a reset must not end the process.
    this.on('error', () => {})
  }

  close(): void {
    this.destroy()
  }

  #receive(chunk: Buffer): void {
    const outcome = this.#chain.run(chunk, this)
    if (!isPromise(outcome)) {
      this.#pass(outcome)
      return
    }
    this.#working = true
    this.#flow()
    ;(outcome as Promise<Buffer | typeof DROP | typeof FAILED>).then(late => {
      this.#working = false
      this.#pass(late)
      if (this.#ended) this.push(null)
      else this.#flow()
    })
  }

  #pass(outcome: Buffer | typeof DROP | typeof FAILED | Promise<unknown>): void {
    if (this.destroyed || outcome === DROP) return
    // A chunk is missing from the stream: nothing after it could be trusted.
    if (outcome === FAILED) this.destroy()
    else if (!this.push(outcome as Buffer)) {
      this.#full = true
      this.#flow()
    }
  }

  #flow(): void {
    if (this.#working || this.#full) this.socket.pause()
    else this.socket.resume()
  }

  #end(): void {
    this.#ended = true
    if (!this.#working) this.push(null)
  }

  override _read(): void {
    this.#full = false
    this.#flow()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.socket.write(chunk, done)
  }

  override _writev(chunks: { chunk: Buffer; encoding: BufferEncoding }[], done: (error?: Error | null) => void): void {
    this.socket.cork()
    const last = chunks.length - 1
    for (const [i, { chunk }] of chunks.entries()) this.socket.write(chunk, i === last ? done : undefined)
    this.socket.uncork()
  }

  override _final(done: (error?: Error | null) => void): void {
    this.socket.end(done)
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.socket.destroy()
    done(error)
  }

  // What http and ws ask of a socket.
  get encrypted(): boolean {
    return 'encrypted' in this.socket
  }
  get remoteAddress(): string | undefined {
    return this.socket.remoteAddress
  }
  /** A chunk is in the data chain: nothing is read meanwhile. */
  get isHeld(): boolean {
    return this.#working
  }
  get bytesRead(): number {
    return this.socket.bytesRead
  }
  get bytesWritten(): number {
    return this.socket.bytesWritten
  }
  get remotePort(): number | undefined {
    return this.socket.remotePort
  }
  get localAddress(): string | undefined {
    return this.socket.localAddress
  }
  get localPort(): number | undefined {
    return this.socket.localPort
  }
  /** After the last answer of a connection. Without it a peer that goes on sending would keep the connection. */
  destroySoon(): void {
    linger(this)
  }
  setTimeout(ms: number, onTimeout?: () => void): this {
    this.socket.setTimeout(ms, onTimeout)
    return this
  }
  setNoDelay(noDelay?: boolean): this {
    this.socket.setNoDelay(noDelay)
    return this
  }
  setKeepAlive(enable?: boolean, initialDelay?: number): this {
    this.socket.setKeepAlive(enable, initialDelay)
    return this
  }
  ref(): this {
    this.socket.ref()
    return this
  }
  unref(): this {
    this.socket.unref()
    return this
  }
}
