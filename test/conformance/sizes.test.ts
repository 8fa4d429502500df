// Messages of all sizes that RFC 6455, section 5.2, encodes differently, and large ones: sections 1, 9 and 10 of the Autobahn test suite.
import { it } from 'node:test'
import { BINARY, CONTINUATION, frame, PING, TEXT } from '../support/frames.ts'
import { onEachServer } from './served.ts'

const MIB = 1_048_576
const MAX_PAYLOAD = 16 * MIB
const EDGES = [0, 1, 125, 126, 127, 128, 65_535, 65_536, 65_537]
const LARGE = [65_536, 262_144, MIB, 4 * MIB, 8 * MIB, MAX_PAYLOAD]

/** ASCII bytes, each different from the next. */
const content = (size: number) => Buffer.alloc(size, 'Autobahn, section 9. ')

/** One message in frames of a size. */
function fragments(opcode: number, message: Buffer, size: number): Buffer[] {
  return Array.from({ length: Math.ceil(message.length / size) }, (_, i) =>
    frame(i === 0 ? opcode : CONTINUATION, message.subarray(i * size, (i + 1) * size), {
      fin: (i + 1) * size >= message.length,
    }),
  )
}

// One test sends 1,024 pings in a row.
const OPTIONS = ['--max-payload', `${MAX_PAYLOAD}`, '--max-buffered', `${MAX_PAYLOAD}`, '--max-control', '1000']

onEachServer(OPTIONS, served => {
  it('accepts text and binary at the limits of the three length encodings', async () => {
    const client = await served.open()
    client.peer.send(...EDGES.flatMap(size => [frame(TEXT, content(size)), frame(BINARY, content(size))]))
    await client.received(...EDGES.flatMap(size => [String(content(size)), content(size)]))
  })

  for (const size of LARGE) {
    it(`accepts messages of ${size / 1024} KiB, text and binary`, async () => {
      const client = await served.open()
      client.peer.send(frame(TEXT, content(size)), frame(BINARY, content(size)))
      await client.received(String(content(size)), content(size))
    })
  }

  for (const size of [4096, 16_384, 65_536, 262_144, MIB]) {
    it(`joins 4 MiB from fragments of ${size / 1024} KiB, and answers a ping after each`, async () => {
      const client = await served.open()
      const pieces = fragments(BINARY, content(4 * MIB), size)
      client.peer.send(...pieces.flatMap(piece => [piece, frame(PING, 'p')]))
      await client.received(content(4 * MIB))
      await client.peer.get(pieces.length)
    })
  }

  it('joins 64 KiB from fragments of 1300 bytes', async () => {
    const client = await served.open()
    client.peer.send(...fragments(TEXT, content(65_536), 1300))
    await client.received(String(content(65_536)))
  })

  for (const size of [64, 997, 2048]) {
    it(`accepts 1 MiB in pieces of ${size} bytes`, async () => {
      const client = await served.open()
      const bytes = frame(TEXT, content(MIB))
      for (let at = 0; at < bytes.length; at += size) {
        if (!client.peer.socket.write(bytes.subarray(at, at + size))) {
          await new Promise(resolve => client.peer.socket.once('drain', resolve))
        }
      }
      await client.received(String(content(MIB)))
    })
  }

  for (const size of [0, 125, 4096]) {
    it(`accepts 500 messages of ${size} bytes in order`, async () => {
      const client = await served.open()
      const messages = Array.from({ length: 500 }, (_, i) => `${i}`.padEnd(size).slice(0, size))
      client.peer.send(...messages.map(message => frame(TEXT, message)))
      await client.received(...messages)
    })
  }

  it('closes with 1009 on one byte more than 16 MiB', async () => {
    const client = await served.open()
    client.peer.send(frame(BINARY, '', { declared: MAX_PAYLOAD + 1 }))
    await client.closedWith(1009)
  })
})
