// RFC 6455, section 8.1: text is UTF-8. The sequences are those of section 6 of the Autobahn test suite.
import { it } from 'node:test'
import { CONTINUATION, frame, TEXT } from '../support/frames.ts'
import { onEachServer } from './served.ts'

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')
const ENDS = Array.from({ length: 17 }, (_, plane) => plane * 0x1_0000)
const GREEK = Buffer.from('κόσμε')

const good: readonly (readonly [what: string, bytes: Buffer])[] = [
  ['words', Buffer.from('Hello-µ@ßöäüàá-UTF-8!!')],
  ['all ASCII characters, controls included', Buffer.from(Array.from({ length: 128 }, (_, i) => i))],
  ['the first character of 1 byte', hex('00')],
  ['the first character of 2 bytes', hex('c280')],
  ['the first character of 3 bytes', hex('e0a080')],
  ['the first character of 4 bytes', hex('f0908080')],
  ['the last character of 1 byte', hex('7f')],
  ['the last character of 2 bytes', hex('dfbf')],
  ['the last character of 3 bytes', hex('efbfbf')],
  ['the last character of 4 bytes', hex('f48fbfbf')],
  ['the character before the surrogates', hex('ed9fbf')],
  ['the character after the surrogates', hex('ee8080')],
  ['a byte order mark', hex('efbbbf')],
  ['the specials', hex('efbfb9 efbfba efbfbb efbfbc efbfbd')],
  ...ENDS.map(
    end =>
      [
        `the last two code points of the plane from ${end.toString(16)}`,
        Buffer.from(String.fromCodePoint(end + 0xfffe, end + 0xffff)),
      ] as const,
  ),
  ...prefixes(GREEK, true),
]

const bad: readonly (readonly [what: string, bytes: Buffer])[] = [
  ['a character beyond the last one', hex('f4908080')],
  ['the first sequence of 5 bytes', hex('f888808080')],
  ['the first sequence of 6 bytes', hex('fc8480808080')],
  ['the last sequence of 4 bytes', hex('f7bfbfbf')],
  ['the last sequence of 5 bytes', hex('fbbfbfbfbf')],
  ['the last sequence of 6 bytes', hex('fdbfbfbfbfbf')],
  ...['80', 'bf', '80bf', '80bf80', '80bf80bf', '80bf80bf80', '80bf80bf80bf'].map(
    bytes => [`continuation bytes alone: ${bytes}`, hex(bytes)] as const,
  ),
  ['all continuation bytes', Buffer.from(Array.from({ length: 64 }, (_, i) => 0x80 + i))],
  ...[
    [0xc0, 0xdf],
    [0xe0, 0xef],
    [0xf0, 0xf7],
    [0xf8, 0xfb],
    [0xfc, 0xfd],
  ].map(
    ([from, to]) =>
      [
        `first bytes ${from!.toString(16)} to ${to!.toString(16)}, each before a blank`,
        Buffer.from(Array.from({ length: to! - from! + 1 }, (_, i) => [from! + i, 0x20]).flat()),
      ] as const,
  ),
  ...['c0', 'e080', 'f08080', 'f8808080', 'fc80808080', 'df', 'efbf', 'f7bfbf', 'fbbfbfbf', 'fdbfbfbfbf'].map(
    bytes => [`a sequence without its last byte: ${bytes}`, hex(bytes)] as const,
  ),
  [
    'many sequences without their last byte',
    hex('c0 e080 f08080 f8808080 fc80808080 df efbf f7bfbf fbbfbfbf fdbfbfbfbf'),
  ],
  ...['fe', 'ff', 'fefeffff'].map(bytes => [`impossible bytes: ${bytes}`, hex(bytes)] as const),
  ...[
    'c0af e080af f08080af f8808080af fc80808080af',
    'c1bf e09fbf f08fbfbf f887bfbfbf fc83bfbfbfbf',
    'c080 e08080 f0808080 f880808080 fc8080808080',
  ].flatMap(group =>
    group.split(' ').map(bytes => [`a character in more bytes than it needs: ${bytes}`, hex(bytes)] as const),
  ),
  ...['eda080', 'edadbf', 'edae80', 'edafbf', 'edb080', 'edbe80', 'edbfbf'].map(
    bytes => [`half of a surrogate pair: ${bytes}`, hex(bytes)] as const,
  ),
  ...['eda080', 'edadbf', 'edae80', 'edafbf'].flatMap(high =>
    ['edb080', 'edbfbf'].map(low => [`a surrogate pair: ${high}${low}`, hex(high + low)] as const),
  ),
  ...prefixes(GREEK, false),
  ['a good word, then a bad one', Buffer.concat([GREEK, hex('eda080'), Buffer.from('edited')])],
]

/** Prefixes of a string that end at a character, or inside one. */
function prefixes(text: Buffer, isWhole: boolean): (readonly [string, Buffer])[] {
  return Array.from({ length: text.length }, (_, i) => text.subarray(0, i + 1))
    .filter(prefix => Buffer.from(prefix.toString()).equals(prefix) === isWhole)
    .map(prefix => [`the beginning ${prefix.toString('hex')}`, prefix] as const)
}

/** A string in one frame, in two, and in one per byte. */
function shapes(text: Buffer): readonly Buffer[] {
  const half = text.length >> 1
  const last = text.length - 1
  return [
    frame(TEXT, text),
    Buffer.concat([frame(TEXT, text.subarray(0, half), { fin: false }), frame(CONTINUATION, text.subarray(half))]),
    Buffer.concat(
      [...text].map((byte, i) => frame(i === 0 ? TEXT : CONTINUATION, Buffer.from([byte]), { fin: i === last })),
    ),
  ]
}

onEachServer([], served => {
  for (const [what, text] of good) {
    it(`accepts ${what}, in one frame and in fragments`, async () => {
      const client = await served.open()
      client.peer.send(...shapes(text))
      await client.received(String(text), String(text), String(text))
    })
  }

  for (const [what, text] of bad) {
    it(`closes with 1007 on ${what}, in one frame and in fragments`, async () => {
      for (const bytes of shapes(text)) {
        const client = await served.open()
        client.peer.send(bytes, frame(TEXT, 'after'))
        await client.closedWith(1007)
        await client.received()
      }
    })
  }

  it('accepts any bytes in binary messages', async () => {
    const client = await served.open()
    client.peer.send(...bad.map(([, bytes]) => frame(2, bytes)))
    await client.received(...bad.map(([, bytes]) => bytes))
  })
})
