import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { limitsOf } from '../../filters/messaging/wire/limits.ts'
import { Parser } from '../../protocols/clever-show/parser.ts'
import { framed, headerOf } from './messaging.ts'
import { until } from './peer.ts'

/** What a client has said. */
export interface Said {
  readonly header: Readonly<Record<string, unknown>>
  /** Of JSON. */
  readonly said: Readonly<Record<string, unknown>>
  readonly bytes: Buffer
  /** Of the action or request. */
  readonly name: string
  readonly kwargs: Readonly<Record<string, unknown>>
}

export interface FileStationOptions {
  /** Answers nothing but requests that it knows, as the original. */
  readonly isOriginal?: boolean
  /** Hears everything first; `true`: it has seen to it. */
  readonly hear?: (said: Said, line: FileLine) => boolean | void
}

/** One client. */
export interface FileLine {
  /** Answers something. */
  answer(to: Said, value: unknown, more?: object): void
  send(header: object, content: string | Buffer): void
  /** Asks for something, and settles with the answer. */
  ask(header: object, content: string | Buffer, id: string): Promise<Said>
  cut(): void
}

/** A ground station with files in memory, which says on TCP what the test wants. */
export async function fileStation(t: TestContext, { isOriginal = false, hear }: FileStationOptions = {}) {
  const files = new Map<string, Buffer>()
  const begun = new Map<string, Buffer>()
  const heard: Said[] = []
  const lines: FileLine[] = []

  function take(said: Said, line: FileLine): void {
    heard.push(said)
    if (hear?.(said, line) === true) return
    const { name, kwargs, header } = said
    const refuse = (code: string) => line.answer(said, null, { error: { code, message: `it is ${code}` } })
    if (isOriginal && name.startsWith('fws.')) return
    if (name === 'fws.resume') line.answer(said, { window: 1000 })
    else if (name === 'fws.part') line.answer(said, { offset: begun.get(String(kwargs.key))?.length ?? 0 })
    else if (name === 'fws.hash') line.answer(said, { sha256: sha256(files.get(String(kwargs.filepath))!) })
    else if (name !== 'filetransfer') refuse('unknown')
    else if (header['message-type'] === 'request') {
      const { filepath, offset, length } = kwargs as { filepath: string; offset: number; length: number }
      const file = files.get(filepath)
      if (file === undefined) refuse('missing')
      else if (isOriginal) line.answer(said, file)
      else
        line.answer(said, file.subarray(offset, offset + length), { offset, size: file.length, version: sha256(file) })
    } else if (header.offset === undefined) files.set(String(header.filepath), said.bytes)
    else {
      const refusal = push(said)
      if (refusal !== undefined) refuse(refusal)
      else line.answer(said, { offset: Number(header.offset) + said.bytes.length })
    }
  }

  /** Takes a part; answers why not. */
  function push({ header, bytes }: Said): string | undefined {
    const { key, offset, size, filepath } = header as { key: string; offset: number; size: number; filepath: string }
    const there = begun.get(key) ?? Buffer.alloc(0)
    if (offset !== there.length) return 'offset'
    const now = Buffer.concat([there, bytes])
    begun.set(key, now)
    if (now.length < size) return undefined
    begun.delete(key)
    if (sha256(now) !== header.sha256) return 'corrupt'
    files.set(filepath, now)
    return undefined
  }

  const server = createServer((socket: Socket) => {
    const parser = new Parser<Buffer>(Buffer, limitsOf(2 ** 24))
    const waiting = new Map<string, (said: Said) => void>()
    const line: FileLine = {
      answer({ name, header, said }, value, more = {}) {
        const fields = { requested_value: name, request_id: said.request_id ?? header.request_id, ...more }
        const content = Buffer.isBuffer(value) ? value : JSON.stringify({ value })
        line.send({ 'message-type': 'response', ...fields }, content)
      },
      send(header, content) {
        const type = typeof content === 'string' ? 'json' : 'binary'
        socket.write(framed(headerOf(content, { 'content-type': type, ...header }), content))
      },
      ask: (header, content, id) =>
        new Promise(resolve => {
          waiting.set(id, resolve)
          line.send(header, content)
        }),
      cut: () => void socket.destroy(),
    }
    lines.push(line)
    socket.on('error', () => {})
    socket.on('data', chunk => {
      parser.push(chunk)
      for (let frame = parser.next(); frame !== undefined; frame = parser.next()) {
        const fields = frame.header
        const bytes = Buffer.from(frame.content)
        const said = fields['content-type'] === 'json' ? JSON.parse(String(bytes)) : {}
        const name =
          fields['message-type'] === 'request' ? said.requested_value : (fields.action ?? fields.requested_value)
        const kwargs = said.kwargs ?? {}
        const got = { header: fields, said, bytes, name, kwargs }
        const asker = fields['message-type'] === 'response' ? waiting.get(String(fields.request_id)) : undefined
        if (asker) asker(got)
        else take(got, line)
      }
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    for (const line of lines) line.cut()
    server.close()
  })
  return {
    url: `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`,
    files,
    /** What is there of files that are not whole, by their keys. */
    begun,
    heard,
    /** The parts that have come, as `[offset, bytes]`. */
    get parts() {
      return heard
        .filter(({ header }) => header.action === 'filetransfer')
        .map(({ header, bytes }) => [header.offset, bytes.length])
    },
    line: async (count = 1) => {
      await until(() => lines.length >= count, `${count} clients`)
      return lines[count - 1]!
    },
  }
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
