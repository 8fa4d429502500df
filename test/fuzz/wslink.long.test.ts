// Random messages of wslink: to the readers in this process, then over connections to the built command.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { decode, encode } from '@msgpack/msgpack'
import fc from 'fast-check'
import { pack, unpack } from '../../filters/wslink/msgpack/pack.ts'
import type { Reader } from '../../filters/wslink/protocol.ts'
import { ProtocolError } from '../../filters/wslink/protocol-error.ts'
import { ProtocolV1 } from '../../filters/wslink/v1/protocol.ts'
import { chunksOf } from '../../filters/wslink/v2/chunks.ts'
import { ProtocolV2 } from '../../filters/wslink/v2/protocol.ts'
import { BINARY, CLOSE, frame, TEXT } from '../support/frames.ts'
import { watched } from '../support/resources.ts'
import { root } from '../support/root.ts'
import { call, chunk, hello, SECRET, whole } from '../support/wslink.ts'
import { type Conversation, fuzzConnections, goodHandshake } from './connections.ts'
import { mutated } from './mutations.ts'
import { chooseSeed } from './seed.ts'

const RUNS = 5000
const CONVERSATIONS = 5000
const LIMIT = 100_000

const value = fc.letrec(tie => ({
  any: fc.oneof(
    { maxDepth: 4, depthSize: 'small' },
    fc.constantFrom<unknown>(
      null,
      true,
      false,
      Number.NaN,
      Number.POSITIVE_INFINITY,
      2 ** 40,
      -129,
      1.5,
      new Date(1000),
    ),
    fc.integer(),
    fc.string({ unit: 'grapheme', maxLength: 40 }),
    fc.uint8Array({ maxLength: 300 }).map(bytes => Buffer.from(bytes)),
    fc.constantFrom(Buffer.alloc(4095), Buffer.alloc(4096), Buffer.alloc(70_000)),
    fc.array(tie('any'), { maxLength: 20 }),
    fc.dictionary(
      fc.string({ maxLength: 5 }).filter(key => key !== '__proto__'),
      tie('any'),
      { maxKeys: 20, noNullPrototype: true },
    ),
  ),
})).any

const bytes = mutated(value.map(any => Buffer.from(encode(any))))

/** Runs a property with a seed that is printed when it fails. */
function check<T>(arbitrary: fc.Arbitrary<T>, property: (value: T) => void): void {
  fc.assert(fc.property(arbitrary, property), { numRuns: RUNS, seed: chooseSeed(), endOnFailure: true })
}

/** The result of a reader; it may throw only `ProtocolError`. */
function read(reader: Reader, payload: string | Buffer): unknown {
  try {
    return reader.read(payload, 0)
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error
    assert.ok(
      [1002, 1007, 1009].includes(error.code) && error.message !== '' && Buffer.byteLength(error.message) <= 123,
    )
    return error
  }
}

describe('random wslink', () => {
  it('values are packed like the library does, and unpacked again', () =>
    check(value, any => {
      const packed = Buffer.concat(pack(any))
      assert.deepEqual(packed, Buffer.from(encode(any)))
      assert.deepEqual(unpack(packed), decode(packed))
    }))
  it('bytes are unpacked like the library does, or refused', () =>
    check(bytes, random => {
      let unpacked: unknown
      try {
        unpacked = unpack(random)
      } catch (error) {
        assert.ok(error instanceof ProtocolError && [1007, 1009].includes(error.code), String(error))
        const isLimit = /nested deeper|values$|byte arrays$/.test(error.message)
        if (!isLimit) assert.throws(() => decode(random), `${error.message}: ${random.toString('hex')}`)
        return
      }
      assert.deepEqual(unpacked, decode(random))
    }))
  it('messages are assembled from interleaved chunks in any order', () => {
    const sent = fc.record({
      messages: fc.array(fc.uint8Array({ minLength: 1, maxLength: 200 }), { minLength: 1, maxLength: 4 }),
      frame: fc.integer({ min: 13, max: 80 }),
      order: fc.infiniteStream(fc.nat()),
    })
    check(sent, ({ messages, frame: maxFrame, order }) => {
      const whole = messages.map(message => encode(Buffer.from(message)))
      const chunks = whole.flatMap((message, id) =>
        chunksOf([message], maxFrame, id).map(parts => Buffer.concat(parts)),
      )
      const reader = new ProtocolV2(maxFrame).reader(LIMIT)
      const complete: unknown[] = []
      while (chunks.length > 0) {
        const [next] = chunks.splice(order.next().value % chunks.length, 1)
        const message = reader.read(next!, 0)
        if (message !== undefined) complete.push(message)
      }
      const sorted = (all: unknown[]) => all.map(one => Buffer.from(one as Uint8Array).toString('hex')).sort()
      assert.deepEqual(sorted(complete), sorted(messages))
      assert.equal(reader.since, undefined)
    })
  })
  it('inconsistent chunks are refused, or are a message', () => {
    const number = fc.oneof(fc.nat(20), fc.constantFrom(2 ** 31, 2 ** 32 - 1, LIMIT, LIMIT + 1), fc.nat(LIMIT))
    const lying = fc
      .tuple(fc.nat(2), number, number, fc.uint8Array({ maxLength: 20 }))
      .map(([id, at, total, some]) => chunk(id, at, total, some))
    check(fc.array(mutated(lying), { maxLength: 30 }), frames => {
      const reader = new ProtocolV2(1000).reader(LIMIT)
      for (const one of frames) if (read(reader, one) instanceof ProtocolError) return
    })
  })
  it('frames of 1.x are refused, or are a message', () => {
    const key = fc.constantFrom('wslink_bin0', 'wslink_bin1', 'wslink_bin10', 'x', 5)
    const announced = fc.array(key, { maxLength: 3 }).map(args => ({ method: 'wslink.binary.attachment', args }))
    const called = fc.array(fc.oneof(key, fc.jsonValue())).map(args => call('rpc:c:0', 'demo.echo', args))
    const text = mutated(fc.oneof(announced, called).map(said => Buffer.from(JSON.stringify(said)))).map(String)
    const python = text.map(said => said.replaceAll('null', 'NaN'))
    const binary = fc.uint8Array({ maxLength: 20 }).map(some => Buffer.from(some))
    check(fc.array(fc.oneof(text, python, binary), { maxLength: 20 }), frames => {
      const reader = new ProtocolV1().reader(LIMIT)
      reader.admit(LIMIT)
      for (const one of frames) if (read(reader, one) instanceof ProtocolError) return
    })
  })
})

const METHODS = ['echo', 'say', 'later', 'count', 'inside', 'inside', 'inside', 'none'].map(name => `demo.${name}`)
const calls = fc
  .tuple(
    fc.constantFrom('rpc:c:0', 'rpc:c:1', 'system:c0:1', 'x', '', 5),
    fc.constantFrom(...METHODS, 'wslink.subscribe', 'wslink.unsubscribe', 'application.exit', 'wslink.hello', 7),
    fc.oneof(fc.array(value, { maxLength: 3 }), value),
    fc.oneof(fc.constant({}), value),
  )
  .map(([id, method, args, kwargs]) => call(id as string, method as string, args, kwargs))
const requests = fc.oneof({ weight: 5, arbitrary: calls }, { weight: 1, arbitrary: value })

interface Talk extends Conversation {
  readonly knowsSecret: boolean
}

const talks: fc.Arbitrary<Talk> = fc
  .record({
    isText: fc.boolean(),
    greeting: fc.constantFrom(hello(), hello(), hello(), hello('wrong'), {}),
    said: fc.array(fc.tuple(requests, fc.nat(3), fc.integer({ min: 13, max: 2000 })), { maxLength: 6 }),
  })
  .chain(({ isText, greeting, said }) => {
    const plain = isText
      ? said.map(([request]) => Buffer.from(JSON.stringify(request) ?? ''))
      : said.flatMap(([request, id, size]) => chunksOf([encode(request)], size, id).map(parts => Buffer.concat(parts)))
    const first = isText ? frame(TEXT, JSON.stringify(greeting)) : frame(BINARY, whole(greeting))
    return fc.tuple(...plain.slice(0, 40).map(one => mutated(fc.constant(one)))).map(changed => ({
      writes: [
        goodHandshake(),
        first,
        // The core refuses text that is not UTF-8.
        ...changed.map((one, i) => frame(isText && i % 7 < 5 ? TEXT : BINARY, isText ? Buffer.from(String(one)) : one)),
      ],
      ends: true,
      knowsSecret: JSON.stringify(greeting).includes(SECRET),
    }))
  })

it(`${CONVERSATIONS} random conversations of wslink get valid replies or are closed, and release all resources`, {
  timeout: 280_000,
}, async t => {
  const filters = join(root, 'test/support/filters')
  let letIn = 0
  await fuzzConnections(t, {
    targets: [
      [
        ...watched.argv,
        join(filters, 'plain-clients.ts'),
        'wslink',
        join(filters, 'procedures.ts'),
        'echo',
        ...['--wslink-secret', SECRET, '--wslink-max-message', String(LIMIT)],
      ],
    ],
    welcome: { headers: { 'X-Plain': 'yes' } },
    conversations: talks,
    count: CONVERSATIONS,
    kept: [],
    check: (answer, { knowsSecret }) => {
      for (const { opcode, payload } of framesIn(answer)) {
        if (opcode === CLOSE && payload.length > 0)
          assert.ok([1002, 1005, 1007, 1008, 1009].includes(payload.readUInt16BE(0)), payload.toString('latin1'))
      }
      if (!answer.includes('only for authenticated clients')) return
      letIn++
      assert.ok(knowsSecret, 'let in without the secret')
    },
  })
  assert.ok(letIn > CONVERSATIONS / 100, `${letIn} calls came through`)
})

/** The frames after the handshake. */
function framesIn(answer: Buffer): readonly { opcode: number; payload: Buffer }[] {
  const found: { opcode: number; payload: Buffer }[] = []
  let at = answer.indexOf('\r\n\r\n') + 4
  while (at + 2 <= answer.length) {
    const short = answer[at + 1]!
    const start = at + (short < 126 ? 2 : short === 126 ? 4 : 10)
    const length = short < 126 ? short : short === 126 ? answer.readUInt16BE(at + 2) : answer.readUInt32BE(at + 6)
    found.push({ opcode: answer[at]! & 0x0f, payload: answer.subarray(start, start + length) })
    at = start + length
  }
  return found
}
