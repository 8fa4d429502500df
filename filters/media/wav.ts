import { type AudioFormat, frameBytes } from '../../protocols/nanollm/audio.ts'

/** Bytes before the samples. */
export const WAV_HEADER = 44
/** Bytes of samples; the header counts itself and them in 32 bits. */
export const WAV_MAX = 0xffff_ffff - WAV_HEADER
const BITS_A_SAMPLE = 16

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
  header.writeUInt16LE(BITS_A_SAMPLE, 34)
  header.write('data', 36, 'latin1')
  header.writeUInt32LE(bytes, 40)
  return header
}

/** PCM as a WAV file. */
export function wav(pcm: Buffer, sound: AudioFormat): Buffer {
  return Buffer.concat([wavHeader({ ...sound, bytes: pcm.length }), pcm])
}
