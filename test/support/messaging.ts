import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { limitsOf } from '../../filters/messaging/wire/limits.ts'
import { type Action, frameOf, type Messaging } from '../../filters/messaging/wire/message.ts'
import type { MessagingApi } from '../../filters/messaging.ts'
import { messageOf } from '../../protocols/clever-show/message.ts'
import { type ParsedFrame, Parser } from '../../protocols/clever-show/parser.ts'
import { withPart } from '../../protocols/clever-show/part.ts'
import type { Client } from '../../src/contract/client.ts'
import type { FilterModule, Host } from '../../src/contract/filter.ts'
import type { ServerOptions } from '../../src/index.ts'
import { collectedLog } from './log.ts'
import { serve, until } from './peer.ts'
import { root } from './root.ts'

/** Frames recorded from clever-show, and frames that it refuses (clever-show-messaging). */
export interface Vector {
  readonly name: string
  readonly bytes: Buffer
  /** Of recorded frames. */
  readonly header?: string
  readonly contentText?: string
  readonly originalBehaviour?: 'accept' | 'ignore' | 'reset'
}

const recorded = JSON.parse(readFileSync(join(root, 'test/vectors/clever-show.json'), 'utf8'))

export const vectors: readonly Vector[] = recorded.vectors
  .filter(({ name, hex }: { name: string; hex?: string }) => hex && !name.startsWith('ntp/'))
  .map((vector: { hex: string }) => ({ ...vector, bytes: Buffer.from(vector.hex, 'hex') }))

export function vector(name: string): Buffer {
  const found = vectors.find(vector => vector.name === name)
  if (found === undefined) throw new Error(`no vector ${name}`)
  return found.bytes
}

/** A frame with any header. */
export function framed(header: unknown, content: string | Buffer = ''): Buffer {
  const text = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header))
  const length = Buffer.alloc(2)
  length.writeUInt16BE(text.length)
  return Buffer.concat([length, text, Buffer.from(content as string)])
}

/** A valid header of a content. */
export function headerOf(content: string | Buffer, more: object = {}): object {
  return {
    byteorder: 'little',
    'content-type': 'json',
    'content-encoding': 'utf-8',
    'content-length': Buffer.byteLength(content),
    'message-type': 'message',
    ...more,
  }
}

export function action(name: string, args: readonly unknown[] = [], kwargs: Action['kwargs'] = {}): Buffer {
  return frameOf({ type: 'message', name, args, kwargs })
}

export function request(
  name: string,
  id: string,
  args: readonly unknown[] = [],
  kwargs: Action['kwargs'] = {},
): Buffer {
  return frameOf({ type: 'request', name, id, args, kwargs })
}

export function response(name: string, id: string | number, value: unknown): Buffer {
  return frameOf({ type: 'response', name, id, value })
}

/** A copy with prototypes, for comparisons. */
export function plainly<T>(value: T): T {
  return JSON.parse(JSON.stringify(value))
}

/** A filter that uses messaging, as applications do. */
export function building(
  on: (api: MessagingApi, host: Host) => ReturnType<NonNullable<FilterModule['setup']>>,
): FilterModule {
  return { uses: ['messaging'], setup: (host: Host) => on(host.use('messaging' as never) as MessagingApi, host) }
}

/** A server with messaging on a TCP port, and its log. */
export async function door(t: TestContext, filters: ServerOptions['filters'] = [], options: ServerOptions = {}) {
  const { log, logged } = collectedLog()
  const defaults = { messagingPort: 0, messagingAskId: false }
  const server = await serve(t, { filters: ['messaging', ...filters], log, ...defaults, ...options })
  const { url } = logged.find(({ msg }) => String(msg).startsWith('messaging listens on')) as { url: string }
  return {
    server,
    logged,
    /** The newest peer. */
    clientOf: async (count: number): Promise<Client> => {
      await until(() => server.clients.size === count, `${count} clients`)
      return [...server.clients.values()].at(-1)!
    },
    port: Number(new URL(url).port),
    peer: () => TcpPeer.open(t, Number(new URL(url).port)),
  }
}

/** The other end of a TCP connection, which collects what it receives. */
export class TcpPeer {
  readonly socket: Socket
  readonly received: Messaging[] = []
  hasEnded = false
  readonly #parser = new Parser<Buffer>(Buffer, limitsOf(2 ** 30))

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', chunk => this.#read(chunk))
    socket.on('end', () => {
      this.hasEnded = true
    })
    socket.on('error', () => {})
  }

  static async open(t: TestContext, port: number): Promise<TcpPeer> {
    const socket = connect(port, '127.0.0.1')
    t.after(() => void socket.destroy())
    const peer = new TcpPeer(socket)
    await once(socket, 'connect')
    return peer
  }

  #read(chunk: Buffer): void {
    this.#parser.push(chunk)
    for (
      let frame: ParsedFrame<Buffer> | undefined = this.#parser.next();
      frame !== undefined;
      frame = this.#parser.next()
    )
      this.received.push(withPart(messageOf(frame, limitsOf())!))
  }

  send(...frames: Buffer[]): void {
    this.socket.write(Buffer.concat(frames))
  }

  /** The first `count` messages. Waits for them. */
  async get(count: number): Promise<readonly Messaging[]> {
    await until(() => this.received.length >= count, `${count} messages, got ${JSON.stringify(this.received)}`)
    return this.received.slice(0, count)
  }

  /** Waits until the other side has ended. */
  async end(): Promise<void> {
    await until(() => this.hasEnded || this.socket.closed, 'the end')
  }

  /** Messages as name and arguments. */
  get names(): readonly (readonly [string, unknown])[] {
    return this.received.map(said => [said.name, 'args' in said ? said.args : said.value])
  }
}

/** The error of a refusal. */
export function refusing(message: string, closeCode = 1007) {
  return (error: Error & { closeCode?: number }) => {
    assert.deepEqual([error.message, error.closeCode], [message, closeCode])
    return true
  }
}
