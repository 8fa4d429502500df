// Sends text messages to a server that answers each, with a fixed number in flight on each connection. `bench/exec.ts` runs it in a
// separate process. Raw sockets, prepared frames and answers of a known size: `ws` would cost more than the server.
import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Histogram } from './histogram.ts'
import { clientFrame, TEXT } from './template.ts'

export interface Job {
  readonly url: string
  readonly clients: number
  /** Messages in flight on each connection. */
  readonly inFlight: number
  /** Seconds. */
  readonly warmup: number
  /** Seconds. */
  readonly seconds: number
}

export interface Called {
  /** Answers per second, and all of them. */
  readonly rate: number
  readonly total: number
  /** Microseconds from a message to its answer. */
  readonly p50: number
  readonly p99: number
}

const TEXT_OF_MESSAGE = 'a message of 32 characters, text'
const ANSWER_BYTES = TEXT_OF_MESSAGE.length + 2
const { url, clients, inFlight, warmup, seconds }: Job = JSON.parse(process.argv[2]!)
const frames = Buffer.concat(Array.from({ length: inFlight }, () => clientFrame(TEXT, TEXT_OF_MESSAGE)))
const frameBytes = frames.length / inFlight
const { port, host } = new URL(url)
let answered = 0
let histogram: Histogram | undefined

async function open(): Promise<() => void> {
  const socket = connect({ port: Number(port), host: '127.0.0.1', noDelay: true })
  const key = 'dGhlIHNhbXBsZSBub25jZQ=='
  const upgrade = 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13'
  socket.write(`GET / HTTP/1.1\r\nHost: ${host}\r\n${upgrade}\r\nSec-WebSocket-Key: ${key}\r\n\r\n`)
  const [head] = await once(socket, 'data')
  if (!String(head).startsWith('HTTP/1.1 101')) throw new Error(String(head))
  socket.on('error', () => {})
  /** Times of the messages in flight, a ring. */
  const sent = new Float64Array(inFlight)
  let next = 0
  let rest = 0
  const send = (count: number) => {
    const now = performance.now()
    for (let i = 0; i < count; i++) sent[(next + i) % inFlight] = now
    socket.write(frames.subarray(0, count * frameBytes))
  }
  socket.on('data', chunk => {
    rest += chunk.length
    const count = Math.floor(rest / ANSWER_BYTES)
    rest -= count * ANSWER_BYTES
    if (count === 0) return
    answered += count
    if (histogram !== undefined) {
      const now = performance.now()
      for (let i = 0; i < count; i++) histogram.record((now - sent[(next + i) % inFlight]!) * 1000)
    }
    send(count)
    next = (next + count) % inFlight
  })
  return () => send(inFlight)
}

const begin = await Promise.all(Array.from({ length: clients }, open))
for (const start of begin) start()
await sleep(warmup * 1000)
const before = { time: performance.now(), answered }
histogram = new Histogram()
await sleep(seconds * 1000)
const rate = (answered - before.answered) / ((performance.now() - before.time) / 1000)
const called: Called = { rate, total: answered, p50: histogram.percentile(0.5), p99: histogram.percentile(0.99) }
process.send!(called, () => process.exit())
