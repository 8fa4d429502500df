import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { encode } from '../client/messaging/frame.ts'
import { readJson } from '../client/messaging/json.ts'

describe('what a messaging client reads', () => {
  it('takes no longer for a text without an end than for another one', () => {
    const endless = `{"a":"${'\\"'.repeat(500_000)}`
    const before = performance.now()
    assert.throws(() => readJson(endless), SyntaxError)
    // It was minutes.
    assert.ok(performance.now() - before < 2000)
  })

  it('has the numbers of real peers as null, and their names in texts as they are', () => {
    assert.deepEqual(
      JSON.stringify(readJson('{"NaN":"-Infinity \\"NaN","b":[NaN,-Infinity,1]}')),
      '{"NaN":"-Infinity \\"NaN","b":[null,null,1]}',
    )
  })

  it('is not sent with a header whose length no frame can tell', () => {
    assert.throws(() => encode('message', { action: 'x'.repeat(65_536) }, '{}'), {
      name: 'RangeError',
      message: /^a header has at most 65535 bytes, received 65\d{3}$/,
    })
  })
})
