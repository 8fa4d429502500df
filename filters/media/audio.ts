import { Malformed } from './envelope.ts'
import { frameOf, type Sound } from './wav.ts'

/** What the original client sends, and does not say. */
const DEFAULT = { rate: 48_000, channels: 1 }
/** Samples a second of each channel. */
const RATES = { min: 1000, max: 192_000 }
const MAX_CHANNELS = 8

/**
 * What the metadata of audio says: RATE or RATE/CHANNELS, nothing being 48,000 and mono.
 *
 * @param size - of the samples, in bytes.
 * @throws Malformed
 */
export function audioOf(metadata: string, size: number): Sound {
  const sound = soundOf(metadata)
  const frame = frameOf(sound.channels)
  if (size % frame !== 0)
    throw new Malformed(`audio of ${sound.channels} channels has a multiple of ${frame} bytes, received ${size}`)
  return sound
}

function soundOf(metadata: string): Sound {
  if (metadata === '') return DEFAULT
  const [, rate, channels = '1'] = /^(\d{1,6})(?:\/(\d))?$/.exec(metadata) ?? []
  const sound = { rate: Number(rate), channels: Number(channels) }
  if (whyNoSound(sound) === undefined) return sound
  throw new Malformed(`metadata of audio is RATE or RATE/CHANNELS, received ${JSON.stringify(metadata)}`)
}

/** One sentence, if there is no such sound. */
export function whyNoSound({ rate, channels }: Sound): string | undefined {
  if (!Number.isInteger(rate) || rate < RATES.min || rate > RATES.max)
    return `sound has a rate from ${RATES.min} to ${RATES.max}`
  if (!Number.isInteger(channels) || channels < 1 || channels > MAX_CHANNELS)
    return `sound has 1 to ${MAX_CHANNELS} channels`
  return undefined
}
