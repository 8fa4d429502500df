import assert from 'node:assert/strict'
import type { Writable } from 'node:stream'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import * as ws from 'ws'
import { frame } from '../../src/fanout/frame.ts'

// Exported by ws, not by its types.
const { Receiver } = ws as unknown as { Receiver: new (options: object) => Writable }

interface Parsed {
  readonly payload: string | Buffer
  readonly header: number
}

/** Parses a frame literally as in RFC 6455, section 5.2. */
function parse(bytes: Buffer): Parsed {
  assert.equal(bytes[0]! & 0x80, 0x80, 'FIN is set')
  assert.equal(bytes[0]! & 0x70, 0, 'no reserved bit is set')
  assert.equal(bytes[1]! & 0x80, 0, 'a server does not mask')
  const short = bytes[1]!
  const header = short < 126 ? 2 : short === 126 ? 4 : 10
  const length = short < 126 ? short : short === 126 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2))
  assert.equal(bytes.length, header + length, 'the length is that of the payload')
  const body = bytes.subarray(header)
  const opcode = bytes[0]! & 0x0f
  assert.ok(opcode === 1 || opcode === 2, `opcode ${opcode}`)
  return { payload: opcode === 1 ? body.toString() : body, header }
}

/** Parses a frame with another implementation. */
function receive(bytes: Buffer): { data: Buffer; isBinary: boolean }[] {
  const received: { data: Buffer; isBinary: boolean }[] = []
  const receiver = new Receiver({ isServer: false, allowSynchronousEvents: true })
  receiver.on('message', (data: Buffer, isBinary: boolean) => received.push({ data, isBinary }))
  receiver.write(bytes)
  return received
}

describe('frame', () => {
  for (const [length, header] of [
    [0, 2],
    [1, 2],
    [125, 2],
    [126, 4],
    [65_535, 4],
    [65_536, 10],
  ] as const) {
    it(`${length} bytes have a header of ${header}`, () => {
      const text = 'x'.repeat(length)
      assert.deepEqual(parse(frame(text)), { payload: text, header })
      const bytes = Buffer.alloc(length, 7)
      assert.deepEqual(parse(frame(bytes)), { payload: bytes, header })
    })
  }

  it('counts the bytes of a string, not its characters', () => {
    const text = '€'.repeat(42)
    assert.deepEqual(parse(frame(text)), { payload: text, header: 4 })
  })

  it('frames a string as text and a Buffer as binary, also with the same bytes', () => {
    assert.equal(frame('a')[0], 0x81)
    assert.equal(frame(Buffer.from('a'))[0], 0x82)
  })

  it('copies the payload: a Buffer may be used again', () => {
    const bytes = Buffer.from('abc')
    const framed = frame(bytes)
    bytes.fill(0)
    assert.deepEqual(parse(framed).payload, Buffer.from('abc'))
  })

  it('is the inverse of parsing', () => {
    const payload = fc.oneof(
      fc.string({ unit: 'grapheme', maxLength: 300 }),
      fc.uint8Array({ maxLength: 300 }).map(bytes => Buffer.from(bytes)),
      fc.constantFrom(0, 125, 126, 127, 65_535, 65_536, 70_000).map(length => Buffer.alloc(length, 1)),
    )
    fc.assert(
      fc.property(payload, given => {
        assert.deepEqual(parse(frame(given)).payload, given)
      }),
    )
  })

  it('is read by ws in the same way, also several frames in one piece', () => {
    const given = ['', 'text', Buffer.from([0, 255]), 'y'.repeat(126), Buffer.alloc(65_536, 3)]
    assert.deepEqual(
      receive(Buffer.concat(given.map(frame))),
      given.map(payload => ({ data: Buffer.from(payload), isBinary: typeof payload !== 'string' })),
    )
  })
})
