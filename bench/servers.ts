// The contestants, one in a process: `servers.ts NAME` listens on a free port and tells it to its parent.
import type { AddressInfo } from 'node:net'
import { WebSocketServer } from 'ws'
import { createServer } from '../dist/src/index.js'

/** What the ws README shows for a broadcast. */
async function plainWs(filter: string): Promise<number> {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', backlog: 1024 })
  server.on('connection', socket => {
    socket.on('error', console.error)
    socket.on('message', (data, isBinary) => {
      if (filter === 'echo') return socket.send(data, { binary: isBinary })
      for (const client of server.clients)
        if (client !== socket && client.readyState === 1) client.send(data, { binary: isBinary })
    })
  })
  await new Promise(resolve => server.once('listening', resolve))
  return (server.address() as AddressInfo).port
}

async function ours(filter: string): Promise<number> {
  const server = await createServer({ port: 0, filters: [filter], logLevel: 'warn', maxClients: 20_000 })
  return Number(new URL(server.url).port)
}

const [name, filter = 'broadcast'] = process.argv.slice(2)
const port = await (name === 'ws' ? plainWs(filter) : ours(filter))
process.on('message', message => {
  if (message !== 'memory') return
  globalThis.gc?.()
  process.send?.({ rss: process.memoryUsage.rss() })
})
process.send?.({ port })
