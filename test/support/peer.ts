import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { type ClientOptions, WebSocket } from 'ws'
import { createServer, type RunningServer, type ServerOptions } from '../../src/index.ts'

/** Starts a server on a free port without a log; it is closed after the test. */
export async function serve(
  t: { after(fn: () => Promise<void>): void },
  options: ServerOptions = {},
): Promise<RunningServer> {
  const server = await createServer({ port: 0, logLevel: 'silent', drain: 1, ...options })
  t.after(() => server.close())
  return server
}

/** A WebSocket client that collects its messages. */
export class Peer {
  readonly ws: WebSocket
  readonly received: (string | Buffer)[] = []
  closed: { code: number; reason: string } | undefined

  constructor(ws: WebSocket) {
    this.ws = ws
    ws.on('message', (data, isBinary) => this.received.push(isBinary ? (data as Buffer) : String(data)))
    ws.on('close', (code, reason) => {
      this.closed = { code, reason: String(reason) }
    })
    ws.on('error', () => {})
  }

  static async open(url: string, options: ClientOptions = {}, protocols: string[] = []): Promise<Peer> {
    const ws = new WebSocket(url, protocols, { perMessageDeflate: false, ...options })
    const peer = new Peer(ws)
    await once(ws, 'open')
    return peer
  }

  send(payload: string | Buffer): void {
    this.ws.send(payload)
  }

  /** Waits for the first `count` messages. */
  async get(count: number): Promise<readonly (string | Buffer)[]> {
    await until(() => this.received.length >= count, `${count} messages, got ${this.received.length}`)
    return this.received.slice(0, count)
  }

  async end(): Promise<{ code: number; reason: string }> {
    await until(() => this.closed !== undefined, 'a close')
    return this.closed!
  }
}

/** Waits for a condition, with a deadline. */
export async function until(condition: () => boolean | Promise<boolean>, what = 'it', ms = 30_000): Promise<void> {
  // Not the time of day, which tests may replace.
  const deadline = performance.now() + ms
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`waited ${ms} ms for ${what}`)
    await sleep(2)
  }
}

/** Waits until `read` returns the expected value, with a deadline; fails with the difference. */
export async function becomes<T>(read: () => T | Promise<T>, expected: T, ms = 30_000): Promise<void> {
  const isExpected = async () => isDeepStrictEqual(await read(), expected)
  await until(isExpected, 'it', ms).catch(async () => assert.deepEqual(await read(), expected))
}

/** Sends bytes to a server. `answer` waits until the server closes, and returns all that it sent. */
export async function raw(url: string, bytes: string | Buffer): Promise<{ socket: Socket; answer(): Promise<string> }> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  socket.on('error', () => {})
  let text = ''
  socket.on('data', chunk => {
    text += chunk.toString('latin1')
  })
  await once(socket, 'connect')
  socket.write(bytes)
  // `once` of node:events would reject on a failed write.
  const closed = new Promise(resolve => socket.once('close', resolve))
  return {
    socket,
    answer: async () => {
      await closed
      return text
    },
  }
}
