import { Duplex } from 'node:stream'
import type { Payload } from '../contract/payload.ts'
import type { Transport } from '../contract/transport.ts'
import { payloadField } from '../kit/json-payload.ts'
import type { ServerClient } from '../peer/client.ts'

/** The end of an output line, which the clients of a broadcast share: `"data":"hello"}` and a line end. */
export function frame(payload: Payload): Buffer {
  return Buffer.from(`${JSON.stringify(payloadField(payload)).slice(1)}\n`)
}

/** Writes without the queue of a stream. */
class Sink extends Duplex {
  readonly #onWrite: (frames: string) => void

  constructor(onWrite: (frames: string) => void) {
    super({ read() {} })
    this.#onWrite = onWrite
  }

  override write(frames: Buffer): boolean {
    this.#onWrite(frames.toString())
    return true
  }
}

/** A client without a socket: messages to it become lines of JSON. */
export class OfflineClient implements Transport {
  readonly name = 'websocket'
  readonly remote: string
  readonly frame = frame
  readonly socket: Duplex
  readonly client: ServerClient
  /** Whether its open chain has begun. */
  isOpen = false
  readonly #emit: (line: string) => void
  readonly #onClose: (client: ServerClient) => void

  /**
   * @param emit - receives each output line, with its line end.
   * @param onClose - called when the server has ended the client.
   */
  constructor(client: ServerClient, emit: (line: string) => void, onClose: (client: ServerClient) => void) {
    this.client = client
    this.remote = client.remote
    this.#emit = emit
    this.#onClose = onClose
    const start = `{"client":${JSON.stringify(client.id)},`
    this.socket = new Sink(frames => {
      const first = frames.indexOf('\n') + 1
      if (first === frames.length) emit(start + frames)
      else for (const line of frames.slice(0, -1).split('\n')) emit(`${start}${line}\n`)
    })
  }

  pause(): void {}
  resume(): void {}

  close(code: number, reason: string): void {
    this.#emit(`${JSON.stringify({ client: this.client.id, closed: code, ...(reason !== '' && { reason }) })}\n`)
    this.client.closed(code, reason, true)
    this.#onClose(this.client)
  }

  destroy(): void {
    this.client.closed(1006, '', false)
    this.#onClose(this.client)
  }

  /** The peer ends the connection. */
  end(code: number, reason: string): void {
    if (code !== 1006) this.client.peerCloses()
    this.client.closed(code, reason, code !== 1006)
  }
}
