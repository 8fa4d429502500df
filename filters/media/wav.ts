import { type AudioFormat, frameBytes } from '../../protocols/nanollm/audio.ts'

/** Bytes of the header. */
export const WAV_HEADER = 44
/** Bytes of samples: the header has the size of the file in 32 bits. */
export const MAX_WAV_SAMPLES = 0xffff_ffff - WAV_HEADER
const BITS_PER_SAMPLE = 16

/** The header of a WAV file: RIFF with one `fmt ` and one `data` chunk, PCM. */
export function wavHeader({ rate, channels, bytes }: AudioFormat & { readonly bytes: number }): Buffer {
  const header = Buffer.alloc(WAV_HEADER)
  header.write('RIFF', 0, 'latin1')
  header.writeUInt32LE(WAV_HEADER - 8 + bytes, 4)
  header.write('WAVEfmt ', 8, 'latin1')
  header.writeUInt32LE(16, 16)
  header.writeUInt16LE(1, 20)
  header.writeUInt16LE(channels, 22)
  header.writeUInt32LE(rate, 24)
  header.writeUInt32LE(rate * frameBytes(channels), 28)
  header.writeUInt16LE(frameBytes(channels), 32)
  header.writeUInt16LE(BITS_PER_SAMPLE, 34)
  header.write('data', 36, 'latin1')
  header.writeUInt32LE(bytes, 40)
  return header
}

/** Makes a WAV file of PCM. */
export function wav(pcm: Buffer, format: AudioFormat): Buffer {
  return Buffer.concat([wavHeader({ ...format, bytes: pcm.length }), pcm])
}
