// Asks a server for sums as fast as it answers, and looks at each answer. `bench/messaging.ts` runs it in a process of its own.
import { setTimeout as sleep } from 'node:timers/promises'
import { connectMessaging } from '../dist/client/messaging/node.js'

export interface Job {
  readonly library: 'ours' | 'socket.io'
  readonly url: string
  readonly inFlight: number
  /** In seconds, as the next. */
  readonly warmup: number
  readonly seconds: number
}

export interface Called {
  /** Answers a second. */
  readonly rate: number
  /** Microseconds of this process for one answer. */
  readonly cost: number
  /** All answers, those while it warmed up too. */
  readonly total: number
}

type Ask = (a: number, b: number) => Promise<unknown>

const libraries: Readonly<Record<Job['library'], (url: string) => Promise<Ask>>> = {
  ours: async url => {
    const client = connectMessaging(url, { id: 'bench' })
    return (a, b) => client.call('add', [a, b])
  },
  'socket.io': async url => {
    // Only here may it be missing.
    const { io } = await import('socket.io-client' as string)
    const socket = io(url, { transports: ['websocket'] })
    return (a, b) => socket.emitWithAck('add', a, b)
  },
}

const { library, url, inFlight, warmup, seconds }: Job = JSON.parse(process.argv[2]!)
const ask = await libraries[library](url)
// Connected.
await ask(0, 0)
let answered = 0
let isOn = true

async function keepAsking(first: number): Promise<void> {
  for (let n = first; isOn; n += inFlight) {
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
isOn = false
await asking
process.send!({ rate: count / passed, cost: (user + system) / count, total: answered } satisfies Called, () =>
  process.exit(),
)
