import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'

/** Ports that this process has been given: their servers may not listen yet. */
const given = new Set<number>()

/**
 * A free port of 127.0.0.1 with free ports at `offsets` above it. It is below the range for outgoing connections: there another
 * process could take it while its server is down, and a client that retries could connect to itself.
 */
export async function freePort(...offsets: readonly number[]): Promise<number> {
  for (let tries = 0; tries < 100; tries++) {
    const port = randomInt(10_000, 22_000)
    const ports = [0, ...offsets].map(offset => port + offset)
    const free = await Promise.all(ports.map(isFree))
    if (!free.every(Boolean) || ports.some(port => given.has(port))) continue
    for (const port of ports) given.add(port)
    return port
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
