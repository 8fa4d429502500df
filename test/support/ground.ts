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
import { until } from './peer.ts'

export interface GroundOptions {
  readonly over?: 'tcp' | 'ws'
  readonly port?: number
  /** What it answers to `fws.resume`; `undefined`: nothing, as the original. Default: a window of 1,000. */
  readonly resume?: { readonly window: number } | 'unknown' | 'off' | undefined
  /** Hears everything else, as it comes. */
  readonly hear?: (said: Messaging, line: Line) => void
}

/** One client of the ground station. */
export interface Line {
  readonly received: Messaging[]
  send(message: Messaging): void
  /** A frame. */
  write(frame: Buffer): void
  /** As a cable that is cut. */
  cut(): void
}

/** A ground station that says what the test wants, over TCP or WebSocket. */
export async function ground(t: TestContext, options: GroundOptions = {}) {
  const { over = 'tcp', port = 0, hear } = options
  const resume = 'resume' in options ? options.resume : { window: 1000 }
  const lines: Line[] = []
  const take = (line: Line) => {
    lines.push(line)
    return (said: Messaging) => {
      if (said.name !== 'fws.resume') hear?.(said, line)
      else if (resume !== undefined) line.send(answerTo(said, resume))
    }
  }
  const server = over === 'tcp' ? await listenTcp(port, take) : await listenWs(port, take)
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
    /** The client that came as number `count`. */
    line: async (count = 1): Promise<Line> => {
      await until(() => lines.length >= count, `${count} clients`)
      return lines[count - 1]!
    },
  }
}

function answerTo(said: Messaging, resume: { readonly window: number } | string): Messaging {
  const answer = { type: 'response', name: said.name, id: (said as { id: string }).id } as const
  if (typeof resume === 'object') return { ...answer, value: resume }
  return { ...answer, value: null, error: { code: resume, message: `resuming is ${resume}` } }
}

type Take = (line: Line) => (said: Messaging) => void

async function listenTcp(port: number, take: Take) {
  const server: Server = createServer((socket: Socket) => {
    const received: Messaging[] = []
    const hear = take({
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
        keep(withPart(messageOf(frame, limitsOf())!))
    })
    function keep(said: Messaging): void {
      received.push(said)
      hear(said)
    }
  })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return { port: (server.address() as AddressInfo).port, close: () => void server.close() }
}

async function listenWs(port: number, take: Take) {
  const server = new WebSocketServer({
    port,
    host: '127.0.0.1',
    handleProtocols: offered => (offered.has('messaging-frames') ? 'messaging-frames' : false),
  })
  await once(server, 'listening')
  server.on('connection', (socket: WebSocket) => {
    const received: Messaging[] = []
    const hear = take({
      received,
      send: message => socket.send(frameOf(message)),
      write: frame => socket.send(frame),
      cut: () => socket.terminate(),
    })
    socket.on('message', data => {
      const said = withPart(messageOf(readFrame(data as Buffer, limitsOf(2 ** 24)), limitsOf())!)
      received.push(said)
      hear(said)
    })
  })
  return { port: (server.address() as AddressInfo).port, close: () => void server.close() }
}
