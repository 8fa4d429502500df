import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type ServerOptions, WebSocketServer } from 'ws'
import type { Test } from './cli.ts'

/** Servers of `ws`: how they select a subprotocol, and the attempts that fail without and with `chat` before one opens. */
export const FOREIGN: readonly (readonly [string, ServerOptions, number, number | undefined])[] = [
  ['selects the first subprotocol', {}, 0, 0],
  ['selects no subprotocol', { handleProtocols: () => false }, 1, undefined],
  ['selects only its own subprotocol', { handleProtocols: offered => offered.has('chat') && 'chat' }, 1, 0],
  ['selects one that is not offered', { handleProtocols: () => 'other' }, 1, undefined],
  ['returns all subprotocols', { handleProtocols: offered => [...offered].join(', ') }, 1, 1],
  ['selects the last subprotocol', { handleProtocols: offered => [...offered].at(-1)! }, 1, 1],
]

/** Starts an echo server of `ws` that answers plain requests with an empty page; returns its URL. */
export async function foreignServer(t: Test, options: ServerOptions): Promise<string> {
  const http = createServer((_, res) => res.setHeader('Content-Type', 'text/html').end('<link rel=icon href=data:,>'))
  const server = new WebSocketServer({ server: http, ...options })
  server.on('connection', ws => ws.on('message', (data, binary) => ws.send(data, { binary })).on('error', () => {}))
  t.after(async () => {
    for (const ws of server.clients) ws.terminate()
    http.close().closeAllConnections()
  })
  await once(http.listen(0, '127.0.0.1'), 'listening')
  return `ws://127.0.0.1:${(http.address() as AddressInfo).port}`
}
