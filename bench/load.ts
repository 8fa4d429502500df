// The load generator: many raw connections in one process, for one server or several nodes, driven by one Job. A closed loop
// (`inflight`) measures throughput, an open loop (`rate`) latency from the due time of each message, so that a slow server does not
// slow its own measurement. `check` verifies every message of every client.
import { Connection, type Shape } from './connection.ts'
import { Histogram } from './histogram.ts'
import { processorTime } from './processor-time.ts'
import { Room } from './room.ts'
import { type Dialect, documents, Template } from './template.ts'

/** Concurrent handshakes. */
const OPENING = 64
/** Milliseconds without a delivery after which the rest is lost, and in total until it is unfinished. */
const QUIET = 1000
const DRAIN_TIMEOUT = 3000
/** Milliseconds by which an open loop wakes early and spins, since timers are not exact. */
const EARLY = 2

export interface Job {
  readonly dialect: Dialect
  /** Each gets `clients`. With several, latency is measured at the clients of the other nodes. */
  readonly urls: readonly string[]
  readonly clients: number
  /** Rooms for the clients, each with one sender. */
  readonly rooms: number
  readonly audience: 'others' | 'everyone'
  /** Bytes of payload. */
  readonly size: number
  readonly json?: boolean
  readonly deflate?: boolean
  readonly check?: boolean
  /** Run in sequence; then the connections stay open until the process is killed. */
  readonly paces: readonly Pace[]
  /** Seconds of each pace before and during the measurement. */
  readonly warmup?: number
  readonly seconds?: number
  /** Clients in the first room that never read. */
  readonly stalled?: number
  /** Bytes per read. */
  readonly readBytes?: number
  /** What the load does in a closed loop without data. Default: `poll`. */
  readonly receiver?: Receiver
  /** The server never stops sending, so deliveries are not awaited. */
  readonly isEndless?: boolean
  /** Process ids by name, whose CPU time is measured. */
  readonly watch?: Readonly<Record<string, readonly number[]>>
}

/** Messages in flight per room, or messages per second. */
export type Pace = { readonly inflight: number } | { readonly rate: number }

/** `poll` tries its sockets again, so that no server pays for waking the load; `sleep` waits until the system wakes it. */
export type Receiver = 'poll' | 'sleep'

export interface Opened {
  readonly opened: number
  readonly seconds: number
  /** CPU seconds, by name. */
  readonly cpu: Readonly<Record<string, number>>
}

export interface Measured {
  /** Deliveries per second to all clients. */
  readonly rate: number
  /** Bytes of a delivery on the wire, with its header. */
  readonly wireBytes: number
  /** Milliseconds; with `check` only. */
  readonly p50: number
  readonly p99: number
  readonly max: number
  /** Open loop: delay of the sends in milliseconds, 99th percentile. */
  readonly late: number
  /** Closed loop: share of the time with data to read; near 1 the load generator is the bottleneck. */
  readonly busy: number
  readonly lost: number
  readonly doubled: number
  readonly reordered: number
  /** Deliveries that were still arriving after the drain timeout. */
  readonly unfinished: number
  /** CPU seconds per second, by name. */
  readonly cpu: Readonly<Record<string, number>>
}

const job: Job = JSON.parse(process.argv[2]!)
const { warmup = 0.5, seconds = 2, watch = {}, check = false } = job
const template = new Template(job.json ? documents(job.size) : ['0'.repeat(8).padEnd(job.size, 'x')], job.dialect)
const shape: Shape = {
  dialect: job.dialect,
  template,
  deflate: job.deflate ?? false,
  readBuffer: Buffer.allocUnsafe(job.readBytes ?? 65_536),
}
const connections: Connection[] = []
const rooms: Room[] = []
/** Milliseconds of polling without data. */
let polled = 0

async function openAll(): Promise<Opened> {
  const start = performance.now()
  const before = cpuSeconds()
  const wanted = job.urls.flatMap(url => Array.from({ length: job.clients }, (_, i) => ({ url, room: i % job.rooms })))
  let next = 0
  const openSome = async () => {
    while (next < wanted.length) {
      const i = next++
      const { url, room } = wanted[i]!
      connections[i] = new Connection(url, job.rooms > 1 ? String(room) : undefined, shape)
      await connections[i].opened
    }
  }
  await Promise.all(Array.from({ length: OPENING }, openSome))
  const took = performance.now() - start
  const cpu = spent(before, cpuSeconds())
  for (let i = 0; i < job.rooms; i++) rooms.push(new Room(connections[i]!, template))
  for (const [i, connection] of connections.entries()) {
    const room = rooms[(i % job.clients) % job.rooms]!
    const isMeasured = job.urls.length === 1 || i >= job.clients
    if (job.audience === 'everyone' || connection !== room.sender) room.add(connection, check, isMeasured)
  }
  for (let i = 0; i < (job.stalled ?? 0); i++) {
    const stalled = new Connection(job.urls[0]!, undefined, shape)
    await stalled.opened
    stalled.socket.removeAllListeners('close').on('error', () => {})
    stalled.socket.pause()
  }
  return { opened: connections.length, seconds: took / 1000, cpu }
}

async function measure(pace: Pace): Promise<Measured> {
  const latencies = new Histogram()
  const lateness = new Histogram()
  const stop = 'rate' in pace ? openLoop(pace.rate, lateness) : closedLoop(pace.inflight)
  await passed(warmup * 1000)
  if (check) for (const room of rooms) room.measure(latencies)
  const before = snapshot()
  await passed(seconds * 1000)
  const after = snapshot()
  stop()
  const unfinished = !job.isEndless && (await drain())
  if (check) for (const room of rooms) room.measured()
  const missing = sum(room => room.missing)
  const span = (after.at - before.at) / 1000
  const deliveries = after.deliveries - before.deliveries
  return {
    rate: deliveries / span,
    wireBytes: (after.bytes - before.bytes) / deliveries,
    p50: latencies.percentile(0.5) / 1000,
    p99: latencies.percentile(0.99) / 1000,
    max: latencies.count > 0 ? latencies.max / 1000 : Number.NaN,
    late: lateness.percentile(0.99) / 1000,
    busy: 'rate' in pace ? Number.NaN : 1 - (after.idle - before.idle) / 1000 / span,
    // A duplicate and a loss cancel out in `missing`.
    lost: unfinished
      ? sum(room => room.disorder.gaps)
      : Math.max(
          0,
          missing,
          sum(room => room.disorder.gaps),
        ),
    doubled: check ? sum(room => room.disorder.doubled) : Math.max(0, -missing),
    reordered: sum(room => room.disorder.reordered),
    unfinished: unfinished ? missing : 0,
    cpu: spent(before.cpu, after.cpu, span),
  }
}

function closedLoop(inflight: number): () => void {
  for (const room of rooms) {
    room.inflight = inflight
    room.fill()
  }
  const stopPolling = job.receiver === 'sleep' ? () => {} : poll()
  return () => {
    stopPolling()
    for (const room of rooms) room.inflight = 0
  }
}

function poll(): () => void {
  let isOver = false
  let received = 0
  let since = performance.now()
  const turn = () => {
    if (isOver) return
    const now = performance.now()
    const total = sum(room => room.received)
    if (total === received) polled += now - since
    received = total
    since = now
    setImmediate(turn)
  }
  turn()
  return () => {
    isOver = true
  }
}

/** All rooms have the same schedule. */
function openLoop(rate: number, lateness: Histogram): () => void {
  const period = 1000 / rate
  const start = performance.now()
  let sent = 0
  let isOver = false
  const tick = () => {
    if (isOver) return
    const now = performance.now()
    const due = Math.floor((now - start) / period) + 1
    if (due > sent) {
      lateness.record((now - start - sent * period) * 1000)
      for (const room of rooms) room.send(due - sent, start + sent * period, period)
      sent = due
    }
    const left = start + sent * period - performance.now()
    if (left > EARLY) setTimeout(tick, left - EARLY)
    else setImmediate(tick)
  }
  tick()
  return () => {
    isOver = true
  }
}

/** Waits for deliveries in flight; returns whether some were still arriving at the end. */
async function drain(): Promise<boolean> {
  const start = performance.now()
  let missing = sum(room => room.missing)
  let progress = start
  while (missing > 0 && performance.now() - progress < QUIET) {
    if (performance.now() - start > DRAIN_TIMEOUT) return true
    await passed(10)
    const now = sum(room => room.missing)
    if (now < missing) progress = performance.now()
    missing = now
  }
  return false
}

function snapshot() {
  return {
    at: performance.now(),
    deliveries: sum(room => room.received),
    bytes: connections.reduce((total, { bytes }) => total + bytes, 0),
    // With `poll` the event loop is never idle.
    idle: polled + performance.eventLoopUtilization().idle,
    cpu: cpuSeconds(),
  }
}

type Seconds = Readonly<Record<string, number>>

/** CPU time by name. */
function cpuSeconds(): Seconds {
  const entries = Object.entries(watch).map(([name, pids]) => [
    name,
    pids.reduce((seconds, pid) => seconds + processorTime(pid) / 1e6, 0),
  ])
  return Object.fromEntries(entries)
}

/** CPU time between two moments, per second of `span`. */
function spent(before: Seconds, after: Seconds, span = 1): Seconds {
  return Object.fromEntries(Object.entries(after).map(([name, seconds]) => [name, (seconds - before[name]!) / span]))
}

function sum(of: (room: Room) => number): number {
  return rooms.reduce((total, room) => total + of(room), 0)
}

function passed(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms))
}

process.send!(await openAll())
if (job.paces.length > 0) {
  const results: Measured[] = []
  for (const pace of job.paces) results.push(await measure(pace))
  process.send!(results)
}
