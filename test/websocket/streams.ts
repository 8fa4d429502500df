// Random streams of frames, valid and invalid, and the events that a parser makes of them.
import assert from 'node:assert/strict'
import type { Writable } from 'node:stream'
import { Receiver } from 'ws'
import { CLOSE, CONTINUATION, PING, PONG, TEXT } from '../../src/websocket/opcodes.ts'
import { FrameParser, type FrameSink } from '../../src/websocket/parser.ts'

declare module 'ws' {
  // Missing in the types of ws.
  interface Receiver extends Writable {}
  class Receiver {
    constructor(options: { isServer: boolean; maxPayload: number })
  }
}

const MAX_PAYLOAD = 100_000
const TEXTS = [
  '',
  'a',
  'hello',
  'x'.repeat(47),
  'y'.repeat(127),
  'z'.repeat(131),
  'ä€𝄞'.repeat(30),
  'é',
  '€'.repeat(60),
  'q'.repeat(70_000),
].map(text => Buffer.from(text))

/** xorshift32, so that a seed repeats a stream. */
class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed
  }

  below(limit: number): number {
    this.#state ^= this.#state << 13
    this.#state ^= this.#state >>> 17
    this.#state ^= this.#state << 5
    return (this.#state >>> 0) % limit
  }

  oneOf<T>(values: readonly T[]): T {
    return values[this.below(values.length)]!
  }

  isOneIn(count: number): boolean {
    return this.below(count) === 0
  }
}

/** A masked frame; `width` is the number of bytes of its extended length, 0 to choose the smallest. */
function frame(random: Random, first: number, payload: Buffer, { masked = true, width = 0 } = {}): Buffer {
  const bytes = width > 0 ? width : payload.length < 126 ? 0 : payload.length < 65_536 ? 2 : 8
  const length = Buffer.alloc(bytes)
  if (bytes === 2) length.writeUInt16BE(payload.length)
  if (bytes === 8) length.writeBigUInt64BE(BigInt(payload.length))
  const code = bytes === 0 ? payload.length : bytes === 2 ? 126 : 127
  if (!masked) return Buffer.concat([Buffer.from([first, code]), length, payload])
  const mask = random.isOneIn(4) ? [0, 0, 0, 0] : [0, 0, 0, 0].map(() => random.below(256))
  const hidden = payload.map((byte, i) => byte ^ mask[i & 3]!)
  return Buffer.concat([Buffer.from([first, code | 0x80]), length, Buffer.from(mask), hidden])
}

/** One to eight frames; one in forty is invalid, and some texts are not UTF-8. */
function randomStream(random: Random): Buffer {
  const frames: Buffer[] = []
  let isFragmented = false
  for (let left = 1 + random.below(8); left > 0; left--) {
    let payload = random.isOneIn(10) ? random.oneOf(TEXTS) : random.oneOf(TEXTS.slice(0, -1))
    if (random.isOneIn(12) && payload.length > 0) {
      payload = Buffer.from(payload)
      payload[random.below(payload.length)] = random.below(256)
    }
    const kind = random.below(isFragmented ? 6 : 16)
    const mistake = random.below(40)
    if (mistake === 0) frames.push(frame(random, random.below(256), payload))
    else if (mistake === 1) frames.push(frame(random, 0x80 | TEXT, payload, { masked: false }))
    else if (mistake === 2) {
      const close = Buffer.from([random.below(20), random.below(256), ...payload.subarray(0, 5)])
      frames.push(frame(random, 0x80 | CLOSE, close))
    } else if (mistake === 3) frames.push(frame(random, 0x80 | PING, payload))
    else if (kind < 2) frames.push(frame(random, 0x80 | (kind === 0 ? PING : PONG), payload.subarray(0, 125)))
    else if (isFragmented) {
      const isLast = random.isOneIn(2)
      frames.push(frame(random, (isLast ? 0x80 : 0) | CONTINUATION, payload))
      isFragmented = !isLast
    } else if (kind < 5) {
      frames.push(frame(random, 1 + random.below(2), payload))
      isFragmented = true
    } else if (kind === 5 && random.isOneIn(3)) {
      const reason = random.isOneIn(2) ? Buffer.alloc(0) : Buffer.from([3, 232, ...Buffer.from('bye€')])
      frames.push(frame(random, 0x80 | CLOSE, reason))
    } else {
      const isSmall = payload.length < 65_536
      const width = random.isOneIn(9) && isSmall ? random.oneOf([2, 8]) : 0
      frames.push(frame(random, 0x80 | (1 + random.below(2)), payload, { width }))
    }
  }
  return Buffer.concat(frames)
}

/** The stream in pieces, small or large. */
function cut(random: Random, stream: Buffer): Buffer[] {
  const most = stream.length > 30_000 ? 40_000 : random.isOneIn(3) ? 1 + random.below(4) : 1 + random.below(3000)
  const pieces: Buffer[] = []
  for (let at = 0; at < stream.length; ) {
    const size = 1 + random.below(most)
    pieces.push(stream.subarray(at, at + size))
    at += size
  }
  return pieces
}

type Event = readonly [kind: string, ...values: (string | number)[]]

/** The events of ws's Receiver. */
function eventsOfWs(pieces: readonly Buffer[]): Event[] {
  const events: Event[] = []
  const receiver = new Receiver({ isServer: true, maxPayload: MAX_PAYLOAD })
  receiver.on('message', (data: Buffer, isBinary: boolean) => {
    events.push(isBinary ? ['binary', data.toString('latin1')] : ['text', data.toString()])
  })
  receiver.on('ping', (data: Buffer) => events.push(['ping', data.toString('latin1')]))
  receiver.on('pong', () => events.push(['pong']))
  receiver.on('conclude', (code: number, reason: Buffer) => events.push(['close', code, reason.toString()]))
  receiver.on('error', () => {})
  for (const piece of pieces) {
    if (receiver.writableEnded || receiver.errored !== null) break
    receiver.write(Buffer.from(piece))
  }
  if (receiver.errored !== null) events.push(['invalid', codeOf(receiver.errored)])
  return events
}

function codeOf(error: Error): number {
  const status = Object.getOwnPropertySymbols(error).find(({ description }) => description === 'status-code')
  return (error as unknown as Record<symbol, number>)[status!]!
}

/** The events of FrameParser. Every read is overwritten after its call. */
function eventsOfParser(pieces: readonly Buffer[]): Event[] {
  const events: Event[] = []
  const sink: FrameSink = {
    onText: text => events.push(['text', text]),
    onBinary: payload => events.push(['binary', payload.toString('latin1')]),
    onPing: payload => events.push(['ping', payload.toString('latin1')]),
    onPong: () => events.push(['pong']),
    onClose: (code, reason) => events.push(['close', code, reason]),
    onEmptyFragment: () => {},
    onInvalid: code => events.push(['invalid', code]),
  }
  const parser = new FrameParser(sink, MAX_PAYLOAD, 0)
  const read = Buffer.alloc(1 << 17)
  for (const [i, piece] of pieces.entries()) {
    // At any offset, as the words of a mask are aligned in memory.
    const at = i % 9
    piece.copy(read, at)
    parser.push(read.subarray(at, at + piece.length))
    read.fill(0xee)
  }
  return events
}

/** Compares the events of both for streams with consecutive seeds, each event often enough to mean something. */
export function compareStreams(first: number, count: number): void {
  const kinds = new Map<string, number>()
  for (let seed = first; seed < first + count; seed++) {
    const random = new Random(seed)
    const pieces = cut(random, randomStream(random))
    const expected = eventsOfWs(pieces)
    const events = eventsOfParser(pieces)
    for (const [kind] of events) kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
    const last = events.at(-1)
    const isBadText = last?.[0] === 'invalid' && last[1] === 1007
    // ws looks at text when its message is complete: until then it may see more frames, or find another mistake.
    const seen = isBadText ? events.slice(0, -1) : events
    assert.deepEqual(seen, isBadText ? expected.slice(0, seen.length) : expected, `seed ${seed}`)
    const missed = isBadText ? expected.slice(seen.length).filter(([kind]) => kind === 'text' || kind === 'binary') : []
    assert.deepEqual(missed, [], `seed ${seed}`)
  }
  for (const kind of ['text', 'binary', 'ping', 'pong', 'close', 'invalid'])
    assert.ok(kinds.get(kind)! > count / 50, `${kind}: ${kinds.get(kind)}`)
}
