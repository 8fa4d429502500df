import { randomBytes } from 'node:crypto'
import { createSocket, type Socket } from 'node:dgram'
import { lookup } from 'node:dns/promises'
import { type Endpoint, inBrackets } from '../transport/endpoint.ts'
import { type Measured, measured } from './measured.ts'

export const NTP_PORT = 123
/** Milliseconds for an answer, the look-up of the name included. */
const TIMEOUT = 2000
const BYTES = 48
/** Version 3, from a client. */
const QUERY = 0x1b
const SERVER_MODE = 4
/** Nobody has set its clock. */
const UNSET = 3
const MAX_STRATUM = 15
/** Where the instants stand, 8 bytes each. */
const ORIGINATE = 24
const RECEIVE = 32
const TRANSMIT = 40
const NONE = Buffer.alloc(8)
/** Seconds from 1900 to 1970. */
const TO_1970 = 2_208_988_800
/** Seconds before the first bit is set belong to the time from 2036 on (RFC 4330, section 3). */
const SINCE_2036 = 2 ** 31
const ERA = 2 ** 32

/**
 * How far an NTP server's clock is ahead of ours (RFC 4330).
 *
 * @param now - seconds since 1970 by our clock.
 * @throws (rejects) Error: no answer within 2 seconds, or one that cannot be trusted. The signal's reason.
 */
export async function askNtp(server: Endpoint, now: () => number, signal?: AbortSignal): Promise<Measured> {
  signal?.throwIfAborted()
  const where = `NTP server ${inBrackets(server.host)}:${server.port}`
  let timer: NodeJS.Timeout | undefined
  let abort = () => {}
  let socket: Socket | undefined
  const given = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${where} has not answered within ${TIMEOUT} ms`)), TIMEOUT)
    abort = () => reject(signal!.reason)
    signal?.addEventListener('abort', abort)
  })
  try {
    const { address, family } = await Promise.race([lookup(server.host), given])
    socket = createSocket(family === 6 ? 'udp6' : 'udp4')
    return await Promise.race([exchange(socket, { host: address, port: server.port }, now), given])
  } catch (error) {
    throw error instanceof Untrusted ? new Error(`${where}: ${error.message}`) : error
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', abort)
    socket?.close()
  }
}

class Untrusted extends Error {}

/** The socket is connected: the system passes on what comes from there, and nothing else. */
function exchange(socket: Socket, { host, port }: Endpoint, now: () => number): Promise<Measured> {
  const query = Buffer.alloc(BYTES)
  query[0] = QUERY
  // In the place of our instant, which is nobody's business: whoever does not see it cannot answer.
  randomBytes(NONE.length).copy(query, TRANSMIT)
  return new Promise((resolve, reject) => {
    let sent = Number.NaN
    socket.on('error', reject)
    socket.once('message', answer => {
      const received = now()
      try {
        resolve(readAnswer(answer, query, sent, received))
      } catch (error) {
        reject(error)
      }
    })
    // Its types know the callback of success alone.
    socket.connect(port, host, (error?: Error) => {
      if (error !== undefined) return reject(error)
      sent = now()
      socket.send(query)
    })
  })
}

/** @throws Untrusted */
function readAnswer(answer: Buffer, query: Buffer, sent: number, received: number): Measured {
  if (answer.length < BYTES) throw new Untrusted(`an answer of ${answer.length} bytes`)
  const [first, stratum] = [answer.readUInt8(0), answer.readUInt8(1)]
  if ((first & 7) !== SERVER_MODE) throw new Untrusted(`mode ${first & 7} is no answer of a server`)
  if (first >> 6 === UNSET || stratum < 1 || stratum > MAX_STRATUM)
    throw new Untrusted(`its clock is not set, or it does not tell: stratum ${stratum}`)
  const originate = answer.subarray(ORIGINATE, RECEIVE)
  // Simple servers leave it out.
  if (!originate.equals(query.subarray(TRANSMIT)) && !originate.equals(NONE))
    throw new Untrusted('an answer to another query')
  const transmit = instantIn(answer, TRANSMIT)
  if (transmit === undefined) throw new Untrusted('an answer without the time')
  const there = [instantIn(answer, RECEIVE) ?? transmit, transmit] as const
  const time = measured([sent, received], there)
  if (time === undefined) throw new Untrusted('it says to have had the query for longer than its answer took')
  return time
}

/** Seconds since 1970; `undefined`: it is not told. */
function instantIn(answer: Buffer, at: number): number | undefined {
  const seconds = answer.readUInt32BE(at)
  const fraction = answer.readUInt32BE(at + 4)
  if (seconds === 0 && fraction === 0) return undefined
  return seconds + (seconds < SINCE_2036 ? ERA : 0) - TO_1970 + fraction / 2 ** 32
}
