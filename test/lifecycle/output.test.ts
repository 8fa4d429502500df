import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { describe, it } from 'node:test'
import { BoundedOutput } from '../../src/lifecycle/output.ts'

const MEBIBYTE = 1_048_576

/** A stream that does not accept data until `take` is called. */
class StalledReader extends Writable {
  readonly taken: string[] = []
  #go: (() => void) | undefined

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.taken.push(String(chunk))
    this.#go = done
  }

  /** Accepts one chunk. */
  take(): void {
    this.#go?.()
  }
}

/** Counts dropped bytes. */
function tally() {
  const total = {
    bytes: 0,
    add: (bytes: number) => {
      total.bytes += bytes
    },
  }
  return total
}

describe('output', () => {
  it('writes in order', () => {
    const reader = new StalledReader()
    const output = new BoundedOutput(reader, () => {})
    for (const line of ['one\n', 'two\n', 'three\n']) {
      output.write(line)
      reader.take()
    }
    assert.deepEqual(reader.taken, ['one\n', 'two\n', 'three\n'])
  })

  it('drops messages that a stalled reader does not take beyond 1 MiB, and counts their bytes', () => {
    const reader = new StalledReader()
    const dropped = tally()
    const output = new BoundedOutput(reader, dropped.add)
    output.write('x'.repeat(MEBIBYTE - 10))
    output.write('ten bytes.')
    assert.equal(dropped.bytes, 0)
    output.write('€')
    output.write('never')
    assert.equal(dropped.bytes, 3 + 5)
    assert.equal(reader.writableLength, MEBIBYTE)
  })

  it('drops a message that is larger than the limit', () => {
    const reader = new StalledReader()
    const dropped = tally()
    new BoundedOutput(reader, dropped.add).write('x'.repeat(MEBIBYTE + 1))
    assert.equal(dropped.bytes, MEBIBYTE + 1)
    assert.equal(reader.writableLength, 0)
  })

  it('continues when the reader does', () => {
    const reader = new StalledReader()
    const dropped = tally()
    const output = new BoundedOutput(reader, dropped.add)
    output.write('x'.repeat(MEBIBYTE))
    output.write('dropped')
    reader.take()
    output.write('again')
    assert.deepEqual(reader.taken.slice(1), ['again'])
    assert.equal(dropped.bytes, 7)
  })

  it('ends when the reader exits: nothing throws, and all bytes are counted', async () => {
    const dropped = tally()
    const gone = new Writable({
      write(_chunk, _encoding, done) {
        done(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }))
      },
    })
    const output = new BoundedOutput(gone, dropped.add)
    output.write('into the void')
    await new Promise(resolve => gone.once('close', resolve))
    output.write('12345')
    output.write('678')
    assert.equal(dropped.bytes, 8)
  })
})
