import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { encode } from '../../../client/messaging/format.ts'
import { strictly } from '../../../client/messaging/original-server.ts'

describe('what a messaging client reads of the original', () => {
  it('takes no longer for a text without an end than for another one', () => {
    const endless = `{"a":"${'\\"'.repeat(500_000)}`
    const before = performance.now()
    assert.equal(strictly(endless), endless)
    // It was minutes.
    assert.ok(performance.now() - before < 2000)
  })

  it('has the numbers of real peers as null, and their names in texts as they are', () => {
    assert.equal(
      strictly('{"NaN":"-Infinity \\"NaN","b":[NaN,-Infinity,1]}'),
      '{"NaN":"-Infinity \\"NaN","b":[null,null,1]}',
    )
  })

  it('is not sent with a header whose length no frame can tell', () => {
    assert.throws(() => encode('message', 'x'.repeat(65_536), undefined, {}, '{}'), {
      name: 'RangeError',
      message: /^a header has at most 65535 bytes, received 65\d{3}; shorten its names$/,
    })
  })
})
