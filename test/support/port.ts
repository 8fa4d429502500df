import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'

/**
 * A port of 127.0.0.1 that is free, as are those `offsets` above it. It lies below what systems take for outgoing connections: from
 * there a stranger could have it while its server is away, and a client that tries again and again could connect to itself.
 */
export async function freePort(...offsets: readonly number[]): Promise<number> {
  for (let tries = 0; tries < 100; tries++) {
    const port = randomInt(10_000, 22_000)
    const free = await Promise.all([0, ...offsets].map(offset => isFree(port + offset)))
    if (free.every(Boolean)) return port
  }
  throw new Error('no free port from 10000 to 22000')
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer()
  try {
    await once(server.listen(port, '127.0.0.1'), 'listening')
  } catch {
    return false
  }
  await new Promise(closed => server.close(closed))
  return true
}
