import { MalformedError } from '../../protocols/nanollm/envelope.ts'
import { mimeOf } from './content.ts'
import type { Media, Pixels } from './message.ts'

/** Pixels of an image that is decoded; more is refused, as a few bytes can announce billions. */
const MAX_PIXELS = 32_000_000

/**
 * An image that is one, with its MIME type and the way to its pixels.
 *
 * @throws MalformedError
 */
export async function checkedImage(media: Media, decoder: Decoder): Promise<Media> {
  const bytes = media.payload as Buffer
  const mime = await mimeOf(bytes)
  if (mime === undefined) throw new MalformedError('a message of kind image is no image')
  return { ...media, mime, decode: () => decoder.pixelsOf(bytes) }
}

/** Decodes images by the package sharp, which is not among the dependencies: one after the other, as each takes much memory. */
export class Decoder {
  #last: Promise<unknown> = Promise.resolve()

  pixelsOf(bytes: Buffer): Promise<Pixels> {
    const pixels = this.#last.then(() => pixelsOf(bytes))
    this.#last = pixels.catch(() => {})
    return pixels
  }
}

async function pixelsOf(bytes: Buffer): Promise<Pixels> {
  const sharp = await loadSharp()
  const { data, info } = await sharp(bytes, { limitInputPixels: MAX_PIXELS })
    .raw()
    .toBuffer({ resolveWithObject: true })
  return { data, width: info.width, height: info.height, channels: info.channels }
}

type Sharp = typeof import('sharp')['default']

async function loadSharp(): Promise<Sharp> {
  try {
    return (await import('sharp')).default
  } catch (error) {
    throw new Error('decoding an image needs the package sharp; npm install sharp', { cause: error })
  }
}
