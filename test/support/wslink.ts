import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { promisify } from 'node:util'
import { decode, encode } from '@msgpack/msgpack'
import type { WslinkApi } from '../../filters/wslink.ts'
import type { FilterModule, Host } from '../../src/contract/filter.ts'
import type { ServerOptions } from '../../src/index.ts'
import { Peer, serve } from './peer.ts'
import { root } from './root.ts'

export const SECRET = 's3cret'

/** A recorded frame between an official client and wslink (Python). */
export interface Vector {
  readonly name: string
  readonly isFromClient: boolean
  /** Text frames are strings. */
  readonly payload: string | Buffer
  readonly meaning: string
  /** Whether wslink (Python) closes the connection after it. */
  readonly isBad: boolean
}

const recorded = JSON.parse(readFileSync(join(root, 'test/vectors/wslink.json'), 'utf8'))

export const vectors: readonly Vector[] = recorded.vectors.map(
  (vector: { name: string; direction: string; hex?: string; text?: string; meaning: string; expect?: string }) => ({
    name: vector.name,
    isFromClient: vector.direction === 'client->server',
    payload: vector.text ?? Buffer.from(vector.hex!, 'hex'),
    meaning: vector.meaning,
    isBad: vector.expect === 'drop',
  }),
)

/** The frames of one exchange, in order. */
export function exchange(name: string): readonly Vector[] {
  const found = vectors.filter(vector => vector.name.startsWith(`${name}/`))
  if (found.length === 0) throw new Error(`no vectors ${name}`)
  return found
}

/** A filter that uses wslink. */
export function building(on: (wslink: WslinkApi) => void): FilterModule {
  return {
    uses: ['wslink'],
    setup: (host: Host) => on(host.use('wslink' as never) as WslinkApi),
  }
}

/** A server with these procedures, and functions to connect. */
export async function serveWslink(
  t: TestContext,
  on: (wslink: WslinkApi) => void = () => {},
  options: ServerOptions = {},
) {
  const server = await serve(t, { filters: ['wslink', building(on)], wslinkSecret: SECRET, ...options })
  return {
    server,
    url: server.url,
    open: () => Peer.open(server.url),
    /** An authenticated client of 2.x. */
    enter: () => Client2.enter(server.url),
  }
}

/** A chunk in the format of 2.x. */
export function chunk(id: number, at: number, total: number, bytes: Uint8Array = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(12)
  head.writeUInt32LE(id, 0)
  head.writeUInt32LE(at, 4)
  head.writeUInt32LE(total, 8)
  return Buffer.concat([head, bytes])
}

/** A message in one chunk. */
export function whole(value: unknown, id = 1): Buffer {
  const bytes = encode(value)
  return chunk(id, 0, bytes.length, bytes)
}

export function hello(secret: unknown = SECRET): object {
  return { wslink: '1.0', id: 'system:c0:0', method: 'wslink.hello', args: [{ secret }], kwargs: {} }
}

export function call(id: string, method: string, args: unknown = [], kwargs: unknown = {}): object {
  return { wslink: '1.0', id, method, args, kwargs }
}

/** Assembles the messages of a server to a client of 2.x. */
// biome-ignore lint/suspicious/noExplicitAny: tests know the types of the replies
export function opened(received: readonly (string | Buffer)[]): any[] {
  const messages: unknown[] = []
  let parts: Buffer[] = []
  for (const frame of received as readonly Buffer[]) {
    parts.push(frame.subarray(12))
    const bytes = Buffer.concat(parts)
    if (bytes.length < frame.readUInt32LE(8)) continue
    messages.push(decode(bytes))
    parts = []
  }
  return messages
}

/** A minimal client of 2.x. */
export class Client2 {
  readonly peer: Peer
  #calls = 0

  constructor(peer: Peer) {
    this.peer = peer
  }

  /** Authenticates with the secret. */
  static async enter(url: string): Promise<Client2> {
    const client = new Client2(await Peer.open(url))
    client.peer.send(whole(hello()))
    await client.peer.get(1)
    return client
  }

  // biome-ignore lint/suspicious/noExplicitAny: tests know the types of the replies
  get messages(): any[] {
    return opened(this.peer.received)
  }

  send(value: unknown): void {
    this.peer.send(whole(value, 1000 + this.#calls))
  }

  /** Returns the id of the call. */
  call(method: string, args: unknown = [], kwargs: unknown = {}): string {
    const id = `rpc:test:${this.#calls++}`
    this.send(call(id, method, args, kwargs))
    return id
  }
}

export type Version = 'wslink' | 'wslink-1'

/**
 * Runs a program with an official client, and returns its result. Its variables are `enter`, `bytesOf`, `digest`, `pattern` and
 * `url` of `wslink-official.mjs`.
 */
// biome-ignore lint/suspicious/noExplicitAny: tests know the results of their programs
export async function official(version: Version, url: string, program: string): Promise<any> {
  const argv = [join(root, 'test/support/wslink-official.mjs'), version, url, program]
  const { stdout } = await promisify(execFile)(process.execPath, argv, { timeout: 60_000 })
  return JSON.parse(stdout)
}
