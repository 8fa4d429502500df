import { existsSync, readdirSync } from 'node:fs'
import { join, relative } from 'node:path'
import type { TestContext } from 'node:test'
import { frameOf, type Messaging, type Request, type Response } from '../../filters/messaging/wire/message.ts'
import type { FilterModule } from '../../src/contract/filter.ts'
import type { ServerOptions } from '../../src/index.ts'
import { folder, launch } from './cli.ts'
import { door, framed, headerOf, request, response, TcpPeer } from './messaging.ts'
import { watched } from './resources.ts'
import { sha256 } from './sha256.ts'

export { sha256 } from './sha256.ts'

/** Bytes of a part. */
export const PART = 262_144

/** A server in its own process, whose resources are measured, and its peers. */
export async function startedOn(t: TestContext, root: string, more = ['--no-messaging-ask-id']) {
  const options = ['messaging', '--messaging-port', '0', '--messaging-root', root, ...more]
  const server = await launch(t, [...watched.argv, ...options], { command: watched.command })
  const { url } = server.logged().find(({ msg }) => String(msg).startsWith('messaging listens on')) as { url: string }
  const port = Number(new URL(url).port)
  return { server, port, peer: () => TcpPeer.open(t, port) }
}

/** Answers the request for the id, and does not count it as received. */
export async function known(peer: TcpPeer, id: string): Promise<TcpPeer> {
  const [question] = await peer.get(1)
  peer.send(response('id', (question as { id: string }).id, id))
  peer.send(request('fws.clock', 'known', [0]))
  await peer.get(2)
  peer.received.length = 0
  return peer
}

export interface FileDoor extends Omit<ServerOptions, 'filters'> {
  /** Entries of the root. */
  readonly files?: Readonly<Record<string, string>>
  readonly guards?: readonly FilterModule[]
  readonly filters?: readonly (string | FilterModule)[]
}

/** A server with a root, and messaging on a TCP port. */
export async function fileDoor(t: TestContext, { files, guards = [], filters = [], ...options }: FileDoor = {}) {
  const removals: (() => void | Promise<void>)[] = []
  const root = folder({ after: remove => void removals.push(remove) }, files)
  const all = { filters: [...guards, 'messaging', ...filters], messagingOpen: true, messagingRoot: root, ...options }
  const opened = await door(t, [], all)
  // Hooks run in order, and none after one that throws: files that the server still writes must not make this one throw.
  t.after(async () => {
    for (const remove of removals) await remove()
  })
  return { root, ...opened }
}

/** A file as clever-show sends it. */
export function pushed(filepath: string, content: Buffer | string): Buffer {
  return frameOf({
    type: 'message',
    name: 'filetransfer',
    args: [],
    kwargs: { filepath },
    content: Buffer.from(content),
  })
}

/** A part of a file, as the client library sends it. */
export function part(
  id: string,
  filepath: string,
  { key = 'k', offset, size, sha256 }: { key?: string; offset: number; size: number; sha256?: string },
  content: Buffer,
): Buffer {
  const header = { key, offset, size, ...(sha256 !== undefined && { sha256 }) }
  return frameOf({ type: 'message', name: 'filetransfer', id, args: [], kwargs: { filepath }, content, part: header })
}

/** All parts of a file from an offset on, with their offsets as ids. */
export function partsOf(filepath: string, content: Buffer, { key = 'k', from = 0 } = {}): Buffer[] {
  const parts: Buffer[] = []
  const size = content.length
  let offset = from
  do {
    const bytes = content.subarray(offset, offset + PART)
    const isLast = offset + bytes.length === size
    parts.push(part(`${offset}`, filepath, { key, offset, size, ...(isLast && { sha256: sha256(content) }) }, bytes))
    offset += bytes.length
  } while (offset < size)
  return parts
}

/** The frame of a push with incomplete content. */
export function begun(filepath: string, size: number, bytes: Buffer): Buffer {
  const header = { action: 'filetransfer', filepath, 'content-type': 'binary', 'content-length': size }
  return Buffer.concat([framed(headerOf('', header)), bytes])
}

/** The last answer to a peer, in short. */
export function last({ received }: TcpPeer): unknown {
  const said = received.at(-1) as { error?: { code: string; message: string }; value?: unknown }
  return said.error === undefined ? said.value : [said.error.code, said.error.message]
}

/** Sends a part, and returns the response. */
export async function taken(peer: TcpPeer, ...args: Parameters<typeof part>): Promise<unknown> {
  const count = peer.received.length
  peer.send(part(...args))
  await peer.get(count + 1)
  return last(peer)
}

/** A copy without prototypes, as received messages are. */
export function bare(value: object): object {
  return Object.assign(Object.create(null), value)
}

/** Requests a file; resolves with the response. */
export async function asked(peer: TcpPeer, kwargs: Request['kwargs'], name = 'filetransfer'): Promise<Response> {
  const count = peer.received.length
  peer.send(request(name, `${count}`, [], kwargs))
  return (await peer.get(count + 1))[count] as Response
}

/** Bytes with different values. */
export function bytesOf(size: number): Buffer {
  const bytes = Buffer.alloc(size)
  for (let i = 0; i < size; i++) bytes[i] = (i * 31 + (i >> 8)) & 0xff
  return bytes
}

/** Parts of incomplete files. */
export function unfinished(root: string): string[] {
  const path = join(root, '.fws-parts')
  return existsSync(path) ? readdirSync(path) : []
}

/** Other entries under a root; links are not followed. */
export function filesIn(root: string): string[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .map(({ parentPath, name }) => relative(root, join(parentPath, name)))
    .filter(name => !name.startsWith('.fws-parts'))
    .sort()
}

/** A client that supports parts, whose files are in memory and whose answers a test can change. */
export class FilePeer {
  readonly files = new Map<string, Buffer>()
  /** Received requests and parts, in words. */
  readonly heard: string[] = []
  /** Bytes of incomplete files. */
  readonly there = new Map<string, Buffer>()
  /** Replaces a response; `undefined` sends none. */
  answer: (said: Messaging, answer: Buffer) => Buffer | undefined = (_, answer) => answer
  readonly #peer: TcpPeer
  #done = 0

  constructor(peer: TcpPeer) {
    this.#peer = peer
    peer.socket.on('data', () => this.#work())
  }

  #work(): void {
    for (; this.#done < this.#peer.received.length; this.#done++) {
      const said = this.#peer.received[this.#done]!
      if (said.type === 'response') continue
      const answered = this.#answerTo(said)
      const frame = answered && this.answer(said, answered)
      if (frame !== undefined) this.#peer.send(frame)
    }
  }

  #answerTo(said: Exclude<Messaging, Response>): Buffer | undefined {
    const { name, id, kwargs } = said
    const filepath = String(kwargs.filepath)
    const respond = (more: Partial<Response>) => frameOf({ type: 'response', name, id: id!, value: null, ...more })
    if (said.type === 'message') {
      if (said.content === undefined || said.part === undefined) return undefined
      return respond({ value: this.#take(filepath, said.part, said.content as Buffer) })
    }
    const file = this.files.get(filepath)
    this.heard.push(`${name} ${filepath} ${kwargs.offset ?? ''}`.trim())
    if (name === 'fws.part') return respond({ value: { offset: this.there.get(String(kwargs.key))?.length ?? 0 } })
    if (file === undefined) return respond({ error: { code: 'missing', message: 'no file' } })
    if (name === 'fws.hash') return respond({ value: { sha256: sha256(file) } })
    if (kwargs.offset === undefined) return respond({ content: file })
    const offset = Number(kwargs.offset)
    const content = file.subarray(offset, offset + Number(kwargs.length))
    return respond({ content, part: { offset, size: file.length, version: sha256(file) } })
  }

  #take(
    filepath: string,
    { key, offset, sha256: hash }: { key: string; offset: number; sha256?: string },
    bytes: Buffer,
  ) {
    this.heard.push(`part ${filepath} ${offset}`)
    const all = Buffer.concat([this.there.get(key) ?? Buffer.alloc(0), bytes])
    this.there.set(key, all)
    if (hash === sha256(all)) this.files.set(filepath, all)
    return { offset: all.length }
  }
}
