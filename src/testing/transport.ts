import { Duplex } from 'node:stream'
import type { Payload } from '../contract/payload.ts'
import type { Transport } from '../contract/transport.ts'
import type { ServerClient } from '../peer/client.ts'

const TEXT = 0
const BINARY = 1
const HEADER = 5

/** Kind (1 byte), length (4 bytes), payload: joined frames can be split again. */
export function frame(payload: Payload): Buffer {
  const body = Buffer.from(payload)
  const out = Buffer.alloc(HEADER + body.length)
  out[0] = typeof payload === 'string' ? TEXT : BINARY
  out.writeUInt32BE(body.length, 1)
  body.copy(out, HEADER)
  return out
}

/** A transport that collects messages in an array. */
export class MemoryTransport implements Transport {
  readonly name: string
  readonly remote = '127.0.0.1'
  readonly frame = frame
  readonly received: Payload[] = []
  readonly socket: Duplex
  ending: { code: number; reason: string } | undefined
  readonly #client: ServerClient

  constructor(client: ServerClient, name = 'websocket') {
    this.#client = client
    this.name = name
    this.socket = new Duplex({
      read() {},
      write: (chunk: Buffer, _encoding, done) => {
        this.#parse(chunk)
        done()
      },
    })
  }

  pause(): void {}
  resume(): void {}

  close(code: number, reason: string): void {
    this.ending = { code, reason }
    this.#client.closed(code, reason, true)
  }

  destroy(): void {
    this.#client.closed(1006, '', false)
  }

  /** The peer closes. */
  end(code: number, reason: string): void {
    this.#client.peerCloses()
    this.#client.closed(code, reason, true)
  }

  #parse(chunk: Buffer): void {
    for (let at = 0; at < chunk.length; ) {
      const end = at + HEADER + chunk.readUInt32BE(at + 1)
      const body = chunk.subarray(at + HEADER, end)
      this.received.push(chunk[at] === TEXT ? body.toString() : Buffer.from(body))
      at = end
    }
  }
}
