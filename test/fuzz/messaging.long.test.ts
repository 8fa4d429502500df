// Random frames against the parser, and over TCP against the built command.
import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { it } from 'node:test'
import fc from 'fast-check'
import { limitsOf } from '../../filters/messaging/wire/limits.ts'
import { frameOf } from '../../filters/messaging/wire/message.ts'
import { readFrame } from '../../protocols/clever-show/frame.ts'
import { Malformed } from '../../protocols/clever-show/malformed.ts'
import { messageOf } from '../../protocols/clever-show/message.ts'
import { Parser } from '../../protocols/clever-show/parser.ts'
import { withPart } from '../../protocols/clever-show/part.ts'
import { readText } from '../../protocols/clever-show/text.ts'
import { launch } from '../support/cli.ts'
import { action, framed, headerOf, TcpPeer, vectors } from '../support/messaging.ts'
import { until } from '../support/peer.ts'
import { recovered, resourcesOf, watched } from '../support/resources.ts'
import { chooseSeed } from './seed.ts'

const RUNS = 20_000
const MAX = 100_000
const CONNECTIONS = 2000
const AT_ONCE = 100

const recorded = fc.constantFrom(...vectors.map(({ bytes }) => bytes))
/** Changes or removes some bytes. */
const mutated = fc
  .tuple(recorded, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }), fc.nat())
  .map(([bytes, changes, cut]) => {
    const copy = Buffer.from(bytes)
    for (const [at, byte] of changes) copy[at % copy.length] = byte
    return copy.subarray(0, cut % 3 === 0 ? cut % copy.length : copy.length)
  })
const value = fc.oneof(fc.jsonValue(), fc.constantFrom(-1, 0, 1.5, 2 ** 53, null, 'json', 'binary', 'utf-16', 'hex'))
const odd = fc
  .tuple(
    fc.dictionary(
      fc.constantFrom('content-type', 'content-encoding', 'content-length', 'message-type', 'action', 'request_id'),
      value,
    ),
    fc.oneof(fc.string(), fc.json()),
    fc.constantFrom('message', 'request', 'response'),
  )
  .map(([fields, content, type]) =>
    framed(headerOf(content, { 'message-type': type, action: 'a', ...fields }), content),
  )
const bytes = fc.oneof(
  recorded,
  mutated,
  odd,
  fc.uint8Array({ maxLength: 300 }).map(some => Buffer.from(some)),
)

it(`${RUNS} streams are parsed as frames, or refused in one sentence`, { timeout: 90_000 }, t => {
  const seed = chooseSeed()
  t.diagnostic(`FUZZ_SEED=${seed}`)
  const stream = fc.tuple(fc.array(bytes, { maxLength: 4 }), fc.integer({ min: 1, max: 500 }))
  const property = fc.property(stream, ([parts, size]) => {
    const whole = Buffer.concat(parts)
    const parser = new Parser<Buffer>(Buffer, limitsOf(MAX))
    let taken = 0
    try {
      for (let at = 0; at < whole.length; at += size) {
        parser.push(whole.subarray(at, at + size))
        for (let frame = parser.next(); frame !== undefined; frame = parser.next()) {
          taken += frame.bytes.length
          assert.deepEqual(readFrame(frame.bytes, limitsOf(MAX)).content, frame.content)
          const read = messageOf(frame, limitsOf())
          const said = read && withPart(read)
          // A parsed message can be encoded again.
          if (said !== undefined)
            assert.deepEqual(messageOf(readFrame(frameOf(said), limitsOf(2 * MAX)), limitsOf())?.name, said.name)
        }
      }
    } catch (error) {
      assert.ok(error instanceof Malformed, String((error as Error).stack))
      assert.match(error.message, /^\S+ .{3,300}$/s)
    }
    assert.ok(taken <= whole.length)
  })
  fc.assert(property, { seed, numRuns: RUNS })
})

it(`${RUNS} strings are parsed as messages, refused in one sentence, or left to other filters`, {
  timeout: 90_000,
}, t => {
  const seed = chooseSeed()
  t.diagnostic(`FUZZ_SEED=${seed}`)
  const keys = fc.constantFrom('action', 'request', 'response', 'id', 'args', 'kwargs', 'value', 'error', 'other')
  const text = fc.oneof(
    fc.string(),
    fc.json(),
    fc.dictionary(keys, value).map(object => JSON.stringify(object)),
  )
  const property = fc.property(text, some => {
    try {
      readText(some, limitsOf())
    } catch (error) {
      assert.ok(error instanceof Malformed, String((error as Error).stack))
    }
  })
  fc.assert(property, { seed, numRuns: RUNS })
})

it(`${CONNECTIONS} connections over TCP leak nothing`, { timeout: 90_000 }, async t => {
  const seed = chooseSeed()
  t.diagnostic(`FUZZ_SEED=${seed}`)
  const server = await launch(
    t,
    [
      ...watched.argv,
      'messaging',
      'echo',
      '--messaging-port',
      '0',
      '--messaging-header-timeout',
      '0.5',
      '--no-messaging-ask-id',
    ],
    { command: watched.command, stdout: 'unread' },
  )
  const line = server.logged().find(({ msg }) => String(msg).startsWith('messaging listens on'))
  const port = Number(new URL(String(line!.url)).port)
  const talk = (parts: readonly Buffer[]) =>
    new Promise<void>((resolve, reject) => {
      const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
      const late = setTimeout(() => reject(new Error(`FUZZ_SEED=${seed}: still open`)), 30_000)
      socket
        .on('error', () => {})
        .on('data', () => {})
        .once('end', () => socket.end())
        .once('close', () => {
          clearTimeout(late)
          resolve()
        })
      for (const part of parts) socket.write(part)
      socket.end()
    })
  const inParallel = async (items: readonly (readonly Buffer[])[]) => {
    const left = items.values()
    const worker = async () => {
      for (const item of left) await talk(item)
    }
    await Promise.all(Array.from({ length: AT_ONCE }, worker))
  }
  const conversation = fc.array(bytes, { maxLength: 4 })
  await inParallel(fc.sample(conversation, { seed: seed - 1, numRuns: 500 }))
  const before = await resourcesOf(server)
  await inParallel(fc.sample(conversation, { seed, numRuns: CONNECTIONS }))
  const peer = await TcpPeer.open(t, port)
  peer.send(action('message', ['still here']))
  await peer.get(1)
  peer.socket.destroy()
  await until(() => peer.socket.closed)
  await recovered(server, before)
  assert.deepEqual(
    server.logged().filter(({ level }) => Number(level) > 40),
    [],
    `FUZZ_SEED=${seed}`,
  )
})
