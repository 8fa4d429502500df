import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { textIn } from '../../../protocols/clever-show/frame.ts'
import { refusing } from '../../support/messaging.ts'

describe('content-encoding', () => {
  const cases: readonly (readonly [name: string, hex: string, text: string])[] = [
    ['utf-8', 'd0bf', 'п'],
    ['utf-8', 'efbbbf61', '\ufeffa'],
    ['UTF8', 'd0bf', 'п'],
    ['utf-16', 'fffe3f04', 'п'],
    ['utf-16le', '3f04', 'п'],
    ['utf-16be', '043f', 'п'],
    ['cp1251', 'ef', 'п'],
    ['windows-1251', 'ef', 'п'],
    ['koi8-r', 'd0', 'п'],
    ['ascii', '61', 'a'],
  ]
  for (const [name, hex, text] of cases) {
    it(`${name}: ${hex}`, () => {
      assert.equal(textIn(name, Buffer.from(hex, 'hex'), 'it'), text)
      assert.equal(textIn(name, Uint8Array.from(Buffer.from(hex, 'hex')), 'it'), text)
    })
  }

  const wrong: readonly (readonly [name: string, hex: string])[] = [
    ['utf-8', 'ff'],
    ['utf-16', 'fffe3f'],
    ['utf_8', '61'],
    ['klingon', '61'],
    ['', '61'],
  ]
  for (const [name, hex] of wrong) {
    it(`${name || 'empty'}: ${hex} is refused`, () => {
      assert.throws(
        () => textIn(name, Buffer.from(hex, 'hex'), 'the content'),
        refusing(`the content is not in the encoding "${name}"; send utf-8`),
      )
    })
  }

  it('that is unknown is refused with a short error', () => {
    assert.throws(
      () => textIn('x'.repeat(1000), Buffer.alloc(0), 'it'),
      refusing(`it is not in the encoding "${'x'.repeat(60)}..."; send utf-8`),
    )
  })
})
