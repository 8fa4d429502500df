import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { toStrictJson } from '../../../client/messaging/clever-show-server.ts'
import { encode } from '../../../client/messaging/format.ts'

describe('JSON of clever-show', () => {
  it('is converted in linear time if a string has no end', () => {
    const endless = `{"a":"${'\\"'.repeat(500_000)}`
    const before = performance.now()
    assert.equal(toStrictJson(endless), endless)
    // Quadratic time takes minutes.
    assert.ok(performance.now() - before < 2000)
  })

  it('has null for NaN and Infinity, but not in strings', () => {
    assert.equal(
      toStrictJson('{"NaN":"-Infinity \\"NaN","b":[NaN,-Infinity,1]}'),
      '{"NaN":"-Infinity \\"NaN","b":[null,null,1]}',
    )
  })

  it('is refused if the header is too long for a frame', () => {
    assert.throws(() => encode('message', 'x'.repeat(65_536), undefined, {}, '{}'), {
      name: 'RangeError',
      message: /^a header has at most 65535 bytes, received 65\d{3}; shorten its names$/,
    })
  })
})
