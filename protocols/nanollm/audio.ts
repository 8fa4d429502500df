import { Malformed, viewOf } from './envelope.ts'

/** How PCM is laid out: signed 16-bit little-endian samples, channels interleaved. */
export interface Sound {
  /** Samples a second of each channel, in Hz. */
  readonly rate: number
  readonly channels: number
}

/** Audio without metadata. */
const DEFAULT = { rate: 48_000, channels: 1 }
/** Samples a second of each channel. */
const MIN_RATE = 1000
const MAX_RATE = 192_000
const MAX_CHANNELS = 8
const BYTES_A_SAMPLE = 2

/**
 * What the metadata of audio says: RATE or RATE/CHANNELS; empty for 48,000 and mono.
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

/** The reverse. */
export function audioMetadata({ rate = DEFAULT.rate, channels = DEFAULT.channels }: Partial<Sound>): string {
  if (channels !== DEFAULT.channels) return `${rate}/${channels}`
  return rate === DEFAULT.rate ? '' : String(rate)
}

/** Why there is no such sound, in one sentence. */
export function whyNoSound({ rate, channels }: Sound): string | undefined {
  if (!Number.isInteger(rate) || rate < MIN_RATE || rate > MAX_RATE)
    return `sound has a rate from ${MIN_RATE} to ${MAX_RATE}`
  if (!Number.isInteger(channels) || channels < 1 || channels > MAX_CHANNELS)
    return `sound has 1 to ${MAX_CHANNELS} channels`
  return undefined
}

/** Bytes of one sample of every channel. */
export function frameOf(channels: number): number {
  return BYTES_A_SAMPLE * channels
}

/** Samples as bytes, little-endian on every machine. */
export function bytesOf(samples: Int16Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(samples.length * BYTES_A_SAMPLE)
  const view = viewOf(bytes)
  for (const [index, sample] of samples.entries()) view.setInt16(index * BYTES_A_SAMPLE, sample, true)
  return bytes
}

/** The reverse, of a whole number of samples. */
export function samplesOf(bytes: Uint8Array): Int16Array<ArrayBuffer> {
  const view = viewOf(bytes)
  return Int16Array.from({ length: bytes.length / BYTES_A_SAMPLE }, (_, index) =>
    view.getInt16(index * BYTES_A_SAMPLE, true),
  )
}
