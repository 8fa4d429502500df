import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { readMedia } from '../../../filters/media/message.ts'
import { MalformedError, readEnvelope, writeBody, writeEnvelope, writeId } from '../../../protocols/nanollm/envelope.ts'
import { type Vector, vector, vectors } from '../../support/media.ts'

const MAX_JSON = 1000

/** Recorded messages that are not envelopes, with the error. */
const BROKEN: Readonly<Record<string, string>> = {
  'c2s/empty payload (dropped by server)': 'an envelope has more than 32 bytes, received 32',
  's2c/server empty': 'an envelope has more than 32 bytes, received 32',
  'odd/magic 43': 'an envelope has 42 at byte 16, received 43',
  'odd/size mismatch': 'the envelope announces a payload of 99 bytes, received 3',
  'odd/metadata not utf-8': 'metadata is not UTF-8',
}

/** Fields of the recorded envelopes. */
interface Recorded extends Vector {
  readonly header?: Readonly<Record<'id' | 'timestamp' | 'type' | 'payload_size', number>> & {
    readonly metadata: string
  }
}

describe('envelope', () => {
  it('is tested with all recorded messages', () => {
    const headers = (vectors as readonly Recorded[]).flatMap(({ header }) => header ?? [])
    assert.deepEqual([vectors.length, headers.length], [25, 19])
    assert.equal(headers.filter(({ payload_size }) => payload_size === 0).length, 2)
  })
  for (const { name, bytes, header } of vectors as readonly Recorded[]) {
    const message = BROKEN[name]
    if (message === undefined) {
      it(`has the fields and the bytes of ${name}`, () => {
        const { id, payload, ...fields } = readEnvelope(bytes)
        if (header !== undefined) {
          const { timestamp, type, metadata } = header
          assert.deepEqual([Number(id), fields], [header.id, { timestamp: BigInt(timestamp), type, metadata }])
        }
        assert.deepEqual(payload, bytes.subarray(32))
        const written = Buffer.from(writeEnvelope({ ...fields, payload }))
        if (header !== undefined) writeId(written, header.id)
        else written.set(bytes.subarray(0, 8))
        assert.deepEqual(written, bytes)
        assert.deepEqual(Buffer.from(writeBody({ ...fields, payload })), bytes.subarray(8))
      })
    } else {
      it(`refuses ${name}`, () => assert.throws(() => readEnvelope(bytes), new MalformedError(message)))
    }
  }
  it('has a payload', () => {
    const empty = { timestamp: 1n, type: 2, metadata: '', payload: new Uint8Array() }
    assert.throws(() => writeEnvelope(empty), new TypeError('an envelope has a payload, received 0 bytes'))
  })
  it('has ids up to the largest safe integer', () => {
    const message = writeEnvelope({ timestamp: 1n, type: 2, metadata: '', payload: new Uint8Array(1) })
    writeId(message, Number.MAX_SAFE_INTEGER)
    assert.equal(readEnvelope(message).id, BigInt(Number.MAX_SAFE_INTEGER))
  })
  it('has metadata of 8 bytes', () => {
    const message = writeEnvelope({ timestamp: 1n, type: 3, metadata: 'abcdefgh', payload: new Uint8Array(1) })
    assert.equal(readEnvelope(message).metadata, 'abcdefgh')
  })
  it('truncates metadata to 8 bytes', () => {
    const body = writeBody({ timestamp: 0n, type: 3, metadata: 'abcdefghij', payload: Buffer.from('x') })
    assert.equal(Buffer.from(body).toString('latin1', 16), 'abcdefghx')
  })
  it('truncates metadata between characters', () => {
    const body = writeBody({ timestamp: 0n, type: 3, metadata: 'abcdefgü', payload: Buffer.from('x') })
    assert.equal(Buffer.from(body).toString('latin1', 16), 'abcdefg\0x')
  })
})

describe('a message of a client', () => {
  const seen = (name: string) => {
    const { payload, ...rest } = readMedia(readEnvelope(vector(name)), MAX_JSON)
    return { ...rest, payload: Buffer.isBuffer(payload) ? payload.toString('hex') : payload }
  }
  const at = 1_700_000_000_123

  it('is decoded according to its kind', () => {
    const common = { metadata: '', timestamp: at }
    assert.deepEqual(seen('c2s/json object'), {
      ...common,
      kind: 'json',
      id: 0,
      size: 27,
      payload: { chat_history_reset: true },
      raw: '{"chat_history_reset":true}',
    })
    assert.deepEqual(seen('c2s/text'), { ...common, kind: 'text', id: 1, size: 5, payload: 'hé', raw: '"hé"' })
    assert.deepEqual(seen('c2s/binary'), { ...common, kind: 'binary', id: 2, size: 3, payload: '000102' })
    assert.deepEqual(seen('c2s/audio'), {
      ...common,
      kind: 'audio',
      id: 3,
      size: 8,
      payload: '00000100ffffff7f',
      rate: 48_000,
      channels: 1,
    })
    assert.deepEqual(seen('c2s/file upload'), {
      ...common,
      kind: 'file',
      id: 5,
      size: 2,
      payload: '6869',
      metadata: 'txt',
    })
    assert.deepEqual(seen('odd/unknown type 9').kind, 9)
  })
  it('of type TEXT is decoded only if it is a JSON string', () => {
    for (const [raw, payload] of [
      ['hello', 'hello'],
      ['"say \\"hi\\"\\n"', 'say "hi"\n'],
      ['"open', '"open'],
      ['"a" and "b"', '"a" and "b"'],
      ['{"a":1}', '{"a":1}'],
    ] as const) {
      const media = readMedia({ id: 0n, timestamp: 0n, type: 1, metadata: '', payload: Buffer.from(raw) }, MAX_JSON)
      assert.deepEqual([media.payload, media.raw], [payload, raw])
    }
  })
  it('of type JSON has at most the allowed number of bytes', () => {
    const json = (size: number) =>
      readMedia(
        { id: 0n, timestamp: 0n, type: 0, metadata: '', payload: Buffer.from(`"${'x'.repeat(size - 2)}"`) },
        MAX_JSON,
      )
    assert.equal(json(1000).size, 1000)
    assert.throws(() => json(1001), new MalformedError('a message of kind json has at most 1000 bytes, received 1001'))
  })
  it('of type AUDIO has whole samples, and rate and channels in its metadata', () => {
    const audio = (metadata: string, size = 12) =>
      readMedia({ id: 0n, timestamp: 0n, type: 4, metadata, payload: Buffer.alloc(size) }, MAX_JSON)
    const { rate, channels } = audio('44100/2')
    assert.deepEqual([rate, channels], [44_100, 2])
    assert.equal(audio('16000').channels, 1)
    assert.throws(() => audio('', 3), new MalformedError('audio of 1 channels has a multiple of 2 bytes, received 3'))
    assert.throws(
      () => audio('8000/4', 12),
      new MalformedError('audio of 4 channels has a multiple of 8 bytes, received 12'),
    )
    for (const metadata of ['wav', '0', '999', '192001', '16000/0', '16000/9', '-1', '999999', '1e3', '44100/2/']) {
      const message = `metadata of audio is RATE or RATE/CHANNELS, received ${JSON.stringify(metadata)}`
      assert.throws(() => audio(metadata, 16), new MalformedError(message), metadata)
    }
  })
})
