import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { checkCloseCode, closeLabel, cutReason } from '../../src/contract/close.ts'
import { cheap } from '../support/cpu.ts'

describe('checkCloseCode', () => {
  for (const code of [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4000, 4999]) {
    it(`accepts ${code}`, () => checkCloseCode(code))
  }
  for (const code of [0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, -1000, 1000.5, Number.NaN, Infinity]) {
    it(`refuses ${code}`, () => {
      assert.throws(() => checkCloseCode(code), {
        code: 'ERR_CLOSE_CODE',
        message: `a close code is 1000 to 1014 (not 1004 to 1006) or 3000 to 4999, received ${code}`,
      })
    })
  }
})

describe('closeLabel', () => {
  for (const [code, label] of [
    [1000, '1000'],
    [1006, '1006'],
    [1015, '1015'],
    [1016, 'other'],
    [2999, 'other'],
    [3000, '3xxx'],
    [3999, '3xxx'],
    [4000, '4xxx'],
    [4999, '4xxx'],
    [5000, 'other'],
    [-1, 'other'],
    [Number.NaN, 'other'],
  ] as const) {
    it(`of ${code} is ${label}`, () => assert.equal(closeLabel(code), label))
  }
})

describe('cutReason', () => {
  it('keeps a reason of up to 123 bytes', () => {
    assert.equal(cutReason(''), '')
    assert.equal(cutReason('x'.repeat(123)), 'x'.repeat(123))
    assert.equal(cutReason(`${'ü'.repeat(61)}x`), `${'ü'.repeat(61)}x`)
  })

  it('cuts a longer one to 123 bytes', () => {
    assert.equal(cutReason('x'.repeat(124)), 'x'.repeat(123))
  })

  it('cuts at the end of a character', () => {
    assert.equal(cutReason('ü'.repeat(62)), 'ü'.repeat(61))
    assert.equal(cutReason('€'.repeat(42)), '€'.repeat(41))
    assert.equal(cutReason('😀'.repeat(31)), '😀'.repeat(30))
    assert.equal(cutReason(`x${'😀'.repeat(31)}`), `x${'😀'.repeat(30)}`)
  })

  it('returns the longest prefix of complete characters that fits', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), reason => {
        const cut = cutReason(reason)
        assert.ok(reason.startsWith(cut))
        assert.ok(Buffer.byteLength(cut) <= 123)
        assert.equal(Buffer.from(cut).toString(), cut)
        const next = Array.from(reason)[Array.from(cut).length]
        if (next !== undefined) assert.ok(Buffer.byteLength(cut + next) > 123)
      }),
    )
  })

  it('takes linear time for a long reason', () => {
    // A quadratic algorithm would block the server.
    assert.equal(cheap(() => cutReason(`bad message: ${'x'.repeat(120_000)}`), 'a reason').length, 123)
  })
})
