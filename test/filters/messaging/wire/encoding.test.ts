import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { textIn } from '../../../../filters/messaging/wire/encoding.ts'
import { refusing } from '../../../support/messaging.ts'

describe('content-encoding', () => {
  const cases: readonly (readonly [name: string, hex: string, text: string])[] = [
    ['utf-8', 'd0bf', 'п'],
    ['UTF8', 'd0bf', 'п'],
    ['utf_8', 'd0bf', 'п'],
    ['utf-8-sig', 'efbbbfd0bf', 'п'],
    ['utf-16', 'fffe3f04', 'п'],
    ['utf-16', 'feff043f', 'п'],
    ['utf_16_le', '3f04', 'п'],
    ['utf-16-be', '043f', 'п'],
    ['cp1251', 'ef', 'п'],
    ['windows-1251', 'ef', 'п'],
    ['koi8-r', 'd0', 'п'],
    ['latin-1', 'e980', 'é\u0080'],
    ['ascii', '61', 'a'],
  ]
  for (const [name, hex, text] of cases) {
    it(`${name}: ${hex}`, () => {
      assert.equal(textIn(name, Buffer.from(hex, 'hex'), 'it'), text)
    })
  }

  const wrong: readonly (readonly [name: string, hex: string])[] = [
    ['utf-8', 'ff'],
    ['utf-16', 'fffe3f'],
    ['ascii', 'e9'],
  ]
  for (const [name, hex] of wrong) {
    it(`${name}: ${hex} is none`, () => {
      assert.throws(() => textIn(name, Buffer.from(hex, 'hex'), 'the content'), refusing(`the content is not ${name}`))
    })
  }

  it('is named without the blanks around it', () => {
    const padded = `${'\n'.repeat(30_000)}utf-16le\t`
    assert.throws(() => textIn(padded, Buffer.of(0), 'the content'), refusing('the content is not utf-16le'))
  })

  it('that is unknown is refused, in few words', () => {
    assert.throws(
      () => textIn('x'.repeat(1000), Buffer.alloc(0), 'it'),
      refusing(`content-encoding "${'x'.repeat(60)}..." is not known; send utf-8`),
    )
  })
})
