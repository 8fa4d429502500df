// A client of test/support/filters/numbered.ts in its own process: sends numbered messages, and logs what it sends and handles.
import { appendFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Args, connectMessaging, type Delivery, readFrom, saveTo } from '../../client/messaging/node.ts'

export interface Orders {
  /** Servers; it connects to the next one after a loss. */
  readonly urls: readonly string[]
  /** The log file of all processes. */
  readonly log: string
  /** Requests per second, and as many actions. */
  readonly rate: number
  /** A file transfer in place of messages. */
  readonly transfer?: Transfer | undefined
}

export interface Transfer {
  readonly direction: 'push' | 'pull'
  readonly local: string
  readonly remote: string
}

/** A report to the parent process: connected, file complete, or its bytes so far. */
export type Report = 'open' | 'transferred' | number

/** Milliseconds from the log record to the response. */
const WORK = 20
const TIMEOUT = 60_000

const { urls, log, rate, transfer }: Orders = JSON.parse(process.argv[2]!)
const copter = connectMessaging(urls[0]!, { id: 'copter1', firstDelay: 50, maxDelay: 200, heartbeat: 500 })
let count = 0
let moves = 0

function report(what: Report): void {
  process.send!(what)
}

function record(...what: readonly unknown[]): void {
  appendFileSync(log, `${JSON.stringify([Date.now(), process.pid, ...what])}\n`)
}

async function work(kind: string, [n]: Args, { repeated }: Delivery): Promise<unknown> {
  record('done', kind, n, repeated)
  await sleep(WORK)
  record('worked', kind, n)
  return n
}

async function send(kind: string, begin: (n: string) => Promise<unknown>): Promise<void> {
  const n = `${process.pid}.${++count}`
  record('said', kind, n)
  try {
    const answer = await begin(n)
    if (kind === 'call' && answer !== n) throw Object.assign(new Error(), { code: `the answer ${answer}` })
    record('answered', kind, n)
  } catch (error) {
    record('failed', kind, n, (error as { code?: string }).code)
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
const sending = setInterval(() => {
  if (transfer !== undefined) return
  void send('call', n => copter.call('call', [n], {}, { timeout: TIMEOUT }))
  void send('deliver', n => copter.deliver('deliver', [n], {}, { timeout: TIMEOUT }))
}, 1000 / rate)
process.on('message', order => {
  if (order === 'rest') clearInterval(sending)
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
