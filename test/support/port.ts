import { randomInt } from 'node:crypto'
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { createServer } from 'node:net'

/** Distance from a port to the UDP port that claims it: tests also use UDP ports with the numbers that they get. */
export const CLAIM = 33_000

/**
 * A free port of 127.0.0.1 with free ports at `offsets` above it. It is below the range for outgoing connections: there another
 * process could take it while its server is down, and a client that retries could connect to itself.
 */
export async function freePort(...offsets: readonly number[]): Promise<number> {
  for (let tries = 0; tries < 100; tries++) {
    const port = randomInt(10_000, 22_000)
    const ports = [0, ...offsets].map(offset => port + offset)
    const claims = await Promise.all(ports.map(claim))
    if (claims.every(Boolean) && (await Promise.all(ports.map(isFree))).every(Boolean)) return port
    for (const socket of claims) socket?.close()
  }
  throw new Error('no free port from 10000 to 22000')
}

/** Binds a UDP socket until the process ends: other tests do not get the port while its server is not started yet, or is down. */
async function claim(port: number): Promise<Socket | undefined> {
  const socket = createSocket('udp4')
  try {
    await once(socket.bind(port + CLAIM, '127.0.0.1'), 'listening')
    return socket.unref()
  } catch {
    socket.close()
    return undefined
  }
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
