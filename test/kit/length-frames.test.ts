import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { LengthFrames } from '../../src/kit/length-frames.ts'

function framed(message: Buffer): Buffer {
  const header = Buffer.alloc(4)
  header.writeUInt32BE(message.length)
  return Buffer.concat([header, message])
}

/** All messages of the chunks, and the reasons of the skipped ones. */
function messagesOf(chunks: readonly Buffer[], max = 100): { messages: Buffer[]; skipped: string[] } {
  const skipped: string[] = []
  const frames = new LengthFrames(max, why => skipped.push(why))
  const messages: Buffer[] = []
  for (const chunk of chunks) {
    frames.add(chunk)
    for (let message = frames.next(); message !== undefined; message = frames.next()) messages.push(message)
  }
  if (frames.hasRest) frames.last()
  return { messages, skipped }
}

describe('LengthFrames', () => {
  it('gives the same messages for any chunks, and skips those that are too long', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 120 }).map(bytes => Buffer.from(bytes))),
        fc.integer({ min: 1, max: 50 }),
        (sent, size) => {
          const bytes = Buffer.concat(sent.map(framed))
          const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
            bytes.subarray(i * size, (i + 1) * size),
          )
          const isShort = ({ length }: Buffer) => length <= 100
          const { messages, skipped } = messagesOf(chunks)
          assert.deepEqual(messages, sent.filter(isShort))
          assert.equal(skipped.length, sent.length - messages.length)
        },
      ),
    )
  })

  for (const [bytes, skipped] of [
    [[0], ['incomplete']],
    [[0, 0, 0, 2, 1], ['incomplete']],
    [[0, 0, 0, 2], ['incomplete']],
    [[255, 255, 255, 255, 1], ['too long']],
    [[0, 0, 0, 0], []],
  ] as const)
    it(`at the end within ${JSON.stringify(bytes)} reports ${JSON.stringify(skipped)}`, () => {
      assert.deepEqual(messagesOf([Buffer.from(bytes)]).skipped, skipped)
    })
})
