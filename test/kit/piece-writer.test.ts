import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { describe, it } from 'node:test'
import { PieceWriter } from '../../src/kit/piece-writer.ts'

/** A stream that keeps its pieces, and accepts one only when it is asked to. */
function slowStream(): { stream: Writable; pieces: string[]; accept(): void } {
  const pieces: string[] = []
  let done = () => {}
  const write = (chunk: Buffer, _encoding: string, accepted: () => void) => {
    pieces.push(String(chunk))
    done = accepted
  }
  return { stream: new Writable({ write, highWaterMark: 1000 }), pieces, accept: () => done() }
}

describe('PieceWriter', () => {
  it('writes the texts of a turn as one piece', async () => {
    const { stream, pieces } = slowStream()
    const writer = new PieceWriter(stream)
    assert.equal(writer.write('a\n'), undefined)
    assert.equal(writer.write('b\n'), undefined)
    await new Promise(setImmediate)
    assert.deepEqual(pieces, ['a\nb\n'])
  })

  it('lets the caller wait for a slow reader', async () => {
    const { stream, accept } = slowStream()
    const writer = new PieceWriter(stream)
    const room = writer.write('x'.repeat(70_000))
    assert.equal(writer.unwritten, 70_000)
    let hasRoom = false
    void room?.then(() => {
      hasRoom = true
    })
    await new Promise(setImmediate)
    assert.equal(hasRoom, false)
    accept()
    await room
  })

  it('lets the caller wait with small texts too, while the reader is slow', async () => {
    const { stream, accept } = slowStream()
    const writer = new PieceWriter(stream)
    writer.write('x'.repeat(70_000))
    const rooms = [writer.write('a'), writer.write(Buffer.from('b'))]
    assert.ok(rooms[0] instanceof Promise)
    assert.equal(rooms[0], rooms[1])
    for (let texts = 0; texts < 3; texts++) {
      accept()
      await new Promise(setImmediate)
    }
    await rooms[0]
  })

  it('writes texts and bytes in their order, the bytes of a turn together', async () => {
    const turns: string[][] = []
    const writev = (chunks: { chunk: Buffer }[], accepted: () => void) => {
      turns.push(chunks.map(({ chunk }) => String(chunk)))
      accepted()
    }
    const writer = new PieceWriter(new Writable({ writev }))
    writer.write('a')
    writer.write(Buffer.from('b'))
    writer.write(Buffer.from('c'))
    writer.write('d')
    await new Promise(setImmediate)
    writer.write(Buffer.from('e'))
    await writer.flush()
    assert.deepEqual(turns.flat().filter(Boolean), ['a', 'b', 'c', 'd', 'e'])
    assert.deepEqual(turns[1], ['b', 'c', 'd'])
  })

  it('flushes', async () => {
    const { stream, pieces, accept } = slowStream()
    const writer = new PieceWriter(stream)
    writer.write('a')
    const flushed = writer.flush()
    assert.deepEqual(pieces, ['a'])
    accept()
    await new Promise(setImmediate)
    accept()
    await flushed
  })

  it('does not count a text as accepted that a reader refuses', async () => {
    const failing = new Writable({ write: (_chunk, _encoding, done) => setImmediate(done, new Error('write EPIPE')) })
    const writer = new PieceWriter(failing)
    writer.write('a')
    await writer.flush()
    assert.equal(writer.isGone, true)
  })

  for (const [code, failure] of [
    ['EPIPE', undefined],
    ['ECONNRESET', undefined],
    ['ENOSPC', 'the output cannot be written: write ENOSPC'],
  ] as const) {
    it(`distinguishes a reader that is gone from an output that has failed: ${code}`, async () => {
      const error = Object.assign(new Error(`write ${code}`), { code })
      const writer = new PieceWriter(new Writable({ write: (_chunk, _encoding, done) => setImmediate(done, error) }))
      writer.write('a')
      await writer.gone
      assert.equal(writer.failure?.message, failure)
    })
  }

  it('ends when the reader is gone, also for a caller that waits', async () => {
    const { stream } = slowStream()
    const writer = new PieceWriter(stream)
    const room = writer.write('x'.repeat(70_000))
    stream.destroy(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }))
    await Promise.all([room, writer.gone, writer.flush()])
    assert.equal(writer.isGone, true)
    assert.equal(writer.write('x'.repeat(70_000)), undefined)
  })
})
