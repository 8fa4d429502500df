import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { limitsOf } from '../../filters/messaging/wire/limits.ts'
import { Parser } from '../../protocols/clever-show/parser.ts'
import { framed, headerOf } from './messaging.ts'
import { until } from './peer.ts'
import { sha256 } from './sha256.ts'

export { sha256 } from './sha256.ts'

/** A message of a client. */
export interface Received {
  readonly header: Readonly<Record<string, unknown>>
  /** Content of a JSON frame. */
  readonly json: Readonly<Record<string, unknown>>
  readonly bytes: Buffer
  /** Name of the action or request. */
  readonly name: string
  readonly kwargs: Readonly<Record<string, unknown>>
}

export interface FileStationOptions {
  /** Ignores unknown requests, as clever-show. */
  readonly isCleverShow?: boolean
  /** Called first with each message; `true` suppresses the normal response. */
  readonly onMessage?: (message: Received, line: FileLine) => boolean | void
}

/** A connection. */
export interface FileLine {
  respond(to: Received, value: unknown, more?: object): void
  send(header: object, content: string | Buffer): void
  /** Settles with the response. */
  request(header: object, content: string | Buffer, id: string): Promise<Received>
  cut(): void
}

/** A server with files in memory that is controlled by its test, over TCP. */
export async function fileStation(t: TestContext, { isCleverShow = false, onMessage }: FileStationOptions = {}) {
  const files = new Map<string, Buffer>()
  const uploads = new Map<string, Buffer>()
  const received: Received[] = []
  const lines: FileLine[] = []

  function handle(message: Received, line: FileLine): void {
    received.push(message)
    if (onMessage?.(message, line) === true) return
    const { name, kwargs, header } = message
    const refuse = (code: string) => line.respond(message, null, { error: { code, message: `it is ${code}` } })
    if (isCleverShow && name.startsWith('fws.')) return
    if (name === 'fws.resume') line.respond(message, { window: 1000 })
    else if (name === 'fws.part') line.respond(message, { offset: uploads.get(String(kwargs.key))?.length ?? 0 })
    else if (name === 'fws.hash') line.respond(message, { sha256: sha256(files.get(String(kwargs.filepath))!) })
    else if (name !== 'filetransfer') refuse('unknown')
    else if (header['message-type'] === 'request') {
      const { filepath, offset, length } = kwargs as { filepath: string; offset: number; length: number }
      const file = files.get(filepath)
      if (file === undefined) refuse('missing')
      else if (isCleverShow) line.respond(message, file)
      else
        line.respond(message, file.subarray(offset, offset + length), {
          offset,
          size: file.length,
          version: sha256(file),
        })
    } else if (header.offset === undefined) files.set(String(header.filepath), message.bytes)
    else {
      const refusal = push(message)
      if (refusal !== undefined) refuse(refusal)
      else line.respond(message, { offset: Number(header.offset) + message.bytes.length })
    }
  }

  /** Accepts a part. @returns the code of an error. */
  function push({ header, bytes }: Received): string | undefined {
    const { key, offset, size, filepath } = header as { key: string; offset: number; size: number; filepath: string }
    const before = uploads.get(key) ?? Buffer.alloc(0)
    if (offset !== before.length) return 'offset'
    const after = Buffer.concat([before, bytes])
    uploads.set(key, after)
    if (after.length < size) return undefined
    uploads.delete(key)
    if (sha256(after) !== header.sha256) return 'corrupt'
    files.set(filepath, after)
    return undefined
  }

  const server = createServer((socket: Socket) => {
    const parser = new Parser<Buffer>(Buffer, limitsOf(2 ** 24))
    const pending = new Map<string, (response: Received) => void>()
    const line: FileLine = {
      respond({ name, header, json }, value, more = {}) {
        const fields = { requested_value: name, request_id: json.request_id ?? header.request_id, ...more }
        const content = Buffer.isBuffer(value) ? value : JSON.stringify({ value })
        line.send({ 'message-type': 'response', ...fields }, content)
      },
      send(header, content) {
        const type = typeof content === 'string' ? 'json' : 'binary'
        socket.write(framed(headerOf(content, { 'content-type': type, ...header }), content))
      },
      request: (header, content, id) =>
        new Promise(resolve => {
          pending.set(id, resolve)
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
        const json = fields['content-type'] === 'json' ? JSON.parse(String(bytes)) : {}
        const name =
          fields['message-type'] === 'request' ? json.requested_value : (fields.action ?? fields.requested_value)
        const message = { header: fields, json, bytes, name, kwargs: json.kwargs ?? {} }
        const resolve = fields['message-type'] === 'response' ? pending.get(String(fields.request_id)) : undefined
        if (resolve) resolve(message)
        else handle(message, line)
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
    /** Incomplete files by key. */
    uploads,
    received,
    /** Received parts as `[offset, bytes]`. */
    get parts() {
      return received
        .filter(({ header }) => header.action === 'filetransfer')
        .map(({ header, bytes }) => [header.offset, bytes.length])
    },
    line: async (count = 1) => {
      await until(() => lines.length >= count, `${count} clients`)
      return lines[count - 1]!
    },
  }
}

/** Bytes in which each group of four is its offset. */
export function offsetBytes(size: number): Buffer<ArrayBuffer> {
  const bytes = Buffer.alloc(size)
  for (let offset = 0; offset + 4 <= size; offset += 4) bytes.writeUInt32LE(offset, offset)
  return bytes
}
