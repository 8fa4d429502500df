import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { checkContent, HEAD_BYTES, imageMimeOf } from '../../../filters/media/content.ts'

const bytes = (...parts: readonly (string | readonly number[] | Buffer)[]) =>
  Buffer.concat(parts.map(part => (typeof part === 'string' ? Buffer.from(part, 'latin1') : Buffer.from(part))))

const IHDR = [0, 0, 0, 13, ...Buffer.from('IHDR'), 0, 0, 0, 1, 0, 0, 0, 1, 8, 2, 0, 0, 0, 0x90, 0x77, 0x53, 0xde]
const OGG = [...Buffer.from('OggS'), 0, 2, ...Buffer.alloc(20), 1, 30]

/** The beginning of a file of each type that is accepted by default. */
const FILES = {
  png: bytes([0x89], 'PNG\r\n', [0x1a, 0x0a], IHDR, [0, 0, 0x40, 0], 'iCCP', Buffer.alloc(HEAD_BYTES - 41)),
  jpg: bytes([0xff, 0xd8, 0xff, 0xe0, 0, 16], 'JFIF', [0, 1, 1, 0]),
  gif: bytes('GIF89a', [1, 0, 1, 0, 0x80, 0, 0]),
  webp: bytes('RIFF', [26, 0, 0, 0], 'WEBPVP8L', Buffer.alloc(16)),
  bmp: bytes('BM', [70, 0, 0, 0], Buffer.alloc(64)),
  tiff: bytes('II*\0', [8, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
  webm: bytes([0x1a, 0x45, 0xdf, 0xa3, 0x87, 0x42, 0x82, 0x84], 'webm', Buffer.alloc(8)),
  mp4: bytes([0, 0, 0, 0x18], 'ftypisom', [0, 0, 2, 0], 'isomiso2'),
  mp3: bytes([0xff, 0xfb, 0x90, 0x44], Buffer.alloc(500)),
  wav: bytes('RIFF', [36, 0, 0, 0], 'WAVEfmt ', Buffer.alloc(24)),
  ogg: bytes(OGG, [1], 'vorbis', Buffer.alloc(23)),
  pdf: bytes('%PDF-1.7\n%', [0xe2, 0xe3, 0xcf, 0xd3]),
  zip: bytes('PK\x03\x04', Buffer.alloc(26)),
}

const matches = (extension: string, content: Buffer | string) =>
  checkContent(extension, Buffer.from(content), true).then(
    () => true,
    error => error.message,
  )

describe('content and extension', () => {
  it('match for each type with its own signature only', async () => {
    for (const extension of Object.keys(FILES))
      for (const [type, content] of Object.entries(FILES))
        assert.equal((await matches(extension, content)) === true, extension === type, `${type} as ${extension}`)
  })

  it('that do not match are an error with both types', async () => {
    assert.equal(await matches('png', FILES.pdf), 'the content has type pdf, the extension is png')
    assert.equal(await matches('png', '<svg/>'), 'the content has an unknown type, the extension is png')
    await assert.rejects(checkContent('png', FILES.pdf, true), { code: 'content' })
  })

  it('match for several extensions of a type', async () => {
    assert.equal(await matches('jpeg', FILES.jpg), true)
    assert.equal(await matches('tif', FILES.tiff), true)
    assert.equal(await matches('ogg', bytes(OGG, 'OpusHead', Buffer.alloc(20))), true)
    assert.equal(await matches('mp4', bytes([0, 0, 0, 0x18], 'ftypM4V ', [0, 0, 2, 0], 'isomiso2')), true)
    assert.equal(
      await matches('mp4', bytes([0, 0, 0, 0x18], 'ftypqt  ', [0, 0, 2, 0], 'isomiso2')),
      'the content has type mov, the extension is mp4',
    )
    assert.equal(await matches('docx', FILES.zip), true)
  })

  it('match for a TIFF file with its directory at the end', async () => {
    assert.equal(await matches('tiff', bytes('II*\0', [0, 0, 16, 0], Buffer.alloc(HEAD_BYTES - 8))), true)
    assert.equal(await matches('tiff', bytes('MM\0*', [0, 16, 0, 0], Buffer.alloc(HEAD_BYTES - 8))), true)
    assert.equal(
      await matches('tiff', bytes('MM\0,', [0, 16, 0, 0], Buffer.alloc(HEAD_BYTES - 8))),
      'the content has an unknown type, the extension is tiff',
    )
  })

  it('that match return the MIME type of the signature', async () => {
    assert.equal(await checkContent('jpeg', FILES.jpg, true), 'image/jpeg')
    assert.equal(await checkContent('txt', Buffer.from('a'), true), undefined)
  })
})

describe('text', () => {
  const NO_TEXT = 'a file of type txt has text in UTF-8 without control characters'

  it('is UTF-8 without control characters', async () => {
    for (const type of ['txt', 'csv', 'json', 'md'])
      for (const text of ['a', '{"ü": "\\u0000"}\r\n', '\ufeffa;b\n', '<svg onload="x">', 'a\tb\f'])
        assert.equal(await matches(type, text), true, `${type} ${text}`)
    for (const text of [
      'a\0b',
      '\0',
      Buffer.from([0xff, 0xfe, 0x61, 0]),
      Buffer.from('ü', 'latin1'),
      '\x1b[2J',
      'a\x80',
    ])
      assert.equal(await matches('txt', text), NO_TEXT)
  })

  it('may have a character that the end of the head splits', async () => {
    const head = Buffer.from(`a${'ü'.repeat(HEAD_BYTES)}`).subarray(0, HEAD_BYTES)
    assert.equal(await checkContent('txt', head, false), undefined)
    await assert.rejects(checkContent('txt', head, true), { message: NO_TEXT })
  })

  it('has no signature of another type', async () => {
    assert.equal(await matches('txt', '%PDF-1.7\n1 0 obj'), 'the content has type pdf, the extension is txt')
    assert.equal(await matches('md', '{\\rtf1 a}'), 'the content has type rtf, the extension is md')
    assert.equal(await matches('txt', '<?xml version="1.0"?><svg/>'), 'the content has type xml, the extension is txt')
  })

  it('may begin with a short signature', async () => {
    for (const text of ['BMW;3;blue', 'MZ is not EXE', 'GIFs of cats', 'BZh', 'ID3 tags'])
      assert.equal(await matches('csv', text), true, text)
  })

  it('includes SVG with or without a declaration, if an operator accepts it', async () => {
    assert.equal(await matches('svg', '<svg/>'), true)
    assert.equal(await matches('svg', '<?xml version="1.0"?><svg/>'), true)
    assert.equal(await matches('html', FILES.png), NO_TEXT.replace('txt', 'html'))
  })
})

describe('a type without a signature', () => {
  it('has no signature of another type', async () => {
    assert.equal(await matches('bin', Buffer.from([0, 1, 2, 3])), true)
    assert.equal(await matches('bin', FILES.png), 'the content has type png, the extension is bin')
  })
})

describe('imageMimeOf', () => {
  it('detects images by their first bytes', async () => {
    const types = await Promise.all(Object.values(FILES).map(imageMimeOf))
    assert.deepEqual(types.slice(0, 7), [
      'image/png',
      'image/jpeg',
      'image/gif',
      'image/webp',
      'image/bmp',
      'image/tiff',
      undefined,
    ])
    assert.deepEqual(new Set(types.slice(6)), new Set([undefined]))
    assert.equal(await imageMimeOf(Buffer.from('<svg/>')), undefined)
    assert.equal(await imageMimeOf(Buffer.alloc(0)), undefined)
  })

  it('reads the first bytes only', async () => {
    assert.equal(await imageMimeOf(Buffer.concat([Buffer.alloc(HEAD_BYTES), FILES.png])), undefined)
  })
})
