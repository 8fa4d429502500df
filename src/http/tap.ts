import { randomUUID } from 'node:crypto'
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { type Chain, FAILED } from '../chain/chain.ts'
import { isPromise } from '../contract/deadline.ts'
import { DROP } from '../contract/drop.ts'
import type { Peer } from '../contract/peer.ts'
import { acceptedBytes } from '../kit/accepted-bytes.ts'
import { linger } from '../kit/linger.ts'

/**
 * Sits between a socket and the HTTP server if there are data filters: received chunks pass the data chain one at a time before
 * they are parsed. Writes are passed through.
 */
export class Tap extends Duplex implements Peer {
  readonly id = randomUUID()
  readonly remote: string
  readonly socket: Socket
  readonly #chain: Chain<Buffer>
  /** The peer ended the stream, possibly with a chunk still in the chain. */
  #ended = false
  /** A chunk is in the chain. */
  #working = false
  /** The read buffer of the tap is full. */
  #full = false

  constructor(socket: Socket, remote: string, chain: Chain<Buffer>) {
    super({ allowHalfOpen: true, autoDestroy: true, emitClose: true })
    this.socket = socket
    this.#chain = chain
    this.remote = remote
    socket.on('data', chunk => this.#receive(chunk))
    socket.on('end', () => this.#end())
    socket.on('error', error => this.destroy(error))
    socket.on('close', () => this.destroy())
    socket.on('timeout', () => this.emit('timeout'))
    // Until the HTTP server adds its own listener, a reset must not end the process.
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
    // Without this chunk the rest of the stream is corrupt.
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

  // The members of Socket that http and ws use.
  get encrypted(): boolean {
    return 'encrypted' in this.socket
  }
  get remoteAddress(): string | undefined {
    return this.socket.remoteAddress
  }
  /** Whether reading is paused because a chunk is in the data chain. */
  get isReadPaused(): boolean {
    return this.#working
  }
  get acceptedBytes(): number {
    return acceptedBytes(this.socket)
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
  /** Called after the last response of a connection: a peer that keeps sending must not keep it open. */
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
