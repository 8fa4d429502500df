// A client of test/support/filters/numbered.ts in a process of its own: says numbered things, and notes what it says and does.
import { appendFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Args, connectMessaging, type Delivery, readFrom, saveTo } from '../../client/messaging/node.ts'

export interface Orders {
  /** Of servers; it goes to the next one when it loses one. */
  readonly urls: readonly string[]
  /** File of what it said and did. */
  readonly log: string
  /** Actions, and requests, that it says a second. */
  readonly rate: number
  /** What it does instead: sends a file, or gets one. */
  readonly transfer?: Transfer | undefined
}

export interface Transfer {
  readonly direction: 'push' | 'pull'
  readonly local: string
  readonly remote: string
}

/** What it tells whoever has started it: that it is connected, that the file is there, how many bytes of it are. */
export type Told = 'open' | 'transferred' | number

/** Milliseconds of each thing to do, after its effect. */
const WORK = 20
const TIMEOUT = 15_000

const { urls, log, rate, transfer }: Orders = JSON.parse(process.argv[2]!)
const copter = connectMessaging(urls[0]!, { id: 'copter1', firstDelay: 50, maxDelay: 200, heartbeat: 500 })
let count = 0
let moves = 0

function report(told: Told): void {
  process.send!(told)
}

function note(...what: readonly unknown[]): void {
  appendFileSync(log, `${JSON.stringify([Date.now(), process.pid, ...what])}\n`)
}

async function work(kind: string, [n]: Args, { repeated }: Delivery): Promise<unknown> {
  note('done', kind, n, repeated)
  await sleep(WORK)
  return n
}

async function say(kind: string, begin: (n: string) => Promise<unknown>): Promise<void> {
  const n = `${process.pid}.${++count}`
  note('said', kind, n)
  try {
    const answer = await begin(n)
    if (answer !== undefined && answer !== n) throw Object.assign(new Error(), { code: `the answer ${answer}` })
    note('answered', kind, n)
  } catch (error) {
    note('failed', kind, n, (error as { code?: string }).code)
  }
}

function move(): void {
  copter.reload({ url: urls[++moves % urls.length]! })
}

copter.action('emit', (args, _kwargs, delivery) => work('emit', args, delivery))
copter.request('ask', (args, _kwargs, delivery) => work('ask', args, delivery))
copter.on('close', ({ retryIn }) => {
  if (urls.length > 1 && retryIn) move()
})
copter.on('open', () => report('open'))
const saying = setInterval(() => {
  if (transfer !== undefined) return
  void say('call', n => copter.call('call', [n], {}, { timeout: TIMEOUT }))
  void say('deliver', n => copter.deliver('deliver', [n], {}, { timeout: TIMEOUT }))
}, 1000 / rate)
process.on('message', order => {
  if (order === 'rest') clearInterval(saying)
  if (order === 'move') move()
})
process.on('disconnect', () => process.exit())
if (transfer !== undefined) {
  const { direction, local, remote } = transfer
  const onProgress = ({ bytes }: { bytes: number }) => report(bytes)
  if (direction === 'push') await copter.sendFile(readFrom(local), remote, { onProgress })
  else await copter.getFile(remote, { onProgress, into: saveTo(local) })
  report('transferred')
}
