import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ExtData, encode } from '@msgpack/msgpack'
import { pack, unpack } from '../../../filters/wslink/msgpack/pack.ts'
import { ProtocolError } from '../../../filters/wslink/protocol-error.ts'
import { cheap } from '../../support/cpu.ts'

const packed = (value: unknown) => Buffer.concat(pack(value))
const fails = (hex: string | Buffer, message: string, code = 1007) =>
  assert.throws(
    () => unpack(Buffer.from(hex as string, 'hex')),
    (error: ProtocolError) => error instanceof ProtocolError && error.code === code && error.message === message,
  )

describe('pack', () => {
  it('writes the same bytes as the library', () => {
    for (const value of [
      null,
      { a: [1, -1, 1.5, 'é', true, false, null], b: { c: new Date(1000) } },
      [Buffer.alloc(10), new Float32Array([1, 2]), new DataView(new ArrayBuffer(3))],
      [Buffer.alloc(4096, 1), 'between', Buffer.alloc(70_000, 2), Buffer.alloc(300, 3)],
      new ExtData(5, Uint8Array.of(1, 2, 3)),
      Number.NaN,
    ])
      assert.deepEqual(packed(value), Buffer.from(encode(value)))
  })
  it('does not copy large byte arrays', () => {
    const image = Buffer.alloc(100_000)
    const parts = pack({ size: [1, 2], image, again: [image] })
    assert.deepEqual(parts.filter(part => part === image).length, 2)
    assert.ok(parts.filter(part => part !== image).every(({ length }) => length < 50))
  })
  it('accepts bytes of any kind', () => {
    const { buffer } = Uint8Array.of(1, 2, 3)
    assert.deepEqual(packed([buffer, new ArrayBuffer(0)]), Buffer.from('92c403010203c400', 'hex'))
    assert.deepEqual(packed(new ArrayBuffer(256)).subarray(0, 4), Buffer.from('c5010000', 'hex'))
    assert.deepEqual(packed(new ArrayBuffer(65_536)).subarray(0, 6), Buffer.from('c60001000000', 'hex'))
  })
  it('refuses a key at which official clients throw', () => {
    const value = JSON.parse('[{"__proto__": 1}]')
    assert.throws(() => packed(value), new TypeError('a map with a key __proto__'))
  })
  it('writes a BigInt as an integer of 64 bits', () => {
    assert.deepEqual(packed([2n ** 64n - 1n, -1n]), Buffer.from('92cfffffffffffffffffd3ffffffffffffffff', 'hex'))
    assert.throws(() => packed(2n ** 64n), RangeError)
  })
})

describe('unpack', () => {
  it('reads all kinds of values', () => {
    const values = [
      [0, 127, 128, 255, 256, 65_535, 65_536, 2 ** 32, -1, -32, -33, -128, -129, -32_769, -(2 ** 40), 1.5],
      ['', 'x'.repeat(31), 'x'.repeat(32), 'x'.repeat(256), 'x'.repeat(70_000)],
      [0, 255, 256, 65_536].map(length => Buffer.alloc(length)),
      [Array(15).fill(0), Array(16).fill(0), Array(70_000).fill(0)],
      [15, 16, 40_000].map(size => Object.fromEntries(Array.from({ length: size }, (_, i) => [`k${i}`, i]))),
      [1, 2, 4, 8, 16, 3, 300, 70_000].map(size => new ExtData(5, Buffer.alloc(size))),
      [null, true, false, new Date(1_700_000_000_123)],
    ]
    for (const value of values) assert.deepEqual(unpack(packed(value)), value)
    assert.equal(unpack(Buffer.from('ca3fc00000', 'hex')), 1.5)
  })
  it('refuses announced sizes beyond the message without allocating them', () => {
    fails('dd00ffffff', 'truncated msgpack')
    fails('df00ffffff', 'truncated msgpack')
    // Nested arrays: the decoder would allocate 16 million elements for each.
    fails('dd00ffffff'.repeat(90), 'truncated msgpack')
    for (const cut of ['', 'c4', 'c401', 'c6ffffffff', 'd9', 'a1', 'cb00', 'd4', 'c7', '91', '8161', 'dc', 'dd0000'])
      fails(cut, 'truncated msgpack')
  })
  it('refuses invalid msgpack', () => {
    fails('c1', 'msgpack with the invalid byte c1')
    fails('0101', 'msgpack with 1 extra bytes')
    fails('81c0c0', 'msgpack: The type of key must be string or number but object')
    fails(`81a9${Buffer.from('__proto__').toString('hex')}80`, 'msgpack: The key __proto__ is not allowed')
    fails('d4ff00', 'msgpack: Unrecognized data size for timestamp (expected 4, 8, or 12): 1')
  })
  it('refuses more than 100 levels or 100,000 values', () => {
    assert.ok(unpack(Buffer.from(`${'91'.repeat(100)}c0`, 'hex')))
    fails(`${'91'.repeat(101)}c0`, 'msgpack nested deeper than 100', 1009)
    assert.equal((unpack(many('dd', 99_999, '80')) as unknown[]).length, 99_999)
    fails(many('dd', 100_000, '80'), 'msgpack of more than 100000 values', 1009)
    assert.deepEqual(unpack(many('df', 1, 'a161c0')), { a: null })
  })
  it('refuses more than 1 MiB besides byte arrays', () => {
    const bytes = Buffer.concat([Buffer.from('c600400000', 'hex'), Buffer.alloc(4 * 1_048_576)])
    assert.equal((unpack(bytes) as Uint8Array).length, 4 * 1_048_576)
    const text = (length: number) => Buffer.concat([Buffer.from('db', 'hex'), uint32(length), Buffer.alloc(length, 97)])
    assert.equal(unpack(text(1_048_571)), 'a'.repeat(1_048_571))
    fails(text(1_048_572), 'msgpack of more than 1048576 bytes besides byte arrays', 1009)
    assert.throws(() => unpack(text(100), 50), { message: 'msgpack of more than 50 bytes besides byte arrays' })
  })

  const values = 'msgpack of more than 100000 values'
  const large = 'msgpack of more than 1048576 bytes besides byte arrays'
  const hostile: readonly (readonly [what: string, bytes: () => Buffer, why: string | undefined])[] = [
    ['2 MB of empty maps', () => many('dd', 2_000_000, '80'), values],
    ['2 MB of empty arrays', () => many('dd', 2_000_000, '90'), values],
    ['2 MB of strings of one byte', () => many('dd', 1_000_000, 'a161'), values],
    ['2 MB of extensions', () => many('dd', 700_000, 'd40500'), values],
    ['2 MB of empty byte arrays', () => many('dd', 1_000_000, 'c400'), values],
    ['2 MB of nested pairs', () => Buffer.from(`${'9290'.repeat(90)}c0`.repeat(11_000), 'hex'), undefined],
    ['2 MB of arrays in arrays', () => Buffer.alloc(2_000_000, 0x91), 'msgpack nested deeper than 100'],
    ['long keys', () => many('df', 2000, `da0400${'61'.repeat(1024)}c0`), large],
    ['keys of one string of 2 MB', () => many('df', 1, `db001e8480${'61'.repeat(2_000_000)}c0`), large],
    ['an array of four billion', () => Buffer.concat([Buffer.from('ddffffffff', 'hex'), Buffer.alloc(2_000_000)]), ''],
    ['a map of four billion', () => Buffer.concat([Buffer.from('dfffffffff', 'hex'), Buffer.alloc(2_000_000)]), ''],
    ['a string of 4 GiB', () => Buffer.concat([Buffer.from('dbffffffff', 'hex'), Buffer.alloc(2_000_000)]), large],
    [
      'an extension of 4 GiB',
      () => Buffer.concat([Buffer.from('c9ffffffff05', 'hex'), Buffer.alloc(2_000_000)]),
      large,
    ],
    ['a byte array of 4 GiB', () => Buffer.concat([Buffer.from('c6ffffffff', 'hex'), Buffer.alloc(2_000_000)]), ''],
    ['two million numbers', () => many('dd', 2_000_000, '01'), values],
    ['timestamps', () => many('dd', 300_000, 'd6ff00000000'), values],
  ]
  for (const [what, bytes, why] of hostile)
    it(`takes little time: ${what}`, () => {
      const message = bytes()
      const error = cheap(() => {
        try {
          unpack(message)
        } catch (error) {
          return error
        }
      }, what)
      assert.ok(error instanceof ProtocolError)
      if (why !== undefined) assert.equal(error.message, why === '' ? 'truncated msgpack' : why)
    })
})

/** A container with this first byte and number of equal elements. */
function many(head: string, count: number, entry: string): Buffer {
  const one = Buffer.from(entry, 'hex')
  return Buffer.concat([Buffer.from(head, 'hex'), uint32(count), Buffer.alloc(count * one.length, one)])
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
