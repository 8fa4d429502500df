import { Malformed } from './envelope.ts'

/** Bytes of one sample. */
const SAMPLE = 2
/** What the original client sends, and does not say. */
const DEFAULT = { rate: 48_000, channels: 1 }
const MAX_RATE = 384_000
const MAX_CHANNELS = 8

export interface Sound {
  /** Samples a second, 1 to 384,000. */
  readonly rate: number
  /** 1 to 8; samples of all channels follow each other. */
  readonly channels: number
}

/**
 * What the metadata of audio says: RATE or RATE/CHANNELS, nothing being 48,000 and mono.
 *
 * @param size - of the samples, in bytes.
 * @throws Malformed
 */
export function audioOf(metadata: string, size: number): Sound {
  const sound = soundOf(metadata)
  const frame = SAMPLE * sound.channels
  if (size % frame !== 0)
    throw new Malformed(`audio of ${sound.channels} channels has a multiple of ${frame} bytes, received ${size}`)
  return sound
}

function soundOf(metadata: string): Sound {
  if (metadata === '') return DEFAULT
  const [, rate, channels = '1'] = /^(\d{1,6})(?:\/(\d))?$/.exec(metadata) ?? []
  const sound = { rate: Number(rate), channels: Number(channels) }
  if (sound.rate >= 1 && sound.rate <= MAX_RATE && sound.channels >= 1 && sound.channels <= MAX_CHANNELS) return sound
  throw new Malformed(`metadata of audio is RATE or RATE/CHANNELS, received ${JSON.stringify(metadata)}`)
}
