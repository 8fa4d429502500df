// The load on two nodes: raw WebSocket connections to both in one process, for ours and Socket.IO alike. The sender is on
// the first. Every delivery is checked: the right message, once, in order.
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { parseArgs } from 'node:util'

const { values } = parseArgs({
  options: {
    nodes: { type: 'string', default: '' },
    protocol: { type: 'string', default: 'fws' },
    clients: { type: 'string', default: '500' },
    size: { type: 'string', default: '64' },
    inflight: { type: 'string', default: '16' },
    warmup: { type: 'string', default: '1' },
    seconds: { type: 'string', default: '3' },
    pids: { type: 'string', default: '' },
    redis: { type: 'string', default: '' },
  },
})
const perNode = Number(values.clients)
const size = Number(values.size)
const inflight = Number(values.inflight)

/** Of Socket.IO just enough: its packets are text frames (socket.io/docs/v4/engine-io-protocol, .../socket-io-protocol). */
const isSocketIo = values.protocol === 'socket.io'
const path = isSocketIo ? '/socket.io/?EIO=4&transport=websocket' : '/'
const [prefix, suffix] = isSocketIo ? ['42["m","', '"]'] : ['', '']
const textLength = prefix.length + size + suffix.length

/** A message ends with its number, of which these are the last digits, as they stand in its bytes. */
const DIGITS = 4
const TAILS = Uint32Array.from({ length: 10 ** DIGITS }, (_, n) => tail(n).readUInt32BE())
const tailAt = textLength - suffix.length - DIGITS

function tail(n: number): Buffer {
  return Buffer.from(String(n % 10 ** DIGITS).padStart(DIGITS, '0'))
}

const TEXT = 1
const CLOSE = 8
const PING = 9
const PONG = 10

/** Masked with 0, so that the bytes are the text. */
function frame(opcode: number, text: string): Buffer {
  const { length } = text
  const header = length < 126 ? [0x80 | opcode, 0x80 | length] : [0x80 | opcode, 0x80 | 126, length >> 8, length & 255]
  return Buffer.concat([Buffer.from([...header, 0, 0, 0, 0]), Buffer.from(text)])
}

/** Messages in flight never come near it. */
const RING = 4096
const sentAt = new Float64Array(RING)
let sent = 0
/** Messages that every client has. */
let complete = 0
/** Clients that lack message number `complete`. */
let lacking = 0
let deliveries = 0

/** Microseconds from sender to clients of the other node, in buckets of ten. */
const BUCKET = 10
const latencies = new Uint32Array(500_000)

class Receiver {
  readonly socket: Socket
  readonly #isRemote: boolean
  #unread: Buffer | undefined
  count = 0
  isReady = !isSocketIo

  constructor(socket: Socket, isRemote: boolean) {
    this.socket = socket
    this.#isRemote = isRemote
  }

  take(chunk: Buffer): void {
    const bytes = this.#unread === undefined ? chunk : Buffer.concat([this.#unread, chunk])
    const before = this.count
    let at = 0
    while (bytes.length - at >= 2) {
      const short = bytes[at + 1]!
      if (short === 126 && bytes.length - at < 4) break
      const start = at + (short === 126 ? 4 : 2)
      const end = start + (short === 126 ? bytes.readUInt16BE(at + 2) : short)
      if (end > bytes.length) break
      if (end - start === textLength && bytes[at] === (0x80 | TEXT)) this.#message(bytes, start)
      else this.#other(bytes[at]! & 15, bytes.toString('latin1', start, end))
      at = end
    }
    this.#unread = at < bytes.length ? bytes.subarray(at) : undefined
    if (this.count > before) this.#arrived(before)
  }

  #message(bytes: Buffer, start: number): void {
    if (bytes.readUInt32BE(start + tailAt) !== TAILS[this.count % TAILS.length])
      throw new Error(`expected message ${this.count}, got ${bytes.toString('latin1', start, start + textLength)}`)
    this.count++
  }

  #other(opcode: number, text: string): void {
    if (opcode === PING) this.socket.write(frame(PONG, text))
    else if (opcode === CLOSE) throw new Error(`closed by the server: ${text}`)
    else if (isSocketIo && text === '2') this.socket.write(frame(TEXT, '3'))
    else if (isSocketIo && text.startsWith('0{')) this.socket.write(frame(TEXT, '40'))
    else if (isSocketIo && text.startsWith('40{')) this.isReady = true
    else throw new Error(`not understood: opcode ${opcode}, ${text}`)
  }

  #arrived(before: number): void {
    deliveries += this.count - before
    if (this.#isRemote) {
      const now = performance.now()
      for (let n = before; n < this.count; n++) {
        const bucket = Math.floor(((now - sentAt[n % RING]!) * 1000) / BUCKET)
        latencies[Math.min(bucket, latencies.length - 1)]!++
      }
    }
    if (before > complete || this.count <= complete) return
    if (--lacking === 0) completed()
  }
}

async function open(url: string, isRemote: boolean): Promise<Receiver> {
  const { host, port } = new URL(url)
  const socket = connect({ port: Number(port), host: '127.0.0.1', noDelay: true })
  const key = 'dGhlIHNhbXBsZSBub25jZQ=='
  socket.write(
    `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
  )
  const receiver = new Receiver(socket, isRemote)
  let head = ''
  while (!head.includes('\r\n\r\n')) head += (await once(socket, 'data'))[0].toString('latin1')
  if (!head.startsWith('HTTP/1.1 101')) throw new Error(head)
  socket.on('data', chunk => receiver.take(chunk))
  socket.on('close', () => {
    throw new Error('the server ended a connection')
  })
  receiver.take(Buffer.from(head.slice(head.indexOf('\r\n\r\n') + 4), 'latin1'))
  while (!receiver.isReady) await once(socket, 'data')
  return receiver
}

const receivers: Receiver[] = []
for (const [i, url] of values.nodes.split(',').entries()) {
  for (let opened = 0; opened < perNode; opened += 50) {
    const batch = Array.from({ length: Math.min(50, perNode - opened) }, () => open(url, i > 0))
    receivers.push(...(await Promise.all(batch)))
  }
}
const sender = receivers.shift()!

let isSending = true
const template = frame(TEXT, `${prefix}${'0'.repeat(size)}${suffix}`)
const templateTail = template.length - suffix.length - DIGITS

function fill(): void {
  const frames: Buffer[] = []
  const now = performance.now()
  while (isSending && sent - complete < inflight) {
    const message = Buffer.from(template)
    tail(sent).copy(message, templateTail)
    frames.push(message)
    sentAt[sent++ % RING] = now
  }
  if (frames.length > 0) sender.socket.write(Buffer.concat(frames))
}

/** The slowest has it. */
function completed(): void {
  complete = receivers.reduce((least, { count }) => Math.min(least, count), sent)
  lacking = 0
  for (const { count } of receivers) if (count === complete) lacking++
  fill()
}

/** CPU seconds of processes so far (proc_pid_stat(5): fields 14 and 15, in ticks of 10 ms). */
function cpuOf(pids: string): number {
  let ticks = 0
  for (const pid of pids.split(',').filter(Boolean)) {
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]!.split(' ')
    ticks += Number(fields[11]) + Number(fields[12])
  }
  return ticks / 100
}

function snapshot() {
  const hasProc = process.platform === 'linux'
  return {
    at: performance.now(),
    deliveries,
    nodes: hasProc ? cpuOf(values.pids) : Number.NaN,
    redis: hasProc ? cpuOf(values.redis) : Number.NaN,
    loop: performance.eventLoopUtilization(),
  }
}

function percentile(share: number): number {
  let left = latencies.reduce((sum, count) => sum + count, 0) * share
  const bucket = latencies.findIndex(count => {
    left -= count
    return left <= 0
  })
  return ((bucket + 1) * BUCKET) / 1000
}

lacking = receivers.length
fill()
await new Promise(resolve => setTimeout(resolve, Number(values.warmup) * 1000))
latencies.fill(0)
const before = snapshot()
await new Promise(resolve => setTimeout(resolve, Number(values.seconds) * 1000))
const after = snapshot()
const [p50, p99] = [percentile(0.5), percentile(0.99)]

isSending = false
const deadline = performance.now() + 5000
while (complete < sent) {
  if (performance.now() > deadline) throw new Error(`${sent} messages sent, ${complete} arrived everywhere`)
  await new Promise(resolve => setTimeout(resolve, 10))
}
if (sender.count > 0) throw new Error('the sender got its own messages')

const delivered = after.deliveries - before.deliveries
process.send?.({
  rate: (delivered / (after.at - before.at)) * 1000,
  p50,
  p99,
  nodesCpu: (after.nodes - before.nodes) / (delivered / 1e6),
  redisCpu: (after.redis - before.redis) / (delivered / 1e6),
  busy: performance.eventLoopUtilization(after.loop, before.loop).utilization,
})
process.exit(0)
