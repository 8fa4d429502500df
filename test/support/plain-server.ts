import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { type ServerOptions, type WebSocket, WebSocketServer } from 'ws'
import type { Test } from './cli.ts'

/** A server of `ws`, with the texts that it has received. */
export interface PlainServer {
  readonly url: string
  /** Texts by connection. */
  readonly received: string[][]
}

/** @param onConnection - called for each connection, numbered from 0. */
export async function plainServer(
  t: Test,
  onConnection: (socket: WebSocket, number: number) => void = () => {},
  options: ServerOptions = {},
): Promise<PlainServer> {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', ...options })
  await once(server, 'listening')
  const received: string[][] = []
  server.on('connection', socket => {
    const texts: string[] = []
    socket.on('error', () => {}).on('message', data => texts.push(String(data)))
    onConnection(socket, received.push(texts) - 1)
  })
  t.after(() => {
    for (const socket of server.clients) socket.terminate()
    server.close()
  })
  return { url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`, received }
}
