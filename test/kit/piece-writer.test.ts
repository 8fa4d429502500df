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
    let hasRoom = false
    void room?.then(() => {
      hasRoom = true
    })
    await new Promise(setImmediate)
    assert.equal(hasRoom, false)
    accept()
    await room
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
