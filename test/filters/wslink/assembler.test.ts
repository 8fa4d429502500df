import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ProtocolError } from '../../../filters/wslink/protocol-error.ts'
import { Assembler } from '../../../filters/wslink/v2/assembler.ts'
import { chunksOf } from '../../../filters/wslink/v2/chunks.ts'
import { chunk } from '../../support/wslink.ts'

const bytes = (length: number) => Buffer.from(Array.from({ length }, (_, i) => i & 0xff))
const fails = (run: () => unknown, code: number, message: string) =>
  assert.throws(
    run,
    (error: ProtocolError) => error instanceof ProtocolError && error.code === code && error.message === message,
  )

describe('chunks', () => {
  const cut = (length: number, maxFrame: number) =>
    chunksOf([bytes(length)], maxFrame, 7).map(parts => Buffer.concat(parts))

  it('fill their frames, except the last one', () => {
    const lengths = (length: number) => cut(length, 64).map(({ length }) => length)
    assert.deepEqual(lengths(51), [63])
    assert.deepEqual(lengths(52), [64])
    assert.deepEqual(lengths(53), [64, 13])
    assert.deepEqual(lengths(104), [64, 64])
    assert.deepEqual(lengths(105), [64, 64, 13])
  })
  it('have one byte each in minimal frames', () => {
    assert.deepEqual(cut(2, 5), [chunk(7, 0, 2, bytes(1)), chunk(7, 1, 2, Buffer.from([1]))])
  })
  it('share the memory of the message', () => {
    const parts = [bytes(3), bytes(100), Buffer.alloc(0), bytes(10)]
    const chunks = chunksOf(parts, 52, 1)
    assert.deepEqual(Buffer.concat(chunks.flatMap(([, ...pieces]) => pieces)), Buffer.concat(parts))
    for (const piece of chunks.flatMap(([, ...pieces]) => pieces))
      assert.ok(parts.some(({ buffer }) => buffer === piece.buffer))
  })
  it('are of a message below 4 GiB', () => {
    const endless = { length: 2 ** 32 } as Uint8Array
    assert.throws(
      () => chunksOf([endless], 64, 1),
      new RangeError('a message has at most 4294967295 bytes, received 4294967296'),
    )
  })
})

describe('assembler', () => {
  const message = bytes(10)
  const part = (from: number, to: number, id = 1) => chunk(id, from, 10, message.subarray(from, to))

  it('assembles chunks in any order', () => {
    for (const order of [
      [
        [0, 4],
        [4, 9],
        [9, 10],
      ],
      [
        [9, 10],
        [4, 9],
        [0, 4],
      ],
      [
        [4, 9],
        [9, 10],
        [0, 4],
      ],
    ] as const) {
      const assembler = new Assembler(100)
      const done = order.map(([from, to]) => assembler.add(part(from, to), 0))
      assert.deepEqual(done, [undefined, undefined, message])
      assert.equal(assembler.since, undefined)
    }
  })
  it('assembles several messages at a time, and allows an id to be reused', () => {
    const assembler = new Assembler(100)
    for (let i = 0; i < 3; i++) {
      assert.equal(assembler.add(part(0, 5, 1), 0), undefined)
      assert.equal(assembler.add(part(5, 10, 2), 0), undefined)
      assert.deepEqual(assembler.add(part(0, 5, 2), 0), message)
      assert.deepEqual(assembler.add(part(5, 10, 1), 0), message)
    }
  })
  it('refuses overlapping chunks', () => {
    for (const [from, to] of [
      [2, 4],
      [0, 3],
      [5, 10],
      [3, 8],
      [0, 10],
    ] as const) {
      const assembler = new Assembler(100)
      assembler.add(part(2, 6), 0)
      fails(() => assembler.add(part(from, to), 0), 1002, `two chunks of a message overlap at byte ${from}`)
    }
  })
  it('refuses chunks without bytes', () => {
    fails(() => new Assembler(100).add(chunk(1, 0, 10), 0), 1002, 'a chunk without bytes of its message')
  })
  it('limits the total bytes of unfinished messages', () => {
    const assembler = new Assembler(15)
    assembler.add(part(0, 9, 1), 0)
    fails(() => assembler.add(part(0, 9, 2), 0), 1009, 'more than 15 bytes of unfinished messages')
    fails(() => assembler.add(chunk(3, 0, 16, bytes(1)), 0), 1009, 'a message has at most 15 bytes, announced 16')
    assert.deepEqual(assembler.add(part(9, 10, 1), 0), message)
    assert.equal(assembler.add(part(0, 9, 2), 0), undefined)
  })
  it('limits the number of chunks', () => {
    for (const [limit, most] of [
      [8192, 144],
      [2_000_000, 16_384],
    ] as const) {
      const assembler = new Assembler(limit)
      for (let at = 0; at < most; at++) assembler.add(chunk(1, 2 * at, limit, bytes(1)), 0)
      fails(() => assembler.add(chunk(2, 0, 9, bytes(1)), 0), 1009, `more than ${most} chunks of unfinished messages`)
    }
  })
  it('copies small chunks', () => {
    const read = Buffer.alloc(65_536)
    chunk(1, 0, 2, Buffer.from('a')).copy(read)
    const assembler = new Assembler(100)
    assembler.add(read.subarray(0, 13), 0)
    read.fill(0)
    assert.deepEqual(assembler.add(chunk(1, 1, 2, Buffer.from('b')), 0), Buffer.from('ab'))
  })
  it('reports since when a message is idle', () => {
    const assembler = new Assembler(100)
    assert.equal(assembler.since, undefined)
    assembler.add(part(0, 1, 1), 10)
    assembler.add(part(0, 1, 2), 20)
    assert.equal(assembler.since, 10)
    assembler.add(part(1, 2, 1), 30)
    assert.equal(assembler.since, 20)
    assembler.touch(40)
    assert.equal(assembler.since, 40)
  })
})
