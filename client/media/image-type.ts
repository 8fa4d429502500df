/** The first bytes of images that browsers show: offset and hexadecimal. */
const SIGNATURES: readonly (readonly [mime: string, ...parts: (readonly [at: number, hex: string])[]])[] = [
  ['image/png', [0, '89504e470d0a1a0a']],
  ['image/jpeg', [0, 'ffd8ff']],
  ['image/gif', [0, '47494638']],
  ['image/webp', [0, '52494646'], [8, '57454250']],
  ['image/bmp', [0, '424d']],
  ['image/tiff', [0, '49492a00']],
  ['image/tiff', [0, '4d4d002a']],
]

/** The MIME type of an image by its first bytes, never by its name; `undefined`: none that is known. */
export function imageType(bytes: Uint8Array): string | undefined {
  return SIGNATURES.find(([, ...parts]) =>
    parts.every(([at, hex]) => hexOf(bytes.subarray(at, at + hex.length / 2)) === hex),
  )?.[0]
}

function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('')
}
