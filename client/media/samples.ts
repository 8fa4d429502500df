/** Of audio without metadata. */
const RATE = 48_000

/** In Hz, and channels that are interleaved. */
export interface Format {
  readonly rate: number
  readonly channels: number
}

/** Sound: signed 16 bits a sample. */
export interface Samples extends Format {
  readonly payload: Int16Array<ArrayBuffer>
}

/** How loud it is: root mean square, from 0 to 1. */
export function levelOf(samples: Int16Array): number {
  let sum = 0
  for (const sample of samples) sum += sample * sample
  return samples.length === 0 ? 0 : Math.sqrt(sum / samples.length) / 32_768
}

/** `RATE` or `RATE/CHANNELS`; empty for 48000 and 1. */
export function metadataOf(rate = RATE, channels = 1): string {
  if (channels !== 1) return `${rate}/${channels}`
  return rate === RATE ? '' : String(rate)
}

/** Throws for metadata that tells no format. */
export function formatOf(metadata: string): Format {
  if (metadata === '') return { rate: RATE, channels: 1 }
  const [, rate, channels = '1'] = /^([1-9]\d*)(?:\/([1-9]\d*))?$/.exec(metadata) ?? []
  if (rate === undefined) throw new Error(`audio tells RATE or RATE/CHANNELS, received "${metadata}"`)
  return { rate: Number(rate), channels: Number(channels) }
}

/** Little-endian, as on the wire, whatever this machine is. */
export function bytesOf(samples: Int16Array): Uint8Array {
  const bytes = new Uint8Array(samples.length * 2)
  const view = new DataView(bytes.buffer)
  for (const [index, sample] of samples.entries()) view.setInt16(index * 2, sample, true)
  return bytes
}

/** Throws for a number of bytes that is no number of samples for each channel. */
export function samplesOf(bytes: Uint8Array, { channels }: Format): Int16Array<ArrayBuffer> {
  if (bytes.length % (2 * channels) !== 0)
    throw new Error(`audio of ${channels} channels has a multiple of ${2 * channels} bytes, received ${bytes.length}`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const samples = new Int16Array(bytes.length / 2)
  for (let index = 0; index < samples.length; index++) samples[index] = view.getInt16(index * 2, true)
  return samples
}
