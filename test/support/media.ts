import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { readEnvelope } from '../../protocols/nanollm/envelope.ts'
import { root } from './root.ts'

/** A frame recorded between the browser client and the server of NanoLLM. */
export interface Vector {
  readonly name: string
  readonly direction: 'client->server' | 'server->client' | undefined
  readonly bytes: Buffer
}

const recorded = JSON.parse(readFileSync(join(root, 'test/vectors/nanollm.json'), 'utf8'))

export const vectors: readonly Vector[] = recorded.vectors.map((vector: { name: string; hex: string }) => ({
  ...vector,
  bytes: Buffer.from(vector.hex, 'hex'),
}))

export function vector(name: string): Buffer {
  const found = vectors.find(vector => vector.name.startsWith(name))
  if (found === undefined) throw new Error(`no vector ${name}`)
  return found.bytes
}

/** An envelope of a client. */
export function envelope(type: number, payload: string | Uint8Array, metadata = '', id = 0, timestamp = 0): Buffer {
  const bytes = Buffer.from(payload as Uint8Array)
  const head = Buffer.alloc(32)
  head.writeBigUInt64BE(BigInt(id), 0)
  head.writeBigUInt64BE(BigInt(timestamp), 8)
  head.writeUInt16BE(42, 16)
  head.writeUInt16BE(type, 18)
  head.writeUInt32BE(bytes.length, 20)
  head.write(metadata, 24, 8)
  return Buffer.concat([head, bytes])
}

/** Parses an envelope of a server, and decodes JSON and text. */
export function opened(message: string | Buffer | undefined) {
  const { id, timestamp, type, metadata, payload } = readEnvelope(message as Buffer)
  const said = type === 0 ? JSON.parse(String(payload)) : type === 1 ? String(payload) : payload
  return { id: Number(id), timestamp: Number(timestamp), type, metadata, said }
}
