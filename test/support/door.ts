import type { IncomingMessage, ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import type { Client, Closed, FilterModule, Payload, Refusal, Server, Transport } from '../../src/index.ts'
import { DROP } from '../../src/index.ts'
import { answerWith, ResponseStream } from '../../src/kit/index.ts'

/** One event of Server-Sent Events. */
export function eventFrame(payload: Payload): Buffer {
  return Buffer.from(`data: ${payload.toString().replaceAll('\n', '\ndata: ')}\n\n`)
}

/** The transport of a stream of Server-Sent Events. */
class Events implements Transport {
  readonly name = 'events'
  readonly remote: string
  readonly socket: ResponseStream
  readonly frame = eventFrame
  ending: Closed = { code: 1006, reason: '', clean: false }

  constructor(res: ServerResponse, { remote }: Client) {
    this.remote = remote
    this.socket = new ResponseStream(res)
  }

  pause(): void {}
  resume(): void {}
  close(code: number, reason: string): void {
    this.ending = { code, reason, clean: true }
    this.socket.finish(code)
  }
  destroy(): void {
    this.socket.destroy()
  }
}

/** Answers an admitted request. Default: its body, or its identity. */
export type Work = (client: Client, req: IncomingMessage, res: ServerResponse, server: Server) => unknown

export interface Door {
  readonly filter: FilterModule
  /** Admitted clients, in order. */
  readonly clients: Client[]
  /** The refusals, in order. */
  readonly refusals: Refusal[]
}

/** A filter with streams of Server-Sent Events at `/stream`; other requests are admitted as requests. */
export function door(work: Work = echoBody, more: FilterModule = {}): Door {
  const clients: Client[] = []
  const refusals: Refusal[] = []

  async function request(req: IncomingMessage, res: ServerResponse, server: Server) {
    const isStream = req.url!.split('?')[0]!.endsWith('/stream')
    const client = await server.admit(req, isStream ? { for: 'stream', frame: eventFrame } : { for: 'request' })
    if ('status' in client) {
      refusals.push(client)
      answerWith(res, client)
      return DROP
    }
    clients.push(client)
    if (!isStream) {
      await work(client, req, res, server)
      return DROP
    }
    const transport = new Events(res, client)
    const { closed } = server.attach(transport, client)
    transport.socket.on('close', () => closed(transport.ending.code, transport.ending.reason, transport.ending.clean))
    res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' }).flushHeaders()
    return DROP
  }
  return { filter: { request, ...more }, clients, refusals }
}

async function echoBody(client: Client, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const body = await text(req)
  res.end(body === '' ? `hello ${client.identity ?? 'stranger'}` : body)
}
