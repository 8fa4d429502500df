import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { type WebSocket, WebSocketServer } from 'ws'
import { limitsOf } from '../../filters/messaging/wire/limits.ts'
import { frameOf, type Messaging } from '../../filters/messaging/wire/message.ts'
import { readFrame } from '../../protocols/clever-show/frame.ts'
import { messageOf } from '../../protocols/clever-show/message.ts'
import { Parser } from '../../protocols/clever-show/parser.ts'
import { withPart } from '../../protocols/clever-show/part.ts'
import { readText, writeText } from '../../protocols/clever-show/text.ts'
import { until } from './peer.ts'

export interface GroundOptions {
  readonly over?: 'tcp' | 'ws'
  readonly port?: number
  /** Response to `fws.resume`; `undefined`: no response, as clever-show. Default: a window of 1,000. */
  readonly resume?: { readonly window: number } | 'unknown' | 'off' | undefined
  /** Called with all other messages. */
  readonly onMessage?: (message: Messaging, line: Line) => void
}

/** A connection of the ground station. */
export interface Line {
  readonly received: Messaging[]
  send(message: Messaging): void
  write(frame: Buffer): void
  /** Breaks the connection. */
  cut(): void
}

/** A server that is controlled by its test, over TCP or WebSocket. */
export async function ground(t: TestContext, options: GroundOptions = {}) {
  const { over = 'tcp', port = 0, onMessage } = options
  const resume = 'resume' in options ? options.resume : { window: 1000 }
  const lines: Line[] = []
  const accept = (line: Line) => {
    lines.push(line)
    return (message: Messaging) => {
      if (message.name !== 'fws.resume') onMessage?.(message, line)
      else if (resume !== undefined) line.send(resumeResponse(message, resume))
    }
  }
  const server = over === 'tcp' ? await listenTcp(port, accept) : await listenWs(port, accept)
  const close = async () => {
    for (const line of lines) line.cut()
    server.close()
  }
  t.after(close)
  return {
    url: `${over}://127.0.0.1:${server.port}`,
    port: server.port,
    lines,
    close,
    /** The connection with this number, from 1. */
    line: async (count = 1): Promise<Line> => {
      await until(() => lines.length >= count, `${count} clients`)
      return lines[count - 1]!
    },
  }
}

function resumeResponse({ name, ...request }: Messaging, resume: { readonly window: number } | string): Messaging {
  const response = { type: 'response', name, id: (request as { id: string }).id } as const
  if (typeof resume === 'object') return { ...response, value: resume }
  return { ...response, value: null, error: { code: resume, message: `resuming is ${resume}` } }
}

/** Returns the handler for messages of the connection. */
type Accept = (line: Line) => (message: Messaging) => void

async function listenTcp(port: number, accept: Accept) {
  const server: Server = createServer((socket: Socket) => {
    const received: Messaging[] = []
    const handle = accept({
      received,
      send: message => void socket.write(frameOf(message)),
      write: frame => void socket.write(frame),
      cut: () => void socket.destroy(),
    })
    const parser = new Parser<Buffer>(Buffer, limitsOf(2 ** 24))
    socket.on('error', () => {})
    socket.on('data', chunk => {
      parser.push(chunk)
      for (let frame = parser.next(); frame !== undefined; frame = parser.next())
        receive(withPart(messageOf(frame, limitsOf())!))
    })
    function receive(message: Messaging): void {
      received.push(message)
      handle(message)
    }
  })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return { port: (server.address() as AddressInfo).port, close: () => void server.close() }
}

async function listenWs(port: number, accept: Accept) {
  const server = new WebSocketServer({
    port,
    host: '127.0.0.1',
    handleProtocols: offered => (offered.has('messaging-json') ? 'messaging-json' : false),
  })
  await once(server, 'listening')
  server.on('connection', (socket: WebSocket) => {
    const received: Messaging[] = []
    const handle = accept({
      received,
      send: message => socket.send(writeText(message) ?? frameOf(message)),
      write: frame => socket.send(frame),
      cut: () => socket.terminate(),
    })
    socket.on('message', (data, isBinary) => {
      const limits = limitsOf(2 ** 24)
      const message = isBinary
        ? withPart(messageOf(readFrame(data as Buffer, limits), limitsOf())!)
        : readText(String(data), limits)!
      received.push(message)
      handle(message)
    })
  })
  return { port: (server.address() as AddressInfo).port, close: () => void server.close() }
}
