import assert from 'node:assert/strict'
import { connect, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import fc from 'fast-check'
import type { ClientOptions } from 'ws'
import { type Launched, launch } from '../support/cli.ts'
import { handshake } from '../support/frames.ts'
import { Peer } from '../support/peer.ts'
import { recovered, resourcesOf, watched } from '../support/resources.ts'
import { chooseSeed } from './seed.ts'

/** Concurrent connections. */
const AT_ONCE = 200
/** Milliseconds in which a server must close a connection. */
const DEADLINE = 30_000
/** Cases before the first measurement of resources, so that caches are full. */
const WARM_UP = 1000

/** The bytes of one connection, and whether the client then ends its side. */
export interface Conversation {
  readonly writes: readonly Buffer[]
  readonly ends: boolean
}

/** The form in `seeds.json`. */
export interface KeptConversation {
  /** One byte per character. */
  readonly writes: readonly string[]
  readonly ends: boolean
}

/** Servers, as arguments: with compression, and with a data filter. */
const TARGETS = [
  [...watched.argv, 'echo', '--compress'],
  [...watched.argv, 'stdout-rawdata', 'echo'],
]
/** They close silent clients soon. */
const IMPATIENT = ['--handshake-timeout', '1', '--heartbeat', '1', '--max-payload', '100000', '--drain', '0']

/**
 * Runs random conversations with servers: the server must end each in time, with bytes that pass `check`. Afterwards the servers serve
 * other clients, have logged no error, and use no more resources than before.
 */
export async function fuzzConnections<C extends Conversation>(
  t: TestContext,
  how: {
    readonly conversations: fc.Arbitrary<C>
    readonly count: number
    readonly kept: readonly KeptConversation[]
    /** Arguments of each server. Default: both kinds. */
    readonly targets?: readonly (readonly string[])[]
    /** Connects a valid client. */
    readonly welcome?: ClientOptions
    check(answer: Buffer, conversation: C): void
  },
): Promise<void> {
  const seed = chooseSeed()
  t.diagnostic(`FUZZ_SEED=${seed}`)
  const servers = await Promise.all(
    (how.targets ?? TARGETS).map(argv =>
      launch(t, [...argv, ...IMPATIENT], { command: watched.command, stdout: 'unread' }),
    ),
  )
  const talk = async (conversation: C, i: number) => {
    try {
      how.check(await answerTo(servers[i % servers.length]!, conversation), conversation)
    } catch (error) {
      throw new Error(`FUZZ_SEED=${seed}: ${error}\nfor seeds.json: ${JSON.stringify(keep(conversation))}`)
    }
  }
  for (const old of how.kept) for (const i of servers.keys()) await talk(unkeep(old) as C, i)
  const warm = fc.sample(how.conversations, { seed: seed - 1, numRuns: WARM_UP })
  await inParallel(warm, talk)
  const before = await Promise.all(servers.map(resourcesOf))
  await inParallel(fc.sample(how.conversations, { seed, numRuns: how.count }), talk)
  for (const [i, server] of servers.entries()) {
    const peer = await Peer.open(server.url, how.welcome)
    peer.send('still here')
    assert.deepEqual(await peer.get(1), ['still here'])
    peer.ws.terminate()
    await recovered(server, before[i]!)
    assert.deepEqual(
      server.logged().filter(({ level }) => Number(level) > 40),
      [],
      `FUZZ_SEED=${seed}`,
    )
  }
}

async function inParallel<T>(items: readonly T[], work: (item: T, i: number) => Promise<void>): Promise<void> {
  const left = items.entries()
  const worker = async () => {
    for (const [i, item] of left) await work(item, i)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
}

/** All bytes of the server until it closes the connection. */
async function answerTo(server: Launched, { writes, ends }: Conversation): Promise<Buffer> {
  const { hostname, port } = new URL(server.url)
  const socket = connect({ host: hostname, port: Number(port), noDelay: true, allowHalfOpen: true })
  const chunks: Buffer[] = []
  socket.on('data', chunk => chunks.push(chunk))
  let refused: Error | undefined
  socket.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'ECONNREFUSED') refused = error
  })
  const ended = endOf(socket)
  for (const bytes of writes) {
    socket.write(bytes)
    if (writes.length > 1) await new Promise(resolve => setImmediate(resolve))
  }
  if (ends) socket.end()
  await ended
  if (refused !== undefined) throw refused
  return Buffer.concat(chunks)
}

function endOf(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    const tooLate = setTimeout(() => {
      socket.destroy()
      reject(new Error(`the server has not ended the connection after ${DEADLINE} ms`))
    }, DEADLINE)
    const done = () => {
      clearTimeout(tooLate)
      socket.destroy()
      resolve()
    }
    socket.once('end', done).once('close', done)
  })
}

/** A valid handshake; the port does not matter on loopback. */
export const goodHandshake = (headers: Readonly<Record<string, string>> = {}) =>
  Buffer.from(handshake('ws://localhost:9000', headers))

function keep({ writes, ends }: Conversation): KeptConversation {
  return { writes: writes.map(bytes => bytes.toString('latin1')), ends }
}

function unkeep({ writes, ends }: KeptConversation): Conversation {
  return { writes: writes.map(text => Buffer.from(text, 'latin1')), ends }
}
