// biome-ignore-all lint/suspicious/noControlCharactersInRegex: they are bytes
/** The first bytes of images that browsers show, one character per byte. */
const SIGNATURES: readonly (readonly [mime: string, beginning: RegExp])[] = [
  ['png', /^\x89PNG\r\n\x1a\n/],
  ['jpeg', /^\xff\xd8\xff/],
  ['gif', /^GIF8/],
  ['webp', /^RIFF.{4}WEBP/s],
  ['bmp', /^BM/],
  ['tiff', /^II\*\0|^MM\0\*/],
]

/** The MIME type of an image by its first bytes; `undefined`: no known type. */
export function imageType(bytes: Uint8Array): string | undefined {
  const head = String.fromCharCode(...bytes.subarray(0, 12))
  const [type] = SIGNATURES.find(([, beginning]) => beginning.test(head)) ?? []
  return type && `image/${type}`
}
