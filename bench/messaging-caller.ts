// Requests sums from a server as fast as it answers, and checks each answer. `bench/messaging.ts` runs it in a separate process.
import { setTimeout as sleep } from 'node:timers/promises'
import { connectMessaging } from '../dist/client/messaging/node.js'

export interface Job {
  readonly library: 'ours' | 'socket.io'
  readonly url: string
  readonly inFlight: number
  /** Seconds. */
  readonly warmup: number
  /** Seconds. */
  readonly seconds: number
}

export interface Called {
  /** Answers per second. */
  readonly rate: number
  /** CPU microseconds of this process per answer. */
  readonly cost: number
  /** All answers, including those of the warm-up. */
  readonly total: number
}

type Ask = (a: number, b: number) => Promise<unknown>

const libraries: Readonly<Record<Job['library'], (url: string) => Promise<Ask>>> = {
  ours: async url => {
    const client = connectMessaging(url, { id: 'bench' })
    return (a, b) => client.call('add', [a, b])
  },
  'socket.io': async url => {
    // Not installed for `--only ours`.
    const { io } = await import('socket.io-client' as string)
    const socket = io(url, { transports: ['websocket'] })
    return (a, b) => socket.emitWithAck('add', a, b)
  },
}

const { library, url, inFlight, warmup, seconds }: Job = JSON.parse(process.argv[2]!)
const ask = await libraries[library](url)
// Resolves when the client is connected.
await ask(0, 0)
let answered = 0
let isRunning = true

async function keepAsking(first: number): Promise<void> {
  for (let n = first; isRunning; n += inFlight) {
    const sum = await ask(n, 1)
    if (sum !== n + 1) throw new Error(`${n} + 1 is ${JSON.stringify(sum)} to ${library}`)
    answered++
  }
}

const asking = Promise.all(Array.from({ length: inFlight }, (_, i) => keepAsking(i)))
await Promise.race([sleep(warmup * 1000), asking])
const before = { time: performance.now(), answered, cpu: process.cpuUsage() }
await Promise.race([sleep(seconds * 1000), asking])
const passed = (performance.now() - before.time) / 1000
const { user, system } = process.cpuUsage(before.cpu)
const count = answered - before.answered
isRunning = false
await asking
process.send!({ rate: count / passed, cost: (user + system) / count, total: answered } satisfies Called, () =>
  process.exit(),
)
