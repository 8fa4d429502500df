// The frames of the load.
import { randomBytes } from 'node:crypto'

/**
 * The protocol of messages: none, packets of Socket.IO (socket.io/docs/v4/engine-io-protocol, socket-io-protocol), or commands and pushes of
 * the Centrifugal client protocol.
 */
export type Dialect = 'plain' | 'socket.io' | 'centrifuge'

export const TEXT = 1
/** Digits of the number in a message. */
export const DIGITS = 8
const ZERO = 0x30
/** Prepared frames of a template, so that a frame costs the load a copy only. */
const PREPARED = 1024

/** A frame of a client with a random mask (RFC 6455, section 5.3): ws skips the unmasking of a mask of zeros. */
export function clientFrame(opcode: number, payload: string | Buffer): Buffer {
  return masked(opcode, Buffer.from(payload), randomBytes(4))
}

function masked(opcode: number, payload: Buffer, mask: Buffer): Buffer {
  const { length } = payload
  const header = length < 126 ? [0x80 | length] : [0x80 | 126, length >> 8, length & 255]
  return Buffer.concat([Buffer.from([0x80 | opcode, ...header]), mask, payload.map((byte, i) => byte ^ mask[i & 3]!)])
}

/** How a message is sent, and the shortest form in which it is received. */
const FORMS: Readonly<Record<Dialect, { sent(text: string): string; received(text: string): string }>> = {
  plain: { sent: text => text, received: text => text },
  'socket.io': { sent: text => `42["m",${text}]`, received: text => `42["m",${text}]` },
  centrifuge: {
    sent: text => `{"id":3,"publish":{"channel":"all","data":${text}}}`,
    received: text => `{"push":{"channel":"all","pub":{"data":${text}}}}`,
  },
}

/** Messages of one size, each with its number in eight digits and its own random mask; masks recur after 1,024 frames. */
export class Template {
  readonly #frames: readonly Buffer[]
  readonly #textAt: number
  readonly #numberAt: number
  /** Of messages of the server: their least length, and the place of the number. */
  readonly numberAt: number
  readonly length: number
  #next = 0

  /** @param texts - of one length, used in turn; eight zeros mark the place of the number. */
  constructor(texts: readonly string[], dialect: Dialect) {
    const quoted = texts.map(text => (text.startsWith('{') ? text : JSON.stringify(text)))
    const { sent, received } = FORMS[dialect]
    const packets = (dialect === 'plain' ? texts : quoted).map(text => Buffer.from(sent(text)))
    const push = received(dialect === 'plain' ? texts[0]! : quoted[0]!)
    this.length = push.length
    this.numberAt = push.indexOf('0'.repeat(DIGITS))
    this.#numberAt = packets[0]!.indexOf('0'.repeat(DIGITS))
    const masks = randomBytes(4 * PREPARED)
    this.#frames = Array.from({ length: PREPARED }, (_, i) =>
      masked(TEXT, packets[i % packets.length]!, masks.subarray(4 * i, 4 * i + 4)),
    )
    this.#textAt = this.#frames[0]!.length - packets[0]!.length
  }

  /** A masked frame with this number. */
  frame(number: number): Buffer {
    const frame = Buffer.from(this.#frames[this.#next++ % PREPARED]!)
    const mask = this.#textAt - 4
    for (let i = this.#numberAt + DIGITS - 1, rest = number; i >= this.#numberAt; i--, rest = Math.floor(rest / 10))
      frame[this.#textAt + i] = (ZERO + (rest % 10)) ^ frame[mask + (i & 3)]!
    return frame
  }
}

export function numberIn(bytes: Buffer, at: number): number {
  let number = 0
  for (let i = at; i < at + DIGITS; i++) number = number * 10 + bytes[i]! - ZERO
  return number
}

/** JSON like that of applications: equal keys, different values. */
export function documents(size: number): string[] {
  let seed = 1
  const random = (below: number) => {
    seed = (seed * 48_271) % 0x7fff_ffff
    return seed % below
  }
  return Array.from({ length: 64 }, () => {
    const items: string[] = []
    const text = () => `{"n":"00000000","type":"positions","items":[${items.join(',')}],"pad":"`
    const item = () =>
      `{"id":${100_000 + random(899_999)},"x":${random(1e4) / 100},"y":${random(1e4) / 100},"name":"user-${random(1e6).toString(36)}"}`
    for (let next = item(); text().length + next.length + 3 <= size; next = item()) items.push(next)
    return `${text()}${'-'.repeat(Math.max(0, size - text().length - 2))}"}`
  })
}
