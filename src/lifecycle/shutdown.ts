import { setTimeout as sleep } from 'node:timers/promises'
import type { Hub } from '../hub/hub.ts'

const SHUTTING_DOWN = 'server is shutting down'
/** Clients closed at a time: paced closes pace the reconnects. */
const BATCH = 200
/** Share of the drain time over which many closes are spread. */
const SPREAD = 0.5
/** Milliseconds for disconnect chains after their clients were terminated. */
const LAST_CHAINS = 1000

/**
 * Closes every client with 1001 after its work is done, in paced batches with jitter, then waits for their disconnect
 * chains, for `others`, and for entries of kept topics. Clients that are left after the drain time are terminated.
 */
export async function drain(hub: Hub, drainMs: number, others: Promise<void>): Promise<void> {
  const gone = Promise.all([hub.empty(), others])
    // What their last messages have appended.
    .then(() => hub.kept?.settled(drainMs))
    .then(() => true)
  const timer = new AbortController()
  const late = sleep(drainMs, false, { signal: timer.signal })
  // The timer is cancelled below.
  late.catch(() => {})
  await retireAll(hub, drainMs)
  if (await Promise.race([gone, late])) {
    timer.abort()
    return
  }
  const left = [...hub.clients.values()]
  hub.log.warn({ clients: left.length }, 'drain time is over, terminating')
  for (const client of left) client.disconnect(1001, SHUTTING_DOWN)
  await new Promise(setImmediate)
  for (const client of left) client.terminate()
  // A client whose filter never settles is abandoned.
  await Promise.race([hub.empty(), sleep(LAST_CHAINS)])
}

async function retireAll(hub: Hub, drainMs: number): Promise<void> {
  const clients = [...hub.clients.values()]
  const pause = Math.min(100, (drainMs * SPREAD * BATCH) / clients.length)
  for (let i = 0; i < clients.length; i += BATCH) {
    if (i > 0) await sleep(pause * (0.5 + Math.random()))
    for (const client of clients.slice(i, i + BATCH)) client.retire(1001, SHUTTING_DOWN)
  }
}
