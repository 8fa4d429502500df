import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { toStrictJson } from '../../../client/messaging/clever-show-server.ts'

describe('JSON of clever-show', () => {
  it('is converted in linear time if a string has no end', () => {
    const endless = `{"a":"${'\\"'.repeat(500_000)}`
    const before = performance.now()
    assert.equal(toStrictJson(endless), endless)
    // Quadratic time takes minutes.
    assert.ok(performance.now() - before < 20_000)
  })

  it('has null for NaN and Infinity, but not in strings', () => {
    assert.equal(
      toStrictJson('{"NaN":"-Infinity \\"NaN","b":[NaN,-Infinity,1]}'),
      '{"NaN":"-Infinity \\"NaN","b":[null,null,1]}',
    )
  })
})
