import { dataViewOf, MalformedError } from './envelope.ts'

/** The format of PCM: signed 16-bit little-endian samples, channels interleaved. */
export interface AudioFormat {
  /** Samples per second and channel, in Hz. */
  readonly rate: number
  readonly channels: number
}

/** The format of audio without metadata. */
const DEFAULT = { rate: 48_000, channels: 1 }
/** Hz. */
const MIN_RATE = 1000
const MAX_RATE = 192_000
const MAX_CHANNELS = 8
const BYTES_PER_SAMPLE = 2

/**
 * Reads the metadata of audio: RATE or RATE/CHANNELS; empty: 48,000 Hz and one channel.
 *
 * @param size - bytes of the samples.
 * @throws MalformedError
 */
export function readAudioMetadata(metadata: string, size: number): AudioFormat {
  const format = formatIn(metadata)
  const bytes = frameBytes(format.channels)
  if (size % bytes !== 0)
    throw new MalformedError(`audio of ${format.channels} channels has a multiple of ${bytes} bytes, received ${size}`)
  return format
}

function formatIn(metadata: string): AudioFormat {
  if (metadata === '') return DEFAULT
  const [, rate, channels = '1'] = /^(\d{1,6})(?:\/(\d))?$/.exec(metadata) ?? []
  const format = { rate: Number(rate), channels: Number(channels) }
  if (audioFormatProblem(format) === undefined) return format
  throw new MalformedError(`metadata of audio is RATE or RATE/CHANNELS, received ${JSON.stringify(metadata)}`)
}

/** The reverse of `readAudioMetadata`. */
export function writeAudioMetadata({ rate = DEFAULT.rate, channels = DEFAULT.channels }: Partial<AudioFormat>): string {
  if (channels !== DEFAULT.channels) return `${rate}/${channels}`
  return rate === DEFAULT.rate ? '' : String(rate)
}

/** Which bound a format exceeds, in one sentence; `undefined`: none. */
export function audioFormatProblem({ rate, channels }: AudioFormat): string | undefined {
  if (!Number.isInteger(rate) || rate < MIN_RATE || rate > MAX_RATE)
    return `audio has a rate from ${MIN_RATE} to ${MAX_RATE}`
  if (!Number.isInteger(channels) || channels < 1 || channels > MAX_CHANNELS)
    return `audio has 1 to ${MAX_CHANNELS} channels`
  return undefined
}

/** Bytes of one sample of all channels. */
export function frameBytes(channels: number): number {
  return BYTES_PER_SAMPLE * channels
}

/** Samples as bytes, little-endian on every machine. */
export function encodeSamples(samples: Int16Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(samples.length * BYTES_PER_SAMPLE)
  const view = dataViewOf(bytes)
  for (const [index, sample] of samples.entries()) view.setInt16(index * BYTES_PER_SAMPLE, sample, true)
  return bytes
}

/** The reverse of `encodeSamples`; the number of bytes MUST be even. */
export function decodeSamples(bytes: Uint8Array): Int16Array<ArrayBuffer> {
  const view = dataViewOf(bytes)
  return Int16Array.from({ length: bytes.length / BYTES_PER_SAMPLE }, (_, index) =>
    view.getInt16(index * BYTES_PER_SAMPLE, true),
  )
}
