import type { SerialQueue } from 'filtered-websocket/kit'
import { MalformedError } from '../../protocols/nanollm/envelope.ts'
import { imageMimeOf } from './content.ts'
import type { Media, Pixels } from './message.ts'

/** Pixels of an image that is decoded: a few bytes can announce billions. */
const MAX_PIXELS = 32_000_000

/**
 * Checks the first bytes of an image, and adds its MIME type and `decode`.
 *
 * @param queue - decodes one image at a time, because each takes much memory.
 * @throws MalformedError
 */
export async function checkImage(media: Media, queue: SerialQueue): Promise<Media> {
  const bytes = media.payload as Buffer
  const mime = await imageMimeOf(bytes)
  if (mime === undefined) throw new MalformedError('a message of kind image has no image of a known type')
  return { ...media, mime, decode: () => queue.run(() => decode(bytes)) }
}

async function decode(bytes: Buffer): Promise<Pixels> {
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
    throw new Error('decode() needs the package sharp: npm install sharp', { cause: error })
  }
}
