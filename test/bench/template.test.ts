import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { clientFrame, DIGITS, documents, numberIn, Template } from '../../bench/template.ts'

/** The mask of a frame, and its payload without it. */
function parsed(frame: Buffer): { mask: number; payload: Buffer } {
  const at = (frame[1]! & 127) === 126 ? 4 : 2
  const mask = frame.subarray(at, at + 4)
  return { mask: mask.readUInt32BE(), payload: frame.subarray(at + 4).map((byte, i) => byte ^ mask[i & 3]!) as Buffer }
}

const text = (size: number) => ['0'.repeat(DIGITS).padEnd(size, 'x')]
const templates: Readonly<Record<string, Template>> = {
  'the shortest message': new Template(text(DIGITS), 'plain'),
  'a short header': new Template(text(64), 'plain'),
  'the longest short header': new Template(text(125), 'plain'),
  'a long header': new Template(text(1024), 'plain'),
  'a packet of Socket.IO': new Template(text(64), 'socket.io'),
  'a JSON packet of Socket.IO': new Template(documents(1024), 'socket.io'),
  'JSON documents': new Template(documents(1024), 'plain'),
}

describe('frames of the load', () => {
  for (const [name, template] of Object.entries(templates)) {
    it(`have different masks and their numbers: ${name}`, () => {
      const masks = new Set<number>()
      for (let number = 0; number < 1000; number++) {
        const { mask, payload } = parsed(template.frame(number))
        masks.add(mask)
        assert.equal(payload.length, template.length)
        assert.equal(numberIn(payload, template.numberAt), number)
      }
      // One of 2^32 masks comes twice in 1,000 with a probability of 1 in 8,600, three times in practice never.
      assert.ok(masks.size > 997, `${masks.size} masks`)
    })
  }

  it('have all bits of the mask set as often as not', () => {
    const counts = Array<number>(32).fill(0)
    for (let i = 0; i < 1000; i++) {
      const { mask } = parsed(templates['a short header']!.frame(i))
      for (let bit = 0; bit < 32; bit++) counts[bit]! += (mask >>> bit) & 1
    }
    // 500 with a standard deviation of 16.
    for (const count of counts) assert.ok(count > 350 && count < 650, `${counts}`)
  })

  it('keep their number up to the largest, after the masks recur', () => {
    const template = templates['a long header']!
    for (const number of [1024, 1025, 99_999, 12_345_678, 99_999_999]) {
      const { payload } = parsed(template.frame(number))
      assert.equal(numberIn(payload, template.numberAt), number)
    }
  })

  it('have different masks without a template too', () => {
    const frames = Array.from({ length: 100 }, () => parsed(clientFrame(10, 'ping')))
    assert.ok(new Set(frames.map(({ mask }) => mask)).size > 97)
    for (const { payload } of frames) assert.equal(payload.toString(), 'ping')
  })
})
