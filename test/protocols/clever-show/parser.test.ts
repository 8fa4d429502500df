import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { limitsOf } from '../../../filters/messaging/wire/limits.ts'
import { readFrame } from '../../../protocols/clever-show/frame.ts'
import { type ParsedFrame, Parser } from '../../../protocols/clever-show/parser.ts'
import { action, framed, headerOf, refusing, request, vector, vectors } from '../../support/messaging.ts'

const MAX = 100_000_000

/** The frames of a stream that arrives in these pieces. */
function parsed(pieces: readonly Buffer[], max = MAX): Buffer[] {
  const parser = new Parser<Buffer>(Buffer, limitsOf(max))
  const found: Buffer[] = []
  for (const piece of pieces) {
    parser.push(piece)
    for (let frame: ParsedFrame<Buffer> | undefined = parser.next(); frame !== undefined; frame = parser.next())
      found.push(frame.bytes)
  }
  assert.equal(parser.isIdle, true)
  return found
}

function cutAt(stream: Buffer, places: readonly number[]): Buffer[] {
  const sorted = [0, ...[...places].sort((a, b) => a - b), stream.length]
  return sorted.slice(1).map((end, i) => stream.subarray(sorted[i], end))
}

function readFrameParts(bytes: Buffer) {
  const { header, content } = readFrame(bytes, limitsOf())
  return { header, content }
}

/** Recorded frames of clever-show. */
const good = vectors.filter(({ header }) => header !== undefined).map(({ bytes }) => bytes)

describe('a stream of frames', () => {
  const few = [vector('py3/action/args'), vector('py3/file/push'), vector('py3/response/filetransfer-empty')]
  const stream = Buffer.concat(few)

  it('may be cut anywhere in two', () => {
    for (let at = 0; at <= stream.length; at++) assert.deepEqual(parsed(cutAt(stream, [at])), few)
  })

  it('may arrive byte by byte', () => {
    const all = Buffer.concat(good)
    assert.deepEqual(parsed(cutAt(all, [...all.keys()])), good)
  })

  it('may arrive at once', () => {
    assert.deepEqual(parsed([Buffer.concat(good)]), good)
  })

  it('has the header of each frame, also where requests have the same one', () => {
    const frames = [
      request('a', '0001'),
      request('b', '0002'),
      action('b'),
      request('long', '0003'),
      request('c', '0004'),
      framed(
        headerOf('{"requested_value": "d", "request_id": 1}', { 'message-type': 'request', more: 1 }),
        '{"requested_value": "d", "request_id": 1}',
      ),
    ]
    const parser = new Parser<Buffer>(Buffer, limitsOf())
    parser.push(Buffer.concat(frames))
    for (const frame of frames) {
      const { header, content } = parser.next()!
      assert.deepEqual({ header, content }, readFrameParts(frame))
    }
  })

  it('may be cut anywhere, any number of times', () => {
    const frames = fc.array(fc.constantFrom(...good), { minLength: 1, maxLength: 8 })
    const cuts = fc.array(fc.nat(100_000), { maxLength: 60 })
    fc.assert(
      fc.property(frames, cuts, (chosen, places) => {
        const whole = Buffer.concat(chosen)
        assert.deepEqual(
          parsed(
            cutAt(
              whole,
              places.map(place => place % (whole.length + 1)),
            ),
          ),
          chosen,
        )
      }),
      { numRuns: 500 },
    )
  })

  it('may be cut anywhere when files are streamed, and returns their bytes as they arrive', () => {
    const part = { offset: 0, size: 9, key: 'k' }
    const file = { action: 'filetransfer', filepath: 'a', 'content-type': 'binary' }
    const some = [
      vector('py3/action/args'),
      vector('py3/file/push'),
      framed(headerOf('in parts', { ...file, ...part }), 'in parts'),
      vector('py3/response/filetransfer-empty'),
      framed(headerOf('too large', { ...file, ...part, 'content-length': 300_000 }), Buffer.alloc(300_000, 'x')),
      action('last'),
    ]
    const streamed = [1, 4]
    fc.assert(
      fc.property(fc.array(fc.nat(400_000), { maxLength: 60 }), places => {
        const whole = Buffer.concat(some)
        const parser = new Parser<Buffer>(Buffer, limitsOf(MAX), true)
        const heads: Buffer[] = []
        const contents: Buffer[][] = []
        for (const cut of cutAt(
          whole,
          places.map(place => place % (whole.length + 1)),
        )) {
          parser.push(cut)
          for (;;) {
            const piece = parser.piece()
            if (piece !== undefined) {
              contents.at(-1)!.push(piece)
              continue
            }
            const frame = parser.next()
            if (frame === undefined) break
            heads.push(frame.bytes)
            contents.push([])
          }
        }
        assert.equal(parser.isIdle, true)
        const found = heads.map((head, i) => Buffer.concat([head, ...contents[i]!]))
        assert.deepEqual(found, some)
        for (const [i, pieces] of contents.entries()) assert.equal(pieces.length > 0, streamed.includes(i))
      }),
      { numRuns: 200 },
    )
  })

  it('is joined without a copy for each piece', () => {
    const content = Buffer.alloc(20_000_000, 'x')
    const large = framed(
      headerOf(content, { action: 'filetransfer', filepath: 'a', 'content-type': 'binary' }),
      content,
    )
    const pieces = cutAt(
      large,
      Array.from({ length: Math.floor(large.length / 65_536) }, (_, i) => (i + 1) * 65_536),
    )
    const before = Buffer.concat
    let copied = 0
    Buffer.concat = (list: readonly Uint8Array[], total?: number) => {
      copied += list.reduce((sum, { length }) => sum + length, 0)
      return before(list, total)
    }
    try {
      assert.deepEqual(parsed(pieces), [large])
    } finally {
      Buffer.concat = before
    }
    assert.ok(copied < 1.1 * large.length, `${copied} bytes copied`)
  })

  it('is not copied when it arrives frame by frame', () => {
    const frame = action('a')
    const [bytes] = parsed([frame])
    assert.equal(bytes!.buffer, frame.buffer)
  })

  it('keeps few objects of a content that arrives in small pieces', () => {
    const parser = new Parser<Buffer>(Buffer, limitsOf(MAX))
    parser.push(framed(headerOf('', { 'content-length': 5_000_000, action: 'x' })))
    parser.next()
    const before = process.memoryUsage().heapUsed
    for (let i = 0; i < 1_000_000; i++) {
      parser.push(Buffer.allocUnsafe(1))
      parser.next()
    }
    const grown = process.memoryUsage().heapUsed - before
    assert.ok(grown < 50_000_000, `${grown} bytes for a million`)
  })

  it('reports whether it is within a header or between two frames', () => {
    const parser = new Parser<Buffer>(Buffer, limitsOf(MAX))
    const bytes = vector('py3/action/simple')
    const states: string[] = []
    for (const byte of bytes) {
      parser.push(Buffer.of(byte))
      parser.next()
      const state = parser.isInHeader ? 'header' : parser.isIdle ? 'idle' : 'content'
      if (states.at(-1) !== state) states.push(state)
    }
    assert.deepEqual(states, ['header', 'content', 'idle'])
  })

  it('is refused before a content that is too large arrives', () => {
    const parser = new Parser<Buffer>(Buffer, limitsOf(1000))
    parser.push(framed(headerOf('', { 'content-length': 1001 })))
    assert.throws(() => parser.next(), refusing('a content has at most 1000 bytes, 1001 are announced', 1009))
  })

  it('is refused at the first invalid frame, after the frames before it', () => {
    const parser = new Parser<Buffer>(Buffer, limitsOf(MAX))
    parser.push(Buffer.concat([vector('py3/action/simple'), vector('bad/header-not-json')]))
    assert.deepEqual(parser.next()!.bytes, vector('py3/action/simple'))
    assert.throws(() => parser.next(), refusing('the header of a frame is not JSON'))
  })
})
