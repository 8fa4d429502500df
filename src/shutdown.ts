import { setTimeout as sleep } from 'node:timers/promises'
import type { Hub } from './hub.ts'

/** Clients told at a time; their reconnects come as paced as their goodbyes. */
const BATCH = 200
/** Part of the drain time over which the goodbyes are spread, when there are many. */
const SPREAD = 0.5

/**
 * Closes every client with 1001 after its work is done, in paced batches with jitter, then waits for their disconnect
 * chains. Who is left at the deadline is terminated.
 */
export async function sayGoodbye(hub: Hub, drainMs: number): Promise<void> {
  const clients = [...hub.clients.values()]
  const deadline = AbortSignal.timeout(Math.max(1, drainMs))
  const batches = Math.ceil(clients.length / BATCH)
  const pause = Math.min(100, (drainMs * SPREAD) / Math.max(1, batches))
  const gone = hub.empty()
  for (let i = 0; i < clients.length; i += BATCH) {
    if (i > 0) await sleep(pause * (0.5 + Math.random()))
    for (const client of clients.slice(i, i + BATCH)) client.retire(1001, 'server is shutting down')
  }
  await Promise.race([gone, aborted(deadline)])
  if (!deadline.aborted) return
  const left = [...hub.clients.values()]
  hub.log.warn({ clients: left.length }, 'drain time is over, terminating')
  for (const client of left) client.terminate()
  // Disconnect chains still run; a client whose filter never settles is left behind.
  await Promise.race([gone, sleep(1000, undefined, { ref: false })])
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise(resolve => signal.addEventListener('abort', () => resolve(), { once: true }))
}
