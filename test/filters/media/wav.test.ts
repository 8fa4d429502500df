import assert from 'node:assert/strict'
import { it } from 'node:test'
import { checkContent } from '../../../filters/media/content.ts'
import { wav, wavHeader } from '../../../filters/media/wav.ts'

/** The header of one second of silence at 44,100 Hz in stereo, by the module `wave` of Python. */
const STEREO = '5249464634b1020057415645666d7420100000000100020044ac000010b10200040010006461746110b10200'

it('a header has rate, channels and bytes', () => {
  assert.equal(wavHeader({ rate: 44100, channels: 2, bytes: 176_400 }).toString('hex'), STEREO)
})

it('a WAV file has the header and the samples', async () => {
  const pcm = Buffer.from([1, 0, 255, 127])
  const file = wav(pcm, { rate: 48000, channels: 1 })
  assert.equal(file.length, 48)
  assert.equal(file.readUInt32LE(4), file.length - 8)
  assert.equal(file.readUInt32LE(40), pcm.length)
  assert.equal(file.readUInt32LE(28), 96_000)
  assert.deepEqual(file.subarray(44), pcm)
  assert.equal(await checkContent('wav', file, true), 'audio/wav')
})
